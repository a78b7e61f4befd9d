// Rows and walls of small faces: each is a button that chooses something.

import { Job } from "./jobs.js";
import { drawMany } from "./service.js";

const SIZE = 128; // pixels
const QUIET = 200; // milliseconds without a change before faces are asked for

/**
 * Faces that follow the state.
 *
 * `tilesOf(state)` returns what to show: objects with `face` (what to draw), `caption`, `chosen` and `pick()`. They are
 * drawn with one request, once they are in sight; until then, and after a failure, the last ones stay where they are
 * called the same.
 */
export class Tiles {
  #tiles = [];
  #drawn = "";
  #seen = false;
  #timer = 0;

  constructor({ section, list, note, tilesOf }) {
    this.list = list;
    this.tilesOf = tilesOf;
    this.job = new Job(note, list);
    new IntersectionObserver(
      (entries) => {
        this.#seen = entries.at(-1).isIntersecting;
        if (this.#seen) this.#soon(0);
      },
      { rootMargin: "200px" },
    ).observe(section);
  }

  /** Follow the state. */
  show(state) {
    this.#tiles = this.tilesOf(state);
    const buttons = [...this.list.querySelectorAll("button")];
    if (buttons.length !== this.#tiles.length) this.#build();
    this.list.querySelectorAll("button").forEach((button, index) => {
      const { caption, chosen } = this.#tiles[index];
      const name = button.querySelector("span");
      if (name.textContent !== caption) {
        button.querySelector("img").hidden = true; // it is of somebody else
        this.#drawn = "";
        name.textContent = caption;
      }
      button.setAttribute("aria-pressed", String(chosen));
    });
    this.#soon(QUIET);
  }

  /** Ask again, whatever is shown. */
  again() {
    this.#drawn = "";
    this.#soon(0);
  }

  #soon(milliseconds) {
    clearTimeout(this.#timer);
    if (this.#seen) this.#timer = setTimeout(() => this.#draw(), milliseconds);
  }

  async #draw() {
    const faces = this.#tiles.map(({ face }) => ({ ...face, size: SIZE }));
    const wanted = JSON.stringify(faces);
    if (wanted === this.#drawn || faces.length === 0) return;
    this.#drawn = wanted;
    const images = [...this.list.querySelectorAll("img")];
    const work = async (signal) => {
      let failed = null;
      await drawMany(
        faces,
        (index, address, failure) => {
          if (signal.aborted) return;
          failed ??= failure;
          if (address !== null) {
            images[index].src = address;
            images[index].hidden = false;
          }
        },
        signal,
      );
      if (failed) throw failed;
    };
    await this.job.run(work);
  }

  #build() {
    this.list.replaceChildren(
      ...this.#tiles.map((_, index) => {
        const item = document.createElement("li");
        const button = Object.assign(document.createElement("button"), { type: "button", className: "tile" });
        const image = Object.assign(new Image(SIZE, SIZE), { alt: "", hidden: true });
        const frame = Object.assign(document.createElement("i"), { className: "frame" });
        frame.append(image);
        button.append(frame, document.createElement("span"));
        button.addEventListener("click", () => this.#tiles[index].pick());
        item.append(button);
        return item;
      }),
    );
    this.#drawn = "";
  }
}
