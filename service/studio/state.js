// What the page shows, all of it in the address: whoever has the address sees the same page, and Back goes back.

export const DEFAULTS = Object.freeze({
  mix: Object.freeze({ happy: 100 }),
  seed: "2",
  intensity: 1,
  truncation: 0.95,
  size: 384,
  people: 0, // which page of the wall
  morph: Object.freeze(["neutral", "happy"]),
  loop: true,
});

export const LIMITS = {
  intensity: [0, 1.5],
  truncation: [0, 1],
  size: [48, 1024],
  people: [0, 1_000_000],
};
export const MOST_FRAMES = 6; // key frames of a morph
const QUIET = 250; // milliseconds without a change, after which the address follows
const SAME_MOVE = 900; // milliseconds within which steps of one control are one step for Back

/** Write a mix as the service reads it: `happy`, or `happy=70,surprise=30`. */
export function writeMix(mix) {
  const parts = Object.entries(mix).filter(([, weight]) => weight > 0);
  if (parts.length === 1) return parts[0][0];
  return parts.map(([name, weight]) => `${name}=${weight}`).join(",");
}

/** Read what `writeMix` writes; null for what is no mix. */
export function readMix(text) {
  if (!text) return null;
  if (!text.includes("=")) return { [text.trim()]: 100 };
  const mix = {};
  for (const part of text.split(",")) {
    const [name, weight] = part.split("=");
    if (!(Number(weight) >= 0) || !Number.isFinite(Number(weight))) return null;
    if (Number(weight) > 0) mix[name.trim()] = (mix[name.trim()] ?? 0) + Number(weight);
  }
  return Object.keys(mix).length ? mix : null;
}

function within(name, text, whole = false) {
  const value = Number(text);
  if (text === null || text.trim() === "" || !Number.isFinite(value)) return DEFAULTS[name];
  const [least, most] = LIMITS[name];
  const kept = Math.min(most, Math.max(least, value));
  return whole ? Math.round(kept) : kept;
}

/** Read a state from an address's query; what it lacks, or what cannot be, is as in DEFAULTS. */
export function read(query) {
  const asked = new URLSearchParams(query);
  const morph = (asked.get("morph") ?? "").split(",").filter(Boolean).slice(0, MOST_FRAMES);
  return {
    mix: readMix(asked.get("emotion")) ?? DEFAULTS.mix,
    seed: (asked.get("seed") || DEFAULTS.seed).slice(0, 256),
    intensity: within("intensity", asked.get("intensity")),
    truncation: within("truncation", asked.get("truncation")),
    size: within("size", asked.get("size"), true),
    people: within("people", asked.get("people"), true),
    morph: morph.length >= 2 ? morph : DEFAULTS.morph,
    loop: asked.has("loop") ? asked.get("loop") !== "0" : DEFAULTS.loop,
  };
}

/** Write a state as an address's query, with its question mark. */
export function write(state) {
  const said = {
    emotion: writeMix(state.mix),
    seed: state.seed,
    intensity: state.intensity,
    truncation: state.truncation,
    size: state.size,
    people: state.people,
    morph: state.morph.join(","),
    loop: state.loop ? 1 : 0,
  };
  // Commas and equals signs may stand in a query as they are, and are easier to read so.
  const text = (value) => encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%3D", "=");
  return `?${Object.entries(said).map(([name, value]) => `${name}=${text(value)}`).join("&")}`;
}

/** The state, who listens to it, and the address that holds it. */
export class Store {
  #listeners = [];
  #timer = 0;
  #last = { control: "", moment: 0 };
  #control = "";

  constructor() {
    this.state = read(location.search);
    history.replaceState(null, "", this.#address());
    addEventListener("popstate", () => {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#last.control = "";
      this.state = read(location.search);
      this.#tell({ moving: false, back: true });
    });
  }

  /** Call `listener(state, how)` at every change, and once now. */
  listen(listener) {
    this.#listeners.push(listener);
    listener(this.state, { moving: false, first: true });
  }

  /**
   * Change some of the state.
   *
   * `control` names what did it; with `moving` it has not come to rest yet (a slider under a finger), and the address
   * follows a moment later. Steps of one control in quick succession are one step for Back.
   */
  set(change, control, moving = false) {
    if (this.#timer && control !== this.#control) this.#settle();
    this.state = { ...this.state, ...change };
    this.#control = control;
    clearTimeout(this.#timer);
    if (moving) this.#timer = setTimeout(() => this.#settle(), QUIET);
    else this.#settle();
    this.#tell({ moving, control });
  }

  /** Return the whole address of the state as it is. */
  link() {
    return new URL(this.#address(), document.baseURI).href;
  }

  #address() {
    return location.pathname + write(this.state) + location.hash;
  }

  #settle() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (write(this.state) === location.search) return;
    const now = performance.now();
    const same = this.#last.control === this.#control && now - this.#last.moment < SAME_MOVE;
    history[same ? "replaceState" : "pushState"](null, "", this.#address());
    this.#last = { control: this.#control, moment: now };
  }

  #tell(how) {
    for (const listener of this.#listeners) listener(this.state, how);
  }
}
