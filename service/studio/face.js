// The face itself: it follows the controls, and the last one stays until the next is there.

import { blend } from "./affect.js";
import { Failure, ask, faceRoute } from "./service.js";
import { writeMix } from "./state.js";
import { Job } from "./jobs.js";

// Milliseconds. While a slider moves, a face on its way that is younger than this may still arrive: were every one
// aborted by the next step, none would be seen before the slider rests.
const PATIENCE = 400;

/** Say in words which face it is. */
export function wording(face) {
  const parts = Object.entries(face.mix);
  const mix = parts.length === 1 ? parts[0][0] : parts.map(([name, weight]) => `${name} ${weight}`).join(", ");
  return `A face: ${mix}; person ${face.seed}`;
}

export class Face {
  #wanted = null; // the route of the newest face that was asked for
  #loading = null; // the route of the one on its way
  #shown = null;
  #began = 0;
  #timer = 0;
  #address = null;

  /** `notes` are places for sentences by the name of the field they are about; the one called "" takes the rest. */
  constructor({ figure, notes, model, onShown }) {
    this.figure = figure;
    this.image = figure.querySelector("img");
    this.notes = notes;
    this.model = model;
    this.onShown = onShown;
    const note = {
      say: (what) => this.#said(what),
      hold: () => this.#each("hold"),
      clear: () => this.#each("clear"),
    };
    this.job = new Job(note, figure);
  }

  /** Show a face, soon. While `moving`, there is more to come. */
  show(face, moving) {
    const route = faceRoute(face, "webp", this.model());
    document.documentElement.style.setProperty("--aura", blend(face.mix));
    this.#wanted = { route, face };
    if (route === this.#loading?.route) return;
    if (route === this.#shown && !this.job.busy) {
      this.#each("clear");
      return;
    }
    clearTimeout(this.#timer);
    const left = this.job.busy && moving ? PATIENCE - (performance.now() - this.#began) : 0;
    if (left > 0) this.#timer = setTimeout(() => this.#load(), left);
    else this.#load();
  }

  /** Ask again, whatever is shown. */
  again() {
    this.#shown = null;
    if (this.#wanted) this.show(this.#wanted.face, false);
  }

  async #load() {
    const { route, face } = this.#wanted;
    this.#loading = this.#wanted;
    this.#began = performance.now();
    const done = await this.job.run(async (signal) => {
      const answer = await ask(route, { signal });
      const address = URL.createObjectURL(await answer.blob());
      // Decoded before it takes the last one's place, so that nothing flickers.
      const next = new Image();
      next.src = address;
      await next.decode().catch(() => {
        throw new Failure("The service sent something that is no picture; it may be another one than this page's.");
      });
      signal.throwIfAborted();
      if (this.#address) URL.revokeObjectURL(this.#address);
      this.#address = address;
      this.image.src = address;
      this.image.alt = wording(face);
      this.image.dataset.emotion = writeMix(face.mix);
      this.image.hidden = false;
      this.#shown = route;
    });
    if (this.#loading?.route !== route) return;
    this.#loading = null;
    if (done) this.onShown(face, this.image);
    // What was asked for meanwhile has waited long enough.
    if (done && this.#wanted.route !== route) {
      clearTimeout(this.#timer);
      this.#load();
    }
  }

  #said(what) {
    const about = what.errors?.[0]?.parameter;
    const note = this.notes[about] ?? this.notes[""];
    for (const other of Object.values(this.notes)) if (other !== note) other.clear();
    if (about === "model") document.dispatchEvent(new CustomEvent("weights-changed"));
    note.say(what, what.status === 422 ? null : () => this.again());
  }

  #each(what) {
    for (const note of Object.values(this.notes)) note[what]();
  }
}
