// Everything that the page asks the service for, and what to say when that fails.

import { writeMix } from "./state.js";

const KEY = "emoface.key"; // in sessionStorage: a key is forgotten with the tab
const OFFLINE_AGAIN = 3; // seconds

/** What went wrong, as a sentence for whoever sees it. `status` is 0 when there was no answer at all. */
export class Failure extends Error {
  constructor(sentence, status = 0, { seconds = null, errors = [] } = {}) {
    super(sentence);
    this.status = status;
    this.errors = errors;
    // When it may be tried again by itself; null: not before something has been changed.
    this.seconds = seconds;
  }

  /** Whether a key would help. */
  get needsKey() {
    return this.status === 401;
  }
}

/** Whether an error only says that nobody wants the answer any more. */
export const aborted = (error) => error?.name === "AbortError";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** Return the whole address of a route. */
export const at = (route) => new URL(route, document.baseURI);

/** Fetch a route's answer. Throws Failure, or an AbortError once `signal` is aborted. */
export async function ask(route, { json, body, type, signal } = {}) {
  const headers = {};
  if (key.get()) headers["X-API-Key"] = key.get();
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (type) headers["Content-Type"] = type;
  const post = json !== undefined || body !== undefined;
  let answer;
  try {
    answer = await fetch(at(route), {
      method: post ? "POST" : "GET",
      headers,
      body: json !== undefined ? (typeof json === "string" ? json : JSON.stringify(json)) : body,
      signal,
    });
  } catch (error) {
    if (aborted(error)) throw error;
    const offline = "The service cannot be reached; the page tries again by itself.";
    throw new Failure(offline, 0, { seconds: OFFLINE_AGAIN });
  }
  if (!answer.ok) throw await failure(answer);
  return answer;
}

async function failure(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Something between here and the service has answered, or the connection broke off.
  }
  const after = Number(answer.headers.get("Retry-After") ?? NaN);
  const passing = [429, 502, 503, 504].includes(answer.status);
  return new Failure(problem.detail ?? `The service answered with status ${answer.status}.`, answer.status, {
    seconds: passing ? (Number.isFinite(after) ? after : 2) : null,
    errors: problem.errors ?? [],
  });
}

/** Return the address of a face for GET /faces. With `model`, nothing but these weights may draw it. */
export function faceRoute(face, format, model) {
  const query = new URLSearchParams({ intensity: face.intensity, truncation: face.truncation, size: face.size });
  if (model) query.set("model", model);
  const name = encodeURIComponent(writeMix(face.mix)).replaceAll("%2C", ",").replaceAll("%3D", "=");
  return `faces/${name}/${encodeURIComponent(face.seed)}.${format}?${query}`;
}

/** Return what POST /generate takes for a face. */
export function wishOf(face, more = {}) {
  const parts = Object.entries(face.mix);
  const emotion = parts.length === 1 ? parts[0][0] : face.mix;
  const { seed, intensity, truncation, size } = face;
  return { emotion, seed, intensity, truncation, size, ...more };
}

/**
 * Draw several faces with one request, and call `each(index, address, failure)` for every one as it is ready; `address`
 * is a data URL, or null with a `failure`. Throws as `ask` does.
 */
export async function drawMany(faces, each, signal) {
  const requests = faces.map((face) => wishOf(face, { format: "webp" }));
  const answer = await ask("generate/batch", { json: { requests, output: "ndjson" }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.map((text) => JSON.parse(text))) {
        const failed = line.problem && new Failure(line.problem.detail, line.status, { seconds: line.status === 503 ? 2 : null });
        each(line.index, failed ? null : `data:image/webp;base64,${line.image}`, failed ?? null);
      }
    }
  } catch (error) {
    if (aborted(error)) throw error;
    throw new Failure("The connection to the service broke off; the page tries again by itself.", 0, { seconds: OFFLINE_AGAIN });
  }
}

/** Let the browser save an answer's body under a name. */
export async function save(answer, name) {
  const address = URL.createObjectURL(await answer.blob());
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Return a name to save something of a face under, in letters that every file system takes. */
export function fileName(face, suffix) {
  const plain = (text) => text.replaceAll(/[^A-Za-z0-9_-]+/g, "_").slice(0, 64);
  return `${Object.keys(face.mix).map(plain).join("-")}-${plain(face.seed)}.${suffix}`;
}
