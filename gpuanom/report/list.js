// The list: filtered and sorted. Only visible rows are in the page, so that the list of a survey is as fast as that of
// a night.

const ROW = 25;
const LIST_WORDS = { source: "sources", isophote: "iso- photes", background: "back- ground", flat_background: "flat back- ground", autoencoder: "auto- encoder" };
const SORTED_UP = ["exposure", "band", "date_obs", "wrong"]; // what a first click sorts upwards

/** The columns of the list: name, heading, explanation, whether it is text, width. */
function columnsOfList() {
  const scores = state.scores || !JUDGED, wide = $("list-scroll").clientWidth || Infinity;
  const columns = [
    JUDGED ? ["verdict", "verdict", "the verdict, then the evidence: the order of the table", true, "66px"] : null,
    ["exposure", "exposure", meaning("exposure"), true, `minmax(${ID_WIDTH}px, 1fr)`],
    ["band", "band", meaning("band"), true, "minmax(42px, .3fr)"],
    ["date_obs", "time", `${meaning("date_obs")} (UT)`, true, ONE_NIGHT ? "70px" : "114px"],
    ["wrong", "what is wrong", "the cause of the verdict in words, or why there is none", true, "minmax(96px, 3fr)"],
    JUDGED ? ["evidence", "evidence", `${meaning("evidence")}; a full bar is ${FULL_EVIDENCE} or more`, false, "68px"] : null,
    scores ? ["largest", "largest", "the largest deviation among the scores of the exposure", false, "56px"] : null,
    ...(scores ? SCORES.map((kind) => [kind, LIST_WORDS[kind], null, false, "minmax(54px, 70px)"]) : []),
    scores ? ["n_sources", "number of sources", meaning("n_sources"), false, "60px"] : null,
    ["mark", "label", "your labels: sources, then background (prominent \u25a0, dubious \u25e7, normal \u25a1)", true, "44px"],
  ].filter(Boolean);
  // Where there is little room, the columns go that say least; the list scrolls sideways where that is not enough.
  // Without verdicts the same reason stands in every row.
  const spare = ["largest", NIGHT.datasets.length < 2 ? "band" : "", "n_sources", JUDGED ? "" : "wrong"];
  for (const name of spare) {
    const place = columns.findIndex((column) => column[0] === name);
    if (place >= 0 && leastWidth(columns) > wide) columns.splice(place, 1);
  }
  const beyond = Math.max(0, leastWidth(columns) - wide);
  columns.find((column) => column[0] === "exposure")[4] = `minmax(${Math.max(LEAST_ID, Math.floor(ID_WIDTH - beyond))}px, 1fr)`;
  return columns;
}
const leastWidth = (columns) => columns.reduce((sum, column) => sum + Number(/(\d+)px/.exec(column[4])[1]), 0);
const FULL_EVIDENCE = 50;
const LEAST_ID = 66, MOST_ID = 190; // pixels
/** Room for nine of ten ids: exposures that only their file names identify have long ones. */
const ID_WIDTH = (() => {
  const ruler = document.createElement("canvas").getContext("2d"), letters = getComputedStyle(document.body);
  ruler.font = `600 ${letters.fontSize} ${letters.fontFamily}`;
  const longest = [...COLUMNS.exposure].sort((a, b) => a.length - b.length)[Math.floor(0.9 * (N - 1))] || "";
  return Math.min(MOST_ID, Math.max(LEAST_ID, Math.ceil(12 + ruler.measureText(longest.slice(0, 100)).width)));
})();

const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)/;
const TIMES = COLUMNS.date_obs.map((text) => TIME.exec(text || ""));
const DAYS = new Set(TIMES.filter(Boolean).map((time) => time[1]));
const ONE_NIGHT = DAYS.size <= 2;
const timeOf = (i) => (TIMES[i] ? (ONE_NIGHT ? TIMES[i][2] : `${TIMES[i][1].slice(2)} ${TIMES[i][2].slice(0, 5)}`) : COLUMNS.date_obs[i] || "");

