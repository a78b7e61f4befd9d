// The valence-arousal pad: a point on it is a mix. Two sliders do the same for who has no pointer.

import { PLACES, blend, colourOf, mixAt, placeOf } from "./affect.js";
import { setSlider } from "./controls.js";

const byId = (id) => document.getElementById(id);
const CONTROL = "pad";

export function pad(store, names) {
  const plane = byId("pad");
  const marker = plane.querySelector(".marker");
  const axes = { valence: byId("valence"), arousal: byId("arousal") };
  let point = placeOf(store.state.mix);

  for (const name of names.filter((known) => known in PLACES)) {
    const anchor = Object.assign(document.createElement("span"), { className: `anchor ${name}` });
    anchor.append(Object.assign(document.createElement("b"), { textContent: name }));
    anchor.style.setProperty("--colour", colourOf(name));
    put(anchor, PLACES[name]);
    plane.append(anchor);
  }

  function put(element, [valence, arousal]) {
    element.style.left = `${50 + 50 * valence}%`;
    element.style.top = `${50 - 50 * arousal}%`;
  }

  function go(to, moving) {
    point = to.map((value) => Math.min(1, Math.max(-1, value)));
    store.set({ mix: mixAt(...point, names) }, CONTROL, moving);
  }

  function under(event) {
    const box = plane.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    return [2 * across - 1, 1 - 2 * down];
  }

  plane.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plane.setPointerCapture(event.pointerId);
    go(under(event), true);
  });
  plane.addEventListener("pointermove", (event) => {
    if (plane.hasPointerCapture(event.pointerId)) go(under(event), true);
  });
  // After pointerup, and when the browser takes a finger away for a gesture of its own (pointercancel).
  plane.addEventListener("lostpointercapture", () => go(point, false));
  const byAxis = (moving) => go([Number(axes.valence.value), Number(axes.arousal.value)], moving);
  for (const axis of Object.values(axes)) {
    axis.addEventListener("input", () => byAxis(true));
    axis.addEventListener("change", () => byAxis(false));
  }

  store.listen(({ mix }, { control }) => {
    // A mix has no single place, so the marker stays where it was put until something else changes the mix.
    if (control !== CONTROL) {
      const [valence, arousal] = placeOf(mix);
      const still = JSON.stringify(mixAt(...point, names)) === JSON.stringify(mix);
      if (!still) point = [valence, arousal];
    }
    put(marker, point);
    marker.style.setProperty("--colour", blend(mix));
    setSlider(axes.valence, point[0]);
    setSlider(axes.arousal, point[1]);
  });
}
