// What the page shows, all of it in the address: whoever has the address sees the same page, and Back goes back.

export let DEFAULTS = Object.freeze({
  mix: Object.freeze({ happy: 100 }),
  seed: "4",
  intensity: 1,
  truncation: 0.8,
  size: 384,
  people: 0, // which page of the wall
  morph: Object.freeze(["neutral", "happy"]),
  loop: true,
});

/** Begin with emotions that these weights know. */
function fitDefaults(names) {
  const known = (name) => names.includes(name);
  const mix = Object.keys(DEFAULTS.mix).every(known) ? DEFAULTS.mix : Object.freeze({ [names[0]]: 100 });
  const morph = DEFAULTS.morph.every(known) ? DEFAULTS.morph : Object.freeze([names[0], names[1] ?? names[0]]);
  DEFAULTS = Object.freeze({ ...DEFAULTS, mix, morph });
}

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

/** Return a mix of names and their weights; what has the same name is added up. */
function added(parts) {
  const mix = new Map(); // an object knows names that nobody gave it
  for (const [name, weight] of parts) mix.set(name, (mix.get(name) ?? 0) + weight);
  return Object.fromEntries(mix);
}

/** Read what `writeMix` writes; null for what is no mix. */
export function readMix(text) {
  if (!text) return null;
  if (!text.includes("=")) return { [text.trim()]: 100 };
  const parts = text.split(",").map((part) => part.split("=")).map(([name, weight]) => [name.trim(), Number(weight)]);
  if (!parts.every(([, weight]) => weight >= 0 && Number.isFinite(weight))) return null;
  const mix = added(parts.filter(([, weight]) => weight > 0));
  return Object.keys(mix).length ? mix : null;
}

/** Return what may be of a number of the state that is nearest to `value`. */
export function bounded(name, value) {
  const [least, most] = LIMITS[name];
  return Math.min(most, Math.max(least, value));
}

function within(name, text, whole = false) {
  const value = Number(text);
  if (text === null || text.trim() === "" || !Number.isFinite(value)) return DEFAULTS[name];
  const kept = bounded(name, value);
  return whole ? Math.round(kept) : kept;
}

/** Read a state from an address's query; what it lacks, or what cannot be, is as in DEFAULTS. */
export function read(query) {
  const asked = new URLSearchParams(query);
  const morph = (asked.get("morph") ?? "").split(",").filter(Boolean).slice(0, MOST_FRAMES);
  return {
    mix: readMix(asked.get("emotion")) ?? DEFAULTS.mix,
    seed: [...(asked.get("seed") || DEFAULTS.seed)].slice(0, 256).join(""), // characters, none of them halved
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
  #name = (word) => word;

  constructor() {
    this.state = read(location.search);
    history.replaceState(null, "", this.#address());
    addEventListener("popstate", () => {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#last.control = "";
      this.state = this.#named(read(location.search));
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

  /** From now on know the emotions `names`, and call them what `name(word)` returns, whatever an address calls them. */
  know(names, name) {
    this.#name = name;
    const { mix, morph } = this.state;
    const before = DEFAULTS;
    fitDefaults(names);
    this.state = this.#named({
      ...this.state,
      mix: mix === before.mix ? DEFAULTS.mix : mix, // an address that said so made an object of its own
      morph: morph === before.morph ? DEFAULTS.morph : morph,
    });
    history.replaceState(null, "", this.#address());
  }

  #named(state) {
    const mix = added(Object.entries(state.mix).map(([word, weight]) => [this.#name(word), weight]));
    return { ...state, mix, morph: state.morph.map((word) => this.#name(word)) };
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