const sum = (label) => (label ? 1 + NIGHT.grades.indexOf(label.label) : 0);
function sortValue(i, by) {
  if (by === "verdict") return N - i; // the table comes in the order of the verdicts
  if (by === "wrong") return wrong(i);
  if (by === "largest") return LARGEST[i][0];
  if (by === "mark") return 10 * Math.max(sum(labelOf(i, "source")), sum(labelOf(i, "background")));
  if (SCORES.includes(by)) return score(i, by, state.measure);
  return COLUMNS[by][i];
}

const natural = new Intl.Collator("en", { numeric: true });
function compare(a, b) {
  const x = sortValue(a, state.sort), y = sortValue(b, state.sort);
  const xNone = x === null || x === "", yNone = y === null || y === "";
  if (xNone || yNone) return xNone - yNone || a - b; // missing values come last in both directions
  const order = typeof x === "string" ? natural.compare(x, y) : x - y;
  return (state.down ? -order : order) || a - b;
}

function passes(i, f) {
  if (f.dataset && f.dataset !== `${COLUMNS.camera[i]}\n${COLUMNS.band[i]}`) return false;
  if (f.status && f.status !== COLUMNS.status[i]) return false;
  if (f.verdict && !f.verdict.split(" ").includes(verdictOf(i) || "none")) return false;
  if (f.cause && !(f.cause === NO_CAUSE ? !NIGHT.causes[i].length : NIGHT.causes[i].includes(f.cause))) return false;
  if (f.picture && !PICTURED.has(i)) return false;
  if (f.label) {
    const labels = ["source", "background"].map((kind) => labelOf(i, kind)).filter(Boolean);
    if (f.label === "none" ? labels.length : f.label === "any" ? !labels.length : !labels.some((label) => label.label === f.label)) return false;
  }
  if (f.least !== null) {
    const down = DOWNWARDS[state.measure];
    const reach = (v) => v !== null && (down ? v >= f.least : v <= f.least);
    if (!SCORES.some((kind) => reach(score(i, kind, state.measure)))) return false;
  }
  return !f.text || [COLUMNS.exposure, COLUMNS.file, COLUMNS.note, COLUMNS.camera, COLUMNS.date_obs, COLUMNS.cause || []]
    .some((column) => String(column[i] ?? "").toLowerCase().includes(f.text));
}

function filterAndSort() {
  const least = $("least").value.trim();
  const f = {
    text: $("search").value.trim().toLowerCase(), dataset: $("f-dataset").value, status: $("f-status").value,
    verdict: $("f-verdict").value, cause: $("f-cause").value,
    label: $("f-label").value, picture: $("f-picture").value, least: least === "" ? null : Number(least),
  };
  state.rows = Array.from({ length: N }, (_, i) => i).filter((i) => passes(i, f)).sort(compare);
  bars = spans();
  $("shown").textContent = `${state.rows.length} of ${N} exposures`;
  if (!state.rows.includes(state.now)) {
    state.now = state.rows.length ? state.rows[0] : -1;
    openAt(state.now);
  }
  drawHead();
  $("list-rows").style.height = `${state.rows.length * ROW}px`;
  showCurrent(true);
}

function drawHead() {
  document.querySelector("main").classList.toggle("scores", state.scores || !JUDGED); // the width of the list follows
  const columns = columnsOfList();
  $("list").style.setProperty("--columns", columns.map((column) => column[4]).join(" "));
  $("list").style.setProperty("--least", `${leastWidth(columns)}px`);
  $("list-scroll").setAttribute("aria-colcount", columns.length);
  keepFocus($("list-head"), () => $("list-head").replaceChildren(...columns.map(([name, text, title, isText]) => {
    const sorted = state.sort === name, arrow = sorted ? (state.down ? " \u25be" : " \u25b4") : "";
    const explained = title === null ? `${NAMES[name]}: ${MEASURES[state.measure]}. ${meaning(columnOf(name, state.measure))}${barWords(name)}` : title;
    return h("div", { role: "columnheader", "aria-sort": sorted ? (state.down ? "descending" : "ascending") : null }, h("button", {
      type: "button", class: isText ? "text" : null, title: `${explained} - click to sort`, "data-sort": name, on: { click: () => sortBy(name) },
    }, text.replaceAll("- ", "\u00ad"), h("span", { "aria-hidden": "true" }, arrow)));
  })));
}

