// Where emotions lie on the valence-arousal plane, and which mix a point on it stands for.
//
// The plane is that of Russell's circumplex ("A circumplex model of affect", J. Pers. Soc. Psychol. 39, 1980):
// valence, how pleasant, runs from left to right, and arousal, how stirred up, from bottom to top, both -1..1.
// The coordinates are the mean ratings of pleasure and arousal in Russell & Mehrabian, "Evidence for a three-factor
// theory of emotions", J. Res. Pers. 11, 1977: angry, disgust, fearful, happy, sad and surprised. Neutral is the
// origin. That study did not have contempt among what we could look up, so it lies where "displeased" does: that
// one is our choice.
export const PLACES = {
  angry: [-0.51, 0.59],
  disgust: [-0.6, 0.35],
  fear: [-0.64, 0.6],
  happy: [0.81, 0.51],
  sad: [-0.63, -0.27],
  surprise: [0.4, 0.67],
  neutral: [0, 0],
  contempt: [-0.55, 0.16],
};

const NEAREST = 4; // the nearest three of these have a share, the fourth says how far their reach goes
const LEAST = 2; // percent; a smaller share is not worth naming

/**
 * Return the mix that a point stands for: whole percent by name, of at most three emotions of `names`.
 *
 * Shepard's interpolation with the local weights of Franke & Little ((R - d) / (R d))^2, where R is the distance of the
 * fourth nearest emotion, as in Renka, "Multivariate interpolation of large sets of scattered data", 1988. At an
 * emotion's own place the mix is that emotion alone, and it changes without jumps from there to its neighbours.
 */
export function mixAt(valence, arousal, names) {
  const near = names
    .filter((name) => Object.hasOwn(PLACES, name))
    .map((name) => [name, Math.hypot(PLACES[name][0] - valence, PLACES[name][1] - arousal)])
    .sort((one, other) => one[1] - other[1])
    .slice(0, NEAREST);
  if (near.length === 0) return {};
  if (near.length === 1 || near[0][1] < 1e-3) return { [near[0][0]]: 100 };
  // With few emotions there is no further one to bound the reach: then it goes a little beyond the last.
  const reach = near.length < NEAREST ? near.at(-1)[1] * 1.5 : near.at(-1)[1];
  const weights = near.map(([name, distance]) => [name, (Math.max(0, reach - distance) / (reach * distance)) ** 2]);
  const mix = percent(Object.fromEntries(weights));
  // All of them equally far away: nobody is nearer than the reach.
  return Object.keys(mix).length ? mix : { [near[0][0]]: 100 };
}

/** Return where a mix lies, [valence, arousal]: the mean of its emotions' places. */
export function placeOf(mix) {
  const known = Object.entries(mix).filter(([name]) => Object.hasOwn(PLACES, name));
  const sum = known.reduce((total, [, weight]) => total + weight, 0);
  if (sum === 0) return [0, 0];
  return [0, 1].map((axis) => known.reduce((total, [name, weight]) => total + (weight / sum) * PLACES[name][axis], 0));
}

/** Return a mix in whole percent that sum to 100, without shares that are next to nothing. */
export function percent(mix) {
  const sum = Object.values(mix).reduce((total, weight) => total + weight, 0);
  if (!(sum > 0)) return {};
  const kept = Object.entries(mix)
    .map(([name, weight]) => [name, Math.round((100 * weight) / sum)])
    .filter(([, weight]) => weight >= LEAST);
  const largest = kept.reduce((best, entry) => (entry[1] > best[1] ? entry : best));
  largest[1] += 100 - kept.reduce((total, [, weight]) => total + weight, 0);
  return Object.fromEntries(kept);
}

const COLOURS = {
  angry: "#e5484d",
  disgust: "#5b9a3c",
  fear: "#8a63d2",
  happy: "#f0a81c",
  sad: "#3e7bd6",
  surprise: "#e8679b",
  neutral: "#8b8d98",
  contempt: "#a2764d",
};

/** Return an emotion's colour, #rrggbb; every name has one, always the same. */
export function colourOf(name) {
  if (Object.hasOwn(COLOURS, name)) return COLOURS[name];
  const hash = [...name].reduce((value, letter) => (value * 31 + letter.codePointAt(0)) >>> 0, 7);
  return `#${[0, 8, 16].map((shift) => (0x50 + (((hash >>> shift) & 0xff) >> 1)).toString(16)).join("")}`;
}

/** Return a mix's colour, #rrggbb: the mean of its emotions'. */
export function blend(mix) {
  const sum = Object.values(mix).reduce((total, weight) => total + weight, 0) || 1;
  const channel = (at) =>
    Object.entries(mix).reduce(
      (total, [name, weight]) => total + (weight / sum) * parseInt(colourOf(name).slice(at, at + 2), 16),
      0,
    );
  return `#${[1, 3, 5].map((at) => Math.round(channel(at)).toString(16).padStart(2, "0")).join("")}`;
}
