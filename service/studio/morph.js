// One person whose face moves from one emotion to the next.

import { colourOf } from "./affect.js";
import { Job, Note } from "./jobs.js";
import { ask, faceRoute, fileName, save } from "./service.js";
import { MOST_FRAMES } from "./state.js";

const byId = (id) => document.getElementById(id);
const PREVIEW = 256; // pixels
const MOST_PIXELS = 512; // of POST /morph
const QUIET = 250; // milliseconds without a change before the first frame is drawn

export function morphing(store, names, model) {
  const note = new Note(byId("note-morph"));
  const job = new Job(note, byId("morph-view"));
  const saving = new Job(note, byId("morph-download")); // its own: what is shown may change while a file is on its way
  const image = byId("morph-image");
  const play = byId("play");
  let address = null; // of what moves; null while nothing does
  let shown = "";
  let first = ""; // the route of the still
  let timer = 0;

  /** Show the first key frame, so that it is seen who will move. */
  function still() {
    const { morph, seed, intensity, truncation } = store.state;
    const route = faceRoute({ mix: { [morph[0]]: 100 }, seed, intensity, truncation, size: PREVIEW }, "webp", model());
    if (address || route === first) return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      first = route;
      const done = await job.run(async (signal) => {
        const picture = URL.createObjectURL(await (await ask(route, { signal })).blob());
        signal.throwIfAborted();
        show(picture, `Person ${seed}, ${morph[0]}`);
      });
      if (!done && first === route) first = "";
    }, QUIET);
  }

  function show(picture, words) {
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = picture;
    image.alt = words;
    image.hidden = false;
  }

  const wish = (size, format) => {
    const { morph, loop, seed, truncation, intensity } = store.state;
    const keyframes = morph.map((emotion) => ({ emotion, intensity }));
    return { keyframes, seed, truncation, closed: loop, size, format, frames: 12, fps: 12 };
  };

  async function start() {
    clearTimeout(timer);
    const wanted = JSON.stringify(wish(PREVIEW, "webp"));
    await job.run(async (signal) => {
      const answer = await ask("morph", { json: wanted, signal });
      const next = URL.createObjectURL(await answer.blob());
      signal.throwIfAborted();
      address = next;
      play.textContent = "Stop"; // here, for a try that comes later by itself gets here too
      show(next, `Person ${store.state.seed}, moving: ${store.state.morph.join(", then ")}`);
      shown = wanted;
    });
  }

  function stop() {
    job.stop();
    address = null;
    shown = "";
    first = "";
    play.textContent = "Play";
    still();
  }

  play.addEventListener("click", () => (address ? stop() : start()));
  byId("morph-download").addEventListener("click", () => {
    const format = document.querySelector('input[name="animation"]:checked').value;
    saving.run(async (signal) => {
      const json = wish(Math.min(store.state.size, MOST_PIXELS), format);
      await save(await ask("morph", { json, signal }), fileName({ ...store.state, mix: { morph: 1 } }, format));
    });
  });

  const list = byId("frames");
  const add = byId("frame-add");
  const change = (morph) => store.set({ morph }, "morph");
  add.addEventListener("click", () => {
    const { morph } = store.state;
    const other = names.find((name) => !morph.includes(name)) ?? names[0];
    change([...morph, other]);
  });
  byId("loop").addEventListener("change", (event) => store.set({ loop: event.target.checked }, "loop"));

  function row(name, index, count) {
    const item = document.createElement("li");
    item.style.setProperty("--colour", colourOf(name));
    const choice = document.createElement("select");
    choice.setAttribute("aria-label", `Emotion ${index + 1}`);
    // A name that these weights lack stays, for the service to say what is wrong with it.
    for (const option of names.includes(name) ? names : [name, ...names]) choice.append(new Option(option, option));
    choice.value = name;
    choice.addEventListener("change", () => change(store.state.morph.with(index, choice.value)));
    item.append(choice);
    if (count > 2) {
      const remove = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "×" });
      remove.setAttribute("aria-label", `Remove emotion ${index + 1}`);
      remove.addEventListener("click", () => change(store.state.morph.toSpliced(index, 1)));
      item.append(remove);
    }
    return item;
  }

  let built = "";
  store.listen((state) => {
    if (built !== state.morph.join()) {
      // The keyboard stays where it was, though the row is a new one.
      const at = [...list.querySelectorAll("select")].indexOf(document.activeElement);
      list.replaceChildren(...state.morph.map((name, index) => row(name, index, state.morph.length)));
      list.querySelectorAll("select")[at]?.focus();
      built = state.morph.join();
    }
    add.disabled = state.morph.length >= MOST_FRAMES;
    byId("loop").checked = state.loop;
    // What moves is somebody else's face, or another move: it stops rather than pretend.
    if (shown && shown !== JSON.stringify(wish(PREVIEW, "webp"))) stop();
    still();
  });

  return {
    /** Ask again, whatever is shown. */
    again() {
      first = "";
      if (address) stop();
      else still();
    },
  };
}