const barWords = (kind) => (DOWNWARDS[state.measure] ? `; the bars of all scores have one scale: a full bar is ${number(bars[kind], state.measure)}, half a bar a quarter of it` : "");

function sortBy(name) {
  const first = SCORES.includes(name) ? DOWNWARDS[state.measure] : !SORTED_UP.includes(name);
  state.down = state.sort === name ? !state.down : first;
  state.sort = name;
  if (SCORES.includes(name)) state.kind = about(name);
  filterAndSort();
  $("list-scroll").scrollTop = 0;
  drawRows();
}

function marks(i) {
  const labels = ["source", "background"].map((kind) => labelOf(i, kind));
  return labels.some(Boolean) ? labels.map((label) => (label ? MARKS[label.label] : "\u2013")).join("") : "";
}
const markWords = (i) => ["source", "background"].map((kind) => `${kind}: ${labelOf(i, kind)?.label || "no label"}`).join(", ");

/** The value of a full bar: one for all scores, so that bars can be compared; an autoencoder's error has a unit of its own. */
function spans() {
  const most = (kind) => COLUMNS.exposure.reduce((top, _, i) => Math.max(top, score(i, kind, state.measure) ?? 0), 1e-9);
  const apart = (kind) => kind === "autoencoder" && state.measure !== "deviation";
  const shared = Math.max(...SCORES.filter((kind) => !apart(kind)).map(most));
  return Object.fromEntries(SCORES.map((kind) => [kind, apart(kind) ? most(kind) : shared]));
}
let bars = null;

const bar = (share, text) => h("span", { class: "bar", css: { "background-size": `${100 * Math.min(1, share)}% 100%` } }, text);

function cellOf(name, i) {
  if (name === "verdict") return h("span", { class: "text" }, badge(verdictOf(i)));
  if (name === "exposure") return h("span", { class: "text id", title: COLUMNS.exposure[i] }, COLUMNS.exposure[i] || "(no id)");
  if (name === "band") return h("span", { class: "text", title: COLUMNS.camera[i] }, COLUMNS.band[i]);
  if (name === "date_obs") return h("span", { class: "text", title: COLUMNS.date_obs[i] }, timeOf(i));
  if (name === "wrong") return h("span", { class: `text${verdictOf(i) === "bad" || verdictOf(i) === "check" ? "" : " dim"}`, title: [wrong(i), COLUMNS.note[i]].filter(Boolean).join(" \u2013 ") || null }, wrong(i));
  if (name === "evidence") {
    const value = COLUMNS.evidence[i];
    return value === null ? h("span", null, "-") : bar(Math.sqrt(Math.max(0, value) / FULL_EVIDENCE), number(value, "z"));
  }
  if (name === "largest") {
    const [value, kind] = LARGEST[i];
    return h("span", { title: kind ? `the largest deviation: ${NAMES[kind]}` : null }, number(value, "deviation"));
  }
  if (name === "n_sources") return h("span", null, number(COLUMNS.n_sources[i]));
  if (name === "mark") return h("span", { class: "mark", title: markWords(i) }, marks(i));
  const value = score(i, name, state.measure);
  return bar(DOWNWARDS[state.measure] && value !== null ? Math.sqrt(Math.max(0, value / bars[name])) : 0, number(value, state.measure));
}

function rowOf(place, columns) {
  const i = state.rows[place];
  return h("div", {
    class: "row", id: `row-${i}`, role: "row", "aria-rowindex": place + 2, "data-i": i, "aria-selected": i === state.now ? "true" : "false",
    css: { top: `${place * ROW}px` }, on: { click: () => select(i) },
  }, columns.map(([name]) => {
    const cell = cellOf(name, i);
    cell.setAttribute("role", "gridcell");
    return cell;
  }));
}

