// What says which face it is to be: buttons, mix, person, sliders. All of it follows the state, also when Back is pressed.

import { colourOf, percent } from "./affect.js";
import { DEFAULTS, LIMITS, writeMix } from "./state.js";

const byId = (id) => document.getElementById(id);
const MOST_SEED = 2 ** 53; // what a number in JavaScript holds exactly

/** Return a seed for somebody nobody has met. */
export const anybody = () => {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return String((high * 2 ** 21 + (low >>> 11)) % MOST_SEED);
};

/** Put a slider at a value, and colour its track up to there. */
export function setSlider(input, value) {
  input.value = value;
  const part = (Number(input.value) - Number(input.min)) / (Number(input.max) - Number(input.min));
  input.style.setProperty("--fill", `${100 * part}%`);
}

/** Make a button with a coloured dot for each emotion. `known` are those that the weights can draw. */
export function emotionButtons(store, emotions, note) {
  const buttons = emotions.map(({ name, known, aliases }) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "emotion" });
    button.style.setProperty("--colour", colourOf(name));
    button.append(document.createElement("i"), name);
    button.disabled = !known;
    button.title = known ? aliases.join(", ") : "the loaded weights cannot draw it";
    button.addEventListener("click", () => {
      note.clear();
      store.set({ mix: { [name]: 100 } }, `emotion ${name}`);
    });
    return button;
  });
  byId("emotions").replaceChildren(...buttons);
  store.listen(({ mix }) => {
    const only = writeMix(mix);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.textContent === only));
  });
}

/** Make a slider for each emotion's share. */
export function mixSliders(store, names, note) {
  const rows = names.map((name) => {
    const label = Object.assign(document.createElement("label"), { className: "share" });
    label.style.setProperty("--colour", colourOf(name));
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, step: 1 });
    const value = document.createElement("output");
    label.append(Object.assign(document.createElement("span"), { textContent: name }), slider, value);
    const changed = (moving) => {
      const mix = Object.fromEntries(rows.map((row) => [row.name, Number(row.slider.value)]).filter(([, share]) => share > 0));
      if (Object.keys(mix).length === 0) {
        value.textContent = "0";
        note.say("A mix needs at least one emotion above 0; the face stays as it was.");
        return;
      }
      note.clear();
      store.set({ mix }, `share of ${name}`, moving);
    };
    slider.addEventListener("input", () => changed(true));
    slider.addEventListener("change", () => changed(false));
    return { name, slider, value, label };
  });
  byId("mix").replaceChildren(...rows.map(({ label }) => label));
  store.listen(({ mix }, { control }) => {
    // Under a finger the sliders stay as they are; otherwise they show percent.
    const shares = control?.startsWith("share of ") ? mix : percent(mix);
    for (const { name, slider, value } of rows) {
      setSlider(slider, shares[name] ?? 0);
      value.textContent = shares[name] ?? 0;
    }
  });
}

/** The field for a seed, and the dice. */
export function person(store, note) {
  const field = byId("seed");
  const take = (moving) => {
    if (field.value === "") {
      note.say("A person needs a seed: any number or any text, a name say.");
      return;
    }
    note.clear();
    store.set({ seed: field.value }, "seed", moving);
  };
  field.addEventListener("input", () => take(true));
  field.addEventListener("change", () => take(false));
  byId("dice").addEventListener("click", () => {
    note.clear();
    store.set({ seed: anybody() }, `dice ${performance.now()}`);
  });
  store.listen(({ seed }) => {
    if (field.value !== seed && !(document.activeElement === field && field.value === "")) field.value = seed;
  });
}

/** A slider for a number of the state, with what it says beside it. */
export function slider(store, name, said) {
  const input = byId(name);
  [input.min, input.max] = LIMITS[name];
  const value = byId(`${name}-value`);
  const changed = (moving) => store.set({ [name]: Number(input.value) }, name, moving);
  input.addEventListener("input", () => changed(true));
  input.addEventListener("change", () => changed(false));
  store.listen((state) => {
    setSlider(input, state[name]);
    value.textContent = said(state[name]);
    input.setAttribute("aria-valuetext", value.textContent);
  });
}

/** The picture's size: any whole number, with a few to choose from. */
export function sizeField(store, note) {
  const field = byId("size");
  const [least, most] = LIMITS.size;
  field.addEventListener("change", () => {
    const size = Number(field.value);
    if (!Number.isInteger(size) || size < least || size > most) {
      note.say(`A size is a whole number of pixels from ${least} to ${most}; the face stays as it was.`);
      return;
    }
    note.clear();
    store.set({ size }, "size");
  });
  store.listen(({ size }) => {
    field.value = size;
  });
}

/** The button that puts intensity, variety and size back. */
export function reset(store) {
  const { intensity, truncation, size } = DEFAULTS;
  byId("reset").addEventListener("click", () => store.set({ intensity, truncation, size }, "reset"));
}
