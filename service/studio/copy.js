// The same face by other means: a line for a shell, Python, an <img>, a link.

import { at, faceRoute, fileName, key, wishOf } from "./service.js";

const byId = (id) => document.getElementById(id);

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
// JSON's strings and numbers are Python's too; there is nothing else in a wish but objects.
const literal = (value) => JSON.stringify(value);
const inHtml = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");

/** Each way to ask, as a text to copy. The key itself is never in it. */
export const WAYS = {
  curl: (face) =>
    [
      `curl -f ${inShell(at("generate").href)}`,
      `  -H 'Content-Type: application/json'`,
      ...(key.get() ? [`  -H "X-API-Key: $EMOFACE_KEY"`] : []),
      `  -d ${inShell(JSON.stringify(wishOf(face)))}`,
      `  -o ${fileName(face, "png")}`,
    ].join(" \\\n"),
  python: (face) =>
    [
      ...(key.get() ? ["import os", "", "import httpx", ""] : ["import httpx", ""]),
      `answer = httpx.post(`,
      `    ${literal(at("generate").href)},`,
      `    json=${literal(wishOf(face))},`,
      ...(key.get() ? [`    headers={"X-API-Key": os.environ["EMOFACE_KEY"]},`] : []),
      `)`,
      `answer.raise_for_status()`,
      `with open(${literal(fileName(face, "png"))}, "wb") as file:`,
      `    file.write(answer.content)`,
    ].join("\n"),
  img: (face) => {
    const words = Object.keys(face.mix).join(" and ");
    const address = inHtml(at(faceRoute(face, "webp")).href);
    return `<img src="${address}" width="${face.size}" height="${face.size}" alt="${inHtml(words)} face, generated">`;
  },
  link: (_, store) => store.link(),
};

/** Show the chosen way's text, and copy it. */
export function copying(store) {
  const text = byId("snippet");
  const said = byId("copied");
  const way = () => document.querySelector('input[name="way"]:checked').value;
  const show = () => {
    text.textContent = WAYS[way()](store.state, store);
    said.textContent = key.get() && way() === "img" ? "An <img> sends no key, and this service needs one." : "";
  };
  for (const choice of document.querySelectorAll('input[name="way"]')) choice.addEventListener("change", show);
  byId("copy").addEventListener("click", async () => {
    said.textContent = (await copied(text)) ? "Copied." : "The browser does not let a page copy; the text is selected.";
  });
  store.listen(show);
  document.addEventListener("key-changed", show);
}

async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // Only a secure context has a clipboard: not this page, where it comes over HTTP from another machine.
  }
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  return document.execCommand("copy");
}
