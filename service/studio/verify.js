// A picture in, and whether these weights drew it.

import { Job, Note } from "./jobs.js";
import { ask } from "./service.js";
import { DEFAULTS, bounded, readMix } from "./state.js";

const byId = (id) => document.getElementById(id);
const KINDS = ["image/png", "image/webp", "image/jpeg", "image/avif"];

export function verifying(store) {
  const note = new Note(byId("note-verify"));
  const section = byId("verify");
  const job = new Job(note, section);
  const result = byId("verdict");
  let address = null;

  async function look(file) {
    result.hidden = true;
    section.scrollIntoView({ block: "nearest" });
    await job.run(async (signal) => {
      const type = KINDS.includes(file.type) ? file.type : "application/octet-stream";
      const answer = await ask("verify", { body: file, type, signal });
      tell(await answer.json(), file);
    });
  }

  function tell(verdict, file) {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    byId("verified-image").src = address;
    byId("verified").textContent = verdict.verified ? "Verified" : "Not verified";
    result.classList.toggle("yes", verdict.verified);
    byId("reason").textContent = verdict.reason;
    const differs = verdict.difference === null ? null : verdict.exact ? "not one pixel" : `by up to ${verdict.difference} grey levels`;
    const facts = {
      emotion: verdict.emotion,
      person: verdict.seed,
      intensity: verdict.intensity,
      variety: verdict.truncation,
      weights: verdict.model,
      picture: `${verdict.size.join(" × ")} ${verdict.format}`,
      differs,
    };
    const told = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
    byId("facts").replaceChildren(
      ...told.flatMap(([name, value]) => [
        Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: value }),
      ]),
    );
    const mix = readMix(verdict.emotion ?? "");
    const open = byId("open-face");
    open.hidden = !verdict.verified || mix === null;
    open.onclick = () => {
      const number = (text, otherwise) => (text === null ? otherwise : Number(text));
      store.set(
        {
          mix,
          seed: verdict.seed,
          intensity: number(verdict.intensity, DEFAULTS.intensity),
          truncation: number(verdict.truncation, DEFAULTS.truncation),
          size: bounded("size", verdict.size[0]),
        },
        `verified ${performance.now()}`,
      );
      byId("studio").scrollIntoView();
    };
    result.hidden = false;
  }

  byId("picture").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) look(file);
    event.target.value = ""; // so that the same file may be chosen again
  });

  // A picture may be dropped anywhere: nobody has to aim.
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file) look(file);
  });
}
