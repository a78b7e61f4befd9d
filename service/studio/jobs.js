// Work that may fail or be overtaken: one job at a time for each place on the page, and a sentence where it went wrong.

import { Failure, aborted } from "./service.js";

const MOST_TRIES = 20; // by itself; then somebody has to press the button

/** A sentence next to what caused it, with a button to try again where that may help. */
export class Note {
  #timer = 0;
  #tries = 0;
  #again = null;

  constructor(element) {
    this.element = element;
    // The browser knows first that there is a network again.
    addEventListener("online", () => this.#again?.());
  }

  /** Say a sentence, or a Failure and how to `retry`; one that passes is tried again by itself. */
  say(what, retry = null) {
    this.#stop();
    const text = document.createElement("span");
    text.textContent = what instanceof Failure ? what.message : what;
    this.element.replaceChildren(text);
    this.element.hidden = false;
    if (what.needsKey) document.dispatchEvent(new CustomEvent("key-needed", { detail: what.message }));
    if (retry === null || what.needsKey) return;
    this.#again = () => {
      this.#stop();
      retry();
    };
    if (what.seconds !== null && this.#tries < MOST_TRIES) {
      this.#tries += 1;
      // A little later than told, and not all at the same moment.
      this.#timer = setTimeout(this.#again, what.seconds * 1000 + Math.random() * 400);
    }
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
    button.addEventListener("click", () => {
      this.#tries = 0;
      this.#again?.();
    });
    this.element.append(" ", button);
  }

  /** Let the sentence stand, but try nothing again: something newer is under way. */
  hold() {
    this.#stop();
  }

  /** Take the sentence back. */
  clear() {
    this.#stop();
    this.#tries = 0;
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#again = null;
  }
}

/** One thing at a time: a new one aborts the one before. */
export class Job {
  #controller = null;

  constructor(note, place = null) {
    this.note = note;
    this.place = place;
  }

  get busy() {
    return this.#controller !== null;
  }

  /** Run `work(signal)`; what it throws is said in the note. Returns whether it came to its end. */
  async run(work) {
    this.stop();
    this.note.hold();
    const controller = new AbortController();
    this.#controller = controller;
    this.place?.setAttribute("aria-busy", "true");
    try {
      await work(controller.signal);
      if (this.#controller === controller) this.note.clear();
      return true;
    } catch (error) {
      if (aborted(error) || this.#controller !== controller) return false;
      if (!(error instanceof Failure)) throw error;
      this.note.say(error, () => this.run(work));
      return false;
    } finally {
      if (this.#controller === controller) {
        this.#controller = null;
        this.place?.setAttribute("aria-busy", "false");
      }
    }
  }

  /** Abort what runs. */
  stop() {
    this.#controller?.abort();
    this.#controller = null;
    this.place?.setAttribute("aria-busy", "false");
  }
}