function drawRows() {
  const box = $("list-scroll"), from = Math.max(0, Math.floor(box.scrollTop / ROW) - 5);
  const to = Math.min(state.rows.length, from + Math.ceil(box.clientHeight / ROW) + 10);
  const rows = [], columns = columnsOfList();
  for (let place = from; place < to; place++) rows.push(rowOf(place, columns));
  if (!state.rows.length) rows.push(h("p", { class: "empty" }, N ? "no exposure passes the filters" : "this night holds no exposures"));
  $("list-rows").replaceChildren(...rows);
  box.setAttribute("aria-rowcount", state.rows.length + 1);
  // The row that a screen reader reads out when the keys choose another exposure, as long as the row is drawn.
  if (document.getElementById(`row-${state.now}`)) box.setAttribute("aria-activedescendant", `row-${state.now}`);
  else box.removeAttribute("aria-activedescendant");
}

function reveal(place) {
  const box = $("list-scroll"), top = place * ROW, room = box.clientHeight - $("list-head").offsetHeight; // the head stays above the rows
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW > box.scrollTop + room) box.scrollTop = top + ROW - room;
}

function select(i) {
  if (i !== state.now) openAt(i);
  state.now = i;
  showCurrent(false);
  tellNow();
}

/** Tell a screen reader which exposure is shown, unless it reads the row out by itself. */
function tellNow() {
  const i = state.now, focused = document.activeElement && ["list-scroll", "sheet"].includes(document.activeElement.id);
  if (i < 0 || focused) return void ($("now").textContent = "");
  const judged = JUDGED ? `${looksOf(verdictOf(i)).word}${wrong(i) ? `, ${wrong(i)}` : ""}` : "";
  $("now").textContent = `exposure ${COLUMNS.exposure[i] || "(no id)"}${judged ? `: ${judged}` : ""}; ${state.rows.indexOf(i) + 1} of ${state.rows.length}`;
}

function step(by) {
  if (!state.rows.length) return;
  const place = state.rows.indexOf(state.now);
  select(state.rows[Math.max(0, Math.min(state.rows.length - 1, place + by))]);
}

function nextUnlabelled() {
  const place = state.rows.indexOf(state.now);
  const order = [...state.rows.slice(place + 1), ...state.rows.slice(0, place + 1)];
  const found = order.find((i) => !labelOf(i, state.kind));
  if (found === undefined) say(`all ${state.rows.length} have a label for ${state.kind}`);
  else select(found);
}

// The contact sheet: pictures of the listed exposures, which are read from the page's data when they come into view.
let watcher = null;
function drawSheet() {
  if (watcher) watcher.disconnect();
  watcher = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      const detail = read(`d${target.dataset.i}`), box = target.querySelector(".pic");
      if (detail && detail.mosaic) box.replaceChildren(h("img", { src: detail.mosaic, alt: "" }));
    }
  }, { root: $("sheet"), rootMargin: "300px" });
  const rows = state.rows.filter((i) => DETAILED.has(i));
  const left = state.rows.length - rows.length;
  $("sheet").replaceChildren(...rows.map((i) => {
    const value = SCORES.includes(state.sort) ? score(i, state.sort, state.measure) : LARGEST[i][0];
    const cell = h("div", {
      class: "cell", id: `cell-${i}`, "data-i": i, role: "option", "aria-selected": i === state.now ? "true" : "false",
      on: { click: () => select(i), dblclick: () => setView("list") },
    },
      h("div", { class: "pic" }, "no picture"),
      h("div", { class: "cap" }, h("span", { title: COLUMNS.exposure[i] }, `${COLUMNS.exposure[i]} ${COLUMNS.band[i]}`),
        h("span", { class: "mark" }, marks(i)), JUDGED ? badge(verdictOf(i)) : h("span", null, number(value, state.measure))),
      JUDGED ? h("div", { class: "cap dim", title: wrong(i) }, h("span", null, wrong(i))) : null);
    watcher.observe(cell);
    return cell;
  }), left ? h("p", { class: "dim", role: "option", "aria-disabled": "true", "aria-selected": "false" }, `${left} more without pictures: gpuanom report --top ${N}`) : "");
}
