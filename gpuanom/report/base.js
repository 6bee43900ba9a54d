"use strict";
// The data of the page, and the helpers that every other part uses. A string is only ever shown as text: no part of the
// script makes markup from a string.

const read = (id) => {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : null;
};
const $ = (id) => document.getElementById(id);
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
  outlines: true, outline: "source_alignment", whiskers: true, usual: false, found: true, others: false, advance: false, scores: true,
};

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "css") for (const [property, v] of Object.entries(value)) element.style.setProperty(property, v);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}
const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function number(value, what) {
  if (value === null || value === undefined) return "-";
  if (what === "rank" || Number.isInteger(value) && Math.abs(value) < 1e6 && what !== "p") return String(value);
  if (what === "p") return value === 0 ? "0" : value >= 0.001 ? value.toPrecision(2) : value.toExponential(0);
  if (what === "kl" || what === "floor") return value >= 0.0001 ? value.toFixed(4) : value.toPrecision(2);
  if (what === "angle") return value.toFixed(0).replace(/^-0$/, "0");
  if (what === "alignment") return value.toFixed(2);
  return Math.abs(value) >= 1000 ? value.toPrecision(4) : value.toFixed(1).replace(/^-0.0$/, "0.0");
}

const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
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

// Plasma, from dark blue to light yellow: it can be read with any colour vision, and in grey.
const STOPS = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]];
function colour(share) {
  const x = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), i = Math.min(STOPS.length - 2, Math.floor(x));
  const mix = STOPS[i].map((v, c) => Math.round(v + (x - i) * (STOPS[i + 1][c] - v)));
  return `rgb(${mix.join(",")})`;
}

let tipTimer = 0;
function say(text) {
  $("tip").textContent = text;
  $("tip").classList.add("on");
  clearTimeout(tipTimer);
  tipTimer = setTimeout(() => $("tip").classList.remove("on"), 2500);
}
