// The list: filtered and sorted. Only visible rows are in the page, so that the list of a survey is as fast as that of
// a night.

const ROW = 25;
const HEAD = [
  ["mark", "", "your labels: sources, then background (prominent \u25a0, dubious \u25e7, normal \u25a1)"],
  ["exposure", "exposure", meaning("exposure"), true],
  ["band", "band", meaning("band"), true],
  ["largest", "max", "the largest deviation among the scores of the exposure: the order of the table"],
  ...SCORES.map((kind) => [kind, SHORT[kind], null]),
  ["n_sources", "n", meaning("n_sources")],
  ["status", "status", meaning("status"), true],
];

const sum = (label) => (label ? 1 + NIGHT.grades.indexOf(label.label) : 0);
function sortValue(i, by) {
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
  return !f.text || [COLUMNS.exposure, COLUMNS.file, COLUMNS.note, COLUMNS.camera, COLUMNS.date_obs]
    .some((column) => String(column[i]).toLowerCase().includes(f.text));
}

function filterAndSort() {
  const least = $("least").value.trim();
  const f = {
    text: $("search").value.trim().toLowerCase(), dataset: $("f-dataset").value, status: $("f-status").value,
    label: $("f-label").value, picture: $("f-picture").value, least: least === "" ? null : Number(least),
  };
  state.rows = Array.from({ length: N }, (_, i) => i).filter((i) => passes(i, f)).sort(compare);
  bars = spans();
  $("shown").textContent = `${state.rows.length} of ${N} exposures`;
  if (!state.rows.includes(state.now)) state.now = state.rows.length ? state.rows[0] : -1;
  drawHead();
  $("list-rows").style.height = `${state.rows.length * ROW}px`;
  showCurrent(true);
}

function drawHead() {
  $("list-head").replaceChildren(...HEAD.map(([name, text, title, isText]) => {
    const sorted = state.sort === name;
    const arrow = sorted ? (state.down ? " \u25be" : " \u25b4") : "";
    const about = title === null ? `${NAMES[name]}: ${MEASURES[state.measure]}. ${meaning(columnOf(name, state.measure))}` : title;
    return h("button", {
      type: "button", class: isText ? "text" : null, title: `${about} - click to sort`, "data-sort": name,
      "aria-sort": sorted ? (state.down ? "descending" : "ascending") : null, on: { click: () => sortBy(name) },
    }, (text || "\u25a0") + arrow);
  }));
}

function sortBy(name) {
  const first = SCORES.includes(name) ? DOWNWARDS[state.measure] : !["exposure", "band", "status"].includes(name);
  state.down = state.sort === name ? !state.down : first;
  state.sort = name;
  if (SCORES.includes(name)) state.kind = about(name);
  filterAndSort();
  $("list-scroll").scrollTop = 0;
  drawRows();
}

function marks(i) {
  return ["source", "background"].map((kind) => (labelOf(i, kind) ? MARKS[labelOf(i, kind).label] : "\u00b7")).join("");
}

/** The largest value of each score in the list, which has a full bar behind it. */
function spans() {
  const result = {};
  for (const kind of SCORES) result[kind] = state.rows.reduce((most, i) => Math.max(most, score(i, kind, state.measure) ?? 0), 1e-9);
  return result;
}
let bars = null;

function rowOf(place) {
  const i = state.rows[place];
  const cells = SCORES.map((kind) => {
    const value = score(i, kind, state.measure);
    const share = DOWNWARDS[state.measure] && value !== null ? Math.sqrt(Math.max(0, value / bars[kind])) : 0;
    return h("span", { class: "bar", css: { "background-size": `${100 * share}% 100%` } }, number(value, state.measure));
  });
  const [value, kind] = LARGEST[i];
  return h("div", {
    class: "row", role: "row", "data-i": i, "aria-selected": i === state.now ? "true" : "false",
    css: { top: `${place * ROW}px` }, on: { click: () => select(i) },
  },
    h("span", { class: "mark" }, marks(i)),
    h("span", { class: "text", title: COLUMNS.exposure[i] }, COLUMNS.exposure[i] || "(no id)"),
    h("span", { class: "text", title: COLUMNS.camera[i] }, COLUMNS.band[i]),
    h("span", { title: kind ? `the largest deviation: ${NAMES[kind]}` : null }, number(value, "deviation")),
    cells,
    h("span", null, number(COLUMNS.n_sources[i])),
    h("span", { class: "text", title: COLUMNS.note[i] || null }, COLUMNS.status[i]));
}

function drawRows() {
  const box = $("list-scroll"), from = Math.max(0, Math.floor(box.scrollTop / ROW) - 5);
  const to = Math.min(state.rows.length, from + Math.ceil(box.clientHeight / ROW) + 10);
  const rows = [];
  for (let place = from; place < to; place++) rows.push(rowOf(place));
  if (!state.rows.length) rows.push(h("p", { class: "empty" }, N ? "no exposure passes the filters" : "this night holds no exposures"));
  $("list-rows").replaceChildren(...rows);
}

function reveal(place) {
  const box = $("list-scroll"), top = place * ROW;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
}

function select(i) {
  state.now = i;
  showCurrent(false);
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
      class: "cell", "data-i": i, role: "button", "aria-selected": i === state.now ? "true" : "false",
      on: { click: () => select(i), dblclick: () => setView("list") },
    },
      h("div", { class: "pic" }, "no picture"),
      h("div", { class: "cap" }, h("span", { title: COLUMNS.exposure[i] }, `${COLUMNS.exposure[i]} ${COLUMNS.band[i]}`),
        h("span", { class: "mark" }, marks(i)), h("span", null, number(value, state.measure))));
    watcher.observe(cell);
    return cell;
  }), left ? h("p", { class: "dim" }, `${left} more without pictures: gpuanom report --top ${N}`) : "");
}
