// The studio: puts the parts together. What there is to choose from comes from the service itself.

import { wording, Face } from "./face.js";
import { copying } from "./copy.js";
import { anybody, emotionButtons, mixSliders, person, reset, sizeField, slider } from "./controls.js";
import { Job, Note } from "./jobs.js";
import { morphing } from "./morph.js";
import { pad } from "./pad.js";
import { Failure, ask, faceRoute, fileName, key, save } from "./service.js";
import { Store, writeMix } from "./state.js";
import { Tiles } from "./tiles.js";
import { verifying } from "./verify.js";
import { Visit } from "./visit.js";

const byId = (id) => document.getElementById(id);
const PEOPLE = 24; // on a page of the wall
const PAGES = 1_000_000;
const STEPS = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5];
const SHEET = 128; // pixels of a face on a contact sheet
const NEUTRAL = "neutral";

const store = new Store();
const weights = { tag: null };
const noteFace = new Note(byId("note-face"));
const notes = {
  "": noteFace,
  emotion: new Note(byId("note-emotion")),
  seed: new Note(byId("note-seed")),
  size: new Note(byId("note-size")),
};

const visit = new Visit(store);
const face = new Face({
  figure: byId("face"),
  notes,
  model: () => weights.tag,
  onShown: (state, image) => {
    byId("caption").textContent = wording(state);
    visit.see(state, image);
  },
});

// ---- the key: asked for where one is needed, kept in this tab

document.addEventListener("key-needed", ({ detail }) => {
  byId("key").hidden = false;
  byId("key-why").textContent = detail;
});
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key-field").value.trim());
  byId("key").hidden = true;
  byId("key-field").value = "";
  document.dispatchEvent(new CustomEvent("key-changed"));
});
document.addEventListener("key-changed", () => (weights.tag === null ? begin() : redraw()));

// ---- what the service has

// The service may have been started again with other weights, while the page was open.
document.addEventListener("weights-changed", async () => {
  try {
    const [model] = (await (await ask("models")).json()).models;
    if (model.tag === weights.tag) return;
    weights.tag = model.tag;
    byId("weights").textContent = model.tag;
    redraw();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    // What is said beside the face stands: nothing better is known.
  }
});

const first = new Job(noteFace, byId("face"));

async function begin() {
  let known = null;
  const done = await first.run(async (signal) => {
    const [emotions, models] = await Promise.all(
      ["emotions", "models"].map(async (route) => (await ask(route, { signal })).json()),
    );
    known = { emotions: emotions.emotions, model: models.models[0] };
    if (weights.tag === null) build(known);
  });
  return done;
}

function build({ emotions, model }) {
  weights.tag = model.tag;
  byId("weights").textContent = model.tag;
  byId("weights").title = `${model.resolution}x${model.resolution} pixels, drawn on ${model.device}`;
  const names = emotions.filter(({ known }) => known).map(({ name }) => name);
  know(emotions, names);
  emotionButtons(store, emotions, notes.emotion);
  const noteMix = new Note(byId("note-mix"));
  mixSliders(store, names, noteMix);
  pad(store, names);
  person(store, notes.seed);
  slider(store, "intensity", (value) => `${Math.round(100 * value)} %`);
  slider(store, "truncation", (value) => `${Math.round(100 * value)} %`);
  sizeField(store, notes.size);
  reset(store);
  const neutral = names.includes(NEUTRAL);
  byId("intensity").disabled = !neutral; // it is measured from neutral
  const rows = [byTheirEmotions(names), wall(), ...(neutral ? [byIntensity()] : [])];
  byId("intensities").hidden = !neutral;
  store.listen((state, { moving }) => {
    face.show(state, moving);
    for (const row of rows) row.show(state);
  });
  redrawn.push(face, ...rows);
  redrawn.push(morphing(store, names, () => weights.tag));
  copying(store);
  verifying(store);
  downloads(names);
  document.documentElement.dataset.ready = "true";
}

const redrawn = [];
const redraw = () => redrawn.forEach((part) => part.again());

