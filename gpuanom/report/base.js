// The data of the report, and what every other part of it asks of them.

const NIGHT = read("night");
const COLUMNS = NIGHT.columns;
const N = COLUMNS.exposure.length;
const NAMES = { source: "sources", isophote: "isophotes", background: "background", flat_background: "flat background", autoencoder: "autoencoder" };
const MEASURES = {
  deviation: "deviation from the other exposures of the dataset",
  z: "z: excess over counting noise, in standard deviations",
  kl: "KL divergence: the paper's score",
  rank: "rank by KL, 1 is the most anomalous",
  p: "p: probability that counting noise alone gives such a score",
};
const DOWNWARDS = { deviation: true, z: true, kl: true, rank: false, p: false };
const DETAILED = new Set(NIGHT.detailed), PICTURED = new Set(NIGHT.pictured);

const state = {
  view: "list", now: -1, rows: [], kind: "source", measure: "deviation", sort: "verdict", down: true,
  outlines: true, outline: "source_alignment", whiskers: true, usual: false, found: true, others: false, advance: false, marking: false, ccd: null, scores: true, explained: false,
};

function number(value, what) {
  if (value === null || value === undefined) return "-";
  if (what === "rank" || Number.isInteger(value) && Math.abs(value) < 1e6 && !["p", "z", "deviation"].includes(what)) return String(value);
  if (what === "p") return value === 0 ? "0" : value >= 0.001 ? value.toPrecision(2) : value.toExponential(0);
  if (what === "kl" || what === "floor") return value >= 0.0001 ? value.toFixed(4) : value.toPrecision(2);
  if (what === "angle") return value.toFixed(0).replace(/^-0$/, "0");
  if (what === "alignment") return value.toFixed(2);
  return Math.abs(value) >= 1000 ? value.toPrecision(4) : value.toFixed(1).replace(/^-0.0$/, "0.0");
}

const meaning = (column) => {
  const [text, unit] = NIGHT.about[column] || ["", ""];
  return unit ? `${text} [${unit}]` : text;
};
// An autoencoder's error takes the place of the KL of the other scores; it has no z and no p.
const SCORES = NIGHT.scores;
const columnOf = (kind, measure) => (kind === "autoencoder" && measure === "kl" ? "autoencoder_mse" : `${kind}_${measure}`);
const score = (i, kind, measure) => (COLUMNS[columnOf(kind, measure)] || [])[i] ?? null;

/** The largest deviation of an exposure, and the kind of its score. */
function largest(i) {
  let best = [null, null];
  for (const kind of NIGHT.kinds) {
    const value = score(i, kind, "deviation");
    if (value !== null && (best[0] === null || value > best[0])) best = [value, kind];
  }
  return best;
}
const LARGEST = Array.from({ length: N }, (_, i) => largest(i));
const about = (kind) => (kind.endsWith("background") ? "background" : "source");

const ccdWords = (name) => (/^ccd/i.test(name) ? name : `CCD ${name}`);

let tipTimer = 0;
function say(text) {
  $("tip").textContent = text;
  $("tip").classList.add("on");
  clearTimeout(tipTimer);
  tipTimer = setTimeout(() => $("tip").classList.remove("on"), 2500);
}
