// The faces of this visit, newest first. They are kept in this tab alone, and forgotten with it.

import { writeMix, read, write } from "./state.js";

const KEPT = "emoface.visit";
const MOST = 24;
const SIDE = 96; // pixels of a thumbnail
const RESTED = 900; // milliseconds that a face is looked at before it counts

const byId = (id) => document.getElementById(id);

export class Visit {
  #faces = [];
  #timer = 0;

  constructor(store) {
    this.store = store;
    try {
      this.#faces = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    } catch {
      // Written by something else: then the visit begins now.
    }
    byId("forget").addEventListener("click", () => {
      this.#faces = [];
      this.#changed();
    });
    this.#build();
  }

  /** Remember a face that is shown, if it stays for a moment. */
  see(face, image) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keep(face, image), RESTED);
  }

  #keep(face, image) {
    const query = write(face);
    // The same face, whatever else the page showed beside it.
    const same = (one) => ["emotion", "seed", "intensity", "truncation", "size"].every(
      (name) => new URLSearchParams(one.query).get(name) === new URLSearchParams(query).get(name),
    );
    if (this.#faces.length && same(this.#faces[0])) return;
    const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    canvas.getContext("2d").drawImage(image, 0, 0, SIDE, SIDE);
    const thumbnail = canvas.toDataURL("image/jpeg", 0.85);
    this.#faces = [{ query, thumbnail }, ...this.#faces.filter((one) => !same(one))].slice(0, MOST);
    this.#changed();
  }

  #changed() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(this.#faces));
    } catch {
      // No room, or not allowed: then the visit ends with the page.
    }
    this.#build();
  }

  #build() {
    byId("visit").hidden = this.#faces.length === 0;
    byId("visited").replaceChildren(
      ...this.#faces.map(({ query, thumbnail }) => {
        const { mix, seed, intensity, truncation, size } = read(query);
        const button = Object.assign(document.createElement("button"), { type: "button", className: "tile" });
        const image = Object.assign(new Image(SIDE, SIDE), { src: thumbnail, alt: "" });
        const frame = Object.assign(document.createElement("i"), { className: "frame" });
        frame.append(image);
        const caption = document.createElement("span");
        caption.textContent = `${Object.keys(mix).join(" + ")} · ${seed}`;
        caption.title = writeMix(mix);
        button.append(frame, caption);
        button.addEventListener("click", () =>
          this.store.set({ mix, seed, intensity, truncation, size }, `visit ${performance.now()}`),
        );
        const item = document.createElement("li");
        item.append(button);
        return item;
      }),
    );
  }
}
