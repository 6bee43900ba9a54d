// Labels: the browser keeps them as they are given; they are saved as CSV for `gpuanom label`, and read back from CSV.

const SHELF = `gpuanom-labels-${NIGHT.identity}`;
const MARKS = { prominent: "\u25a0", dubious: "\u25e7", normal: "\u25a1" };
const REASON_KEYS = { e: "elongated", d: "double", t: "trail", s: "stripes", r: "rings", g: "ghost", f: "focus", c: "clouds", o: "other" };
const FIELDS = ["exposure", "camera", "kind", "label", "reason", "analyst", "time", "places"];
const keyOf = (camera, exposure, kind) => JSON.stringify([camera, exposure, kind]);
const given = new Map();
let elsewhere = []; // labels of exposures that this page does not list, kept from an earlier or larger report
const INDEX = new Map(Array.from({ length: N }, (_, i) => [keyOf(COLUMNS.camera[i], COLUMNS.exposure[i], ""), i]));
const OTHERS = new Map();
for (const label of NIGHT.labels) {
  const key = keyOf(label.camera, label.exposure, label.kind);
  OTHERS.set(key, [...(OTHERS.get(key) || []), label]);
}

function remember() {
  try {
    localStorage.setItem(SHELF, JSON.stringify([...given.values(), ...elsewhere]));
    localStorage.setItem("gpuanom-analyst", $("analyst").value);
  } catch {
    say("this browser does not keep your labels: save them before you close the page");
  }
}

function recall() {
  try {
    $("analyst").value = localStorage.getItem("gpuanom-analyst") || "";
    elsewhere = JSON.parse(localStorage.getItem(SHELF) || "[]").filter((label) => !take(label));
  } catch {
    /* no labels are kept, or others than this page's */
  }
}

/** The moment that a label's time names; a text that names none is earlier than all. A time without an offset is UTC. */
function momentOf(time) {
  const text = String(time || "").trim().replace(" ", "T");
  const moment = Date.parse(/T/i.test(text) && !/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? `${text}Z` : text);
  return /^\d{4}-/.test(text) && !Number.isNaN(moment) ? moment : -Infinity;
}

/** Keep a label if it is valid for this night and no later one is held; return whether it was kept. */
function take(label) {
  const { camera, exposure, kind } = label;
  const valid = INDEX.has(keyOf(camera, exposure, "")) && ["source", "background"].includes(kind)
    && NIGHT.grades.includes(label.label) && (!label.reason || NIGHT.reasons.includes(label.reason));
  const key = keyOf(camera, exposure, kind), held = given.get(key);
  if (!valid || (held && momentOf(held.time) > momentOf(label.time))) return false;
  given.set(key, { ...Object.fromEntries(FIELDS.map((name) => [name, String(label[name] || "")])), places: placesText(placesOf(label.places)) });
  return true;
}

const labelOf = (i, kind) => given.get(keyOf(COLUMNS.camera[i], COLUMNS.exposure[i], kind));
const othersOf = (i, kind) => OTHERS.get(keyOf(COLUMNS.camera[i], COLUMNS.exposure[i], kind)) || [];

function setLabel(i, kind, change) {
  if (i < 0 || COLUMNS.exposure[i] === "") return;
  const [camera, exposure] = [COLUMNS.camera[i], COLUMNS.exposure[i]], key = keyOf(camera, exposure, kind);
  if (change === null) given.delete(key);
  else {
    const held = given.get(key) || { label: "prominent", reason: "", places: "" };
    const time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    given.set(key, { exposure, camera, kind, ...held, ...change, analyst: $("analyst").value.trim(), time });
  }
  remember();
  const label = given.get(key);
  say(label ? `${exposure}, ${kind}: ${label.label}${label.reason ? ", " + label.reason : ""}` : `${exposure}, ${kind}: no label`);
  refreshLabels();
}

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function toCsv() {
  const analyst = $("analyst").value.trim();
  const lines = [...given.values()].map((label) =>
    FIELDS.map((name) => quoted(name === "analyst" ? label.analyst || analyst : label[name])).join(","));
  return [FIELDS.join(","), ...lines, ""].join("\n");
}

function fromCsv(text) {
  const rows = [[""]];
  let inside = false;
  text = text.replace(/^\ufeff/, "");
  for (let i = 0; i < text.length; i++) {
    const c = text[i], row = rows[rows.length - 1];
    if (inside) {
      if (c !== '"') row[row.length - 1] += c;
      else if (text[i + 1] === '"') row[row.length - 1] += text[++i];
      else inside = false;
    } else if (c === '"') inside = true;
    else if (c === ",") row.push("");
    else if (c === "\n") rows.push([""]);
    else if (c !== "\r") row[row.length - 1] += c;
  }
  const [names, ...lines] = rows, written = lines.filter((row) => row.some((cell) => cell !== ""));
  // Spreadsheets write empty values behind the last column; any others show that a text has a comma.
  const fitting = written.filter((row) => row.slice(names.length).every((cell) => cell === ""));
  const labels = fitting.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] || ""])));
  return { labels, tooLong: written.length - fitting.length };
}

function saveLabels() {
  if (!$("analyst").value.trim()) {
    $("analyst").focus();
    say("enter your name as the analyst, then save");
    return;
  }
  const name = $("analyst").value.trim().replace(/[^\w-]+/g, "_");
  saveText(toCsv(), `labels-${name}.csv`, "text/csv");
  say(`${given.size} labels saved: gpuanom label SCORED labels-${name}.csv`);
}

async function loadLabels(file) {
  const { labels, tooLong } = fromCsv(await file.text());
  for (const label of labels) {
    if (label.camera === undefined || label.camera === "") {
      const found = COLUMNS.exposure.indexOf(label.exposure);
      if (found >= 0 && COLUMNS.exposure.indexOf(label.exposure, found + 1) < 0) label.camera = COLUMNS.camera[found];
    }
  }
  const n = labels.filter(take).length;
  remember();
  refreshLabels();
  const long = tooLong ? `; ${tooLong} ${tooLong === 1 ? "line has" : "lines have"} more values than columns: quote a text that holds a comma` : "";
  say(`${n} of ${labels.length} labels read; all others are older than yours, or their exposures are not on this page${long}`);
}