/** Let the store know the vocabulary, and call emotions by its own names where an address has another word for them. */
function know(emotions, names) {
  const own = new Map(emotions.flatMap(({ name, aliases }) => aliases.map((alias) => [alias, name])));
  for (const { name } of emotions) own.set(name.toLowerCase(), name);
  store.know(names, (word) => own.get(word.toLowerCase()) ?? word);
}

// ---- rows of faces

/** The face of a state, but for a `change`. */
const like = ({ mix, seed, intensity, truncation }, change) => ({ mix, seed, intensity, truncation, ...change });

function byTheirEmotions(names) {
  return new Tiles({
    section: byId("all-emotions"),
    list: byId("emotion-faces"),
    note: new Note(byId("note-emotions")),
    tilesOf: (state) =>
      names.map((name) => ({
        face: like(state, { mix: { [name]: 100 } }),
        caption: name,
        chosen: writeMix(state.mix) === name,
        pick: () => store.set({ mix: { [name]: 100 } }, `emotion ${name}`),
      })),
  });
}

function byIntensity() {
  return new Tiles({
    section: byId("intensities"),
    list: byId("intensity-faces"),
    note: new Note(byId("note-intensities")),
    tilesOf: (state) =>
      STEPS.map((intensity) => ({
        face: like(state, { intensity }),
        caption: `${100 * intensity} %`,
        chosen: state.intensity === intensity,
        pick: () => store.set({ intensity }, `intensity ${intensity}`),
      })),
  });
}

function wall() {
  const seeds = ({ people }) => Array.from({ length: PEOPLE }, (_, index) => String(people * PEOPLE + index));
  const turn = (people) => store.set({ people: Math.min(PAGES, Math.max(0, people)) }, `people ${people}`);
  byId("people-before").addEventListener("click", () => turn(store.state.people - 1));
  byId("people-after").addEventListener("click", () => turn(store.state.people + 1));
  byId("people-any").addEventListener("click", () => turn(Number(anybody()) % PAGES));
  store.listen(({ people }) => {
    byId("people-before").disabled = people === 0;
    byId("people-which").textContent = `${people * PEOPLE} to ${people * PEOPLE + PEOPLE - 1}`;
  });
  const job = new Job(new Note(byId("note-people")), byId("people-sheet"));
  byId("people-sheet").addEventListener("click", () =>
    job.run(async (signal) => {
      await save(await ask(sheetRoute([writeMix(store.state.mix)], seeds(store.state)), { signal }), "people.png");
    }),
  );
  return new Tiles({
    section: byId("people"),
    list: byId("people-faces"),
    note: new Note(byId("note-wall")),
    tilesOf: (state) =>
      seeds(state).map((seed) => ({
        face: like(state, { seed }),
        caption: seed,
        chosen: state.seed === seed,
        pick: () => store.set({ seed }, `person ${seed}`),
      })),
  });
}

// ---- to keep

function sheetRoute(emotions, seeds) {
  const { intensity, truncation } = store.state;
  const query = new URLSearchParams({ intensity, truncation, size: SHEET, labels: true });
  for (const emotion of emotions) query.append("emotions", emotion);
  for (const seed of seeds) query.append("seeds", seed);
  return `grid.png?${query}`;
}

function downloads(names) {
  const note = new Note(byId("note-save"));
  const [face, sheet] = [new Job(note, byId("download")), new Job(note, byId("sheet"))];
  byId("download").addEventListener("click", () =>
    face.run(async (signal) => {
      const answer = await ask(faceRoute(store.state, "png"), { signal });
      await save(answer, fileName(store.state, "png"));
    }),
  );
  byId("sheet").addEventListener("click", () => {
    const { seed } = store.state;
    // A single seed of a query is read as a list.
    if (seed.includes(",") || seed !== seed.trim()) {
      note.say("A contact sheet takes no seed with a comma in it or a blank around it; choose another person.");
      return;
    }
    sheet.run(async (signal) => {
      await save(await ask(sheetRoute(names, [seed]), { signal }), fileName({ mix: { sheet: 1 }, seed }, "png"));
    });
  });
}

begin();
