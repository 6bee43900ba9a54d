// The night so far: its last exposure large, and its course against time. The page of a night that is watched reloads
// itself, and keeps what was chosen.

const COURSE = { fwhm: "FWHM of the stars, pixels", ellipticity: "ellipticity of the stars", sky: "sky, median over the CCDs, image unit", n_sources: "number of sources" };
function courseValue(i, name) {
  if (name !== "ellipticity") return numberOf(i, name);
  const e1 = numberOf(i, "e1"), e2 = numberOf(i, "e2");
  return e1 === null || e2 === null ? null : Math.hypot(e1, e2);
}

/** The sign of an exposure in a chart: a cross when it is bad, a triangle when it is to be checked, else a circle. */
function sign(i, x, y, hue, said) {
  const verdict = verdictOf(i), at = { class: `course ${verdict || "none"}${i === state.now ? " now" : ""}`, "data-i": i, on: { click: () => { state.now = i; openAt(i); setView("list"); } } };
  const title = svg("title", null, said), r = 4.5;
  if (verdict === "bad") return svg("path", { ...at, d: `M${x - r},${y - r}L${x + r},${y + r}M${x - r},${y + r}L${x + r},${y - r}` }, title);
  if (verdict === "check") return svg("path", { ...at, d: `M${x},${y - r}L${x + r},${y + r}L${x - r},${y + r}Z` }, title);
  return svg("circle", { ...at, cx: x, cy: y, r: 3, fill: verdict ? hue : "none", stroke: hue }, title);
}

const hueOf = (d) => HUES[d % HUES.length];

/** One number against time, with the range and the middle of the reference where there is one. */
function courseChart(title, value, name) {
  const points = state.rows.map((i) => [i, when(i), value(i)]).filter(([, x, y]) => x !== null && Number.isFinite(x) && y !== null);
  if (!points.length) return null;
  const usual = NIGHT.datasets.map((_, d) => (name && points.some(([i]) => NIGHT.dataset[i] === d) ? NIGHT.limits[d][name] || null : null));
  const values = [...points.map((p) => p[2]), ...usual.filter(Boolean).flat()];
  const { chart, x, y } = frame(points.map((p) => p[1]), values, { xText: "start of exposure (UT)", yText: "", date: true, label: title });
  usual.forEach((limits, d) => {
    if (!limits) return;
    const [low, middle, high] = limits, said = svg("title", null, `the reference of ${NIGHT.datasets[d].join(" ")}: 95% of its exposures from ${plain(low)} to ${plain(high)}, the middle at ${plain(middle)}`);
    chart.append(svg("rect", { class: "usual", x: 48, width: 464, y: y(high).toFixed(1), height: Math.max(1, y(low) - y(high)).toFixed(1), fill: hueOf(d), "data-dataset": d }, said),
      svg("line", { class: "usual-middle", x1: 48, x2: 512, y1: y(middle).toFixed(1), y2: y(middle).toFixed(1), stroke: hueOf(d) }));
  });
  for (const [i, vx, vy] of points) {
    const cause = wrong(i);
    chart.append(sign(i, +x(vx).toFixed(1), +y(vy).toFixed(1), hueOf(NIGHT.dataset[i] ?? 0), `${COLUMNS.exposure[i]} ${COLUMNS.band[i]}: ${plain(vy)}${verdictOf(i) ? `, ${verdictOf(i)}` : ""}${cause ? `, ${cause}` : ""}`));
  }
  return h("div", { class: "card" }, h("h3", null, title), chart);
}

/** The last exposure: its picture, large, with its verdict in words. */
function lastExposure() {
  const i = NIGHT.latest;
  if (i === null) return h("p", { class: "empty" }, "no exposure has been measured yet");
  const detail = DETAILED.has(i) ? read(`d${i}`) : null, open = () => { state.now = i; openAt(i); setView("list"); };
  const facts = [COLUMNS.camera[i], COLUMNS.band[i], COLUMNS.date_obs[i], many(COLUMNS.n_sources[i] ?? 0, "source"),
    ...Object.keys(COURSE).slice(0, 2).map((name) => (courseValue(i, name) === null ? "" : name === "fwhm" ? `FWHM ${plain(courseValue(i, name))} px` : `${name} ${plain(courseValue(i, name))}`))].filter(Boolean);
  const picture = detail && detail.mosaic ? h("img", { id: "last-picture", src: detail.mosaic, alt: `focal plane of exposure ${COLUMNS.exposure[i]}` })
    : h("p", { class: "empty" }, "no picture of this exposure could be made");
  return h("div", { class: "card last" }, h("div", { class: "head" }, h("h2", null, "last exposure: ", h("button", { type: "button", id: "last-open", title: "show everything about this exposure", on: { click: open } }, COLUMNS.exposure[i] || "(no id)")),
    facts.map((fact) => h("span", { class: "dim" }, fact))), verdictBox(i, detail) || h("p", { class: "note" }, wrong(i)), picture);
}

function drawNight() {
  const charts = [JUDGED ? courseChart("verdicts: their evidence", (i) => (verdictOf(i) ? COLUMNS.evidence[i] : null), "") : null,
    ...Object.entries(COURSE).map(([name, title]) => courseChart(title, (i) => courseValue(i, name), name))].filter(Boolean);
  const legend = NIGHT.datasets.map(([camera, band], d) => h("span", null, svg("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: hueOf(d), "stroke-width": 4 })), ` ${camera} ${band}`));
  const hasLimits = NIGHT.limits.some((limits) => Object.keys(limits).length);
  $("course").replaceChildren(lastExposure(), h("div", null,
    h("p", { class: "dim" }, `${many(state.rows.length, "exposure")} that pass the filters; \u2716 bad, \u25b2 to check, \u25cf ok, \u25cb without a verdict. ${hasLimits ? "Bands: where 95% of the exposures of the reference lie; a verdict also allows for the sky, the seeing and the number of sources. " : ""}A click on a point shows the exposure.`),
    h("div", { class: "legend dim" }, legend), h("div", { class: "charts" }, charts.length ? charts : h("p", { class: "dim" }, "no exposure has a time"))));
}

// Reloading: what was chosen is kept for this tab; labels are kept by the browser anyway.

const PAGE_SHELF = `gpuanom-page-${NIGHT.identity}`;
const KEPT_FIELDS = ["search", "f-verdict", "f-cause", "f-dataset", "f-status", "f-label", "f-picture", "measure", "least"];
const KEPT_STATE = ["view", "kind", "measure", "sort", "down", "outlines", "outline", "whiskers", "usual", "found", "others", "advance", "scores", "marking", "held", "explained"];
state.held = false; // whether the page waits with reloading

function keepPage() {
  const chosen = state.now >= 0 ? [COLUMNS.camera[state.now], COLUMNS.exposure[state.now]] : null;
  const kept = { chosen, ccd: state.ccd && state.ccd[0] === state.now ? state.ccd[1] : null, fields: Object.fromEntries(KEPT_FIELDS.map((id) => [id, $(id).value])),
    state: Object.fromEntries(KEPT_STATE.map((name) => [name, state[name]])), scroll: ["list-scroll", "detail", "course", "sheet", "dataset"].map((id) => [id, $(id).scrollTop]) };
  try {
    sessionStorage.setItem(PAGE_SHELF, JSON.stringify(kept));
  } catch {
    /* nothing is kept; the page opens as at first */
  }
}

/** Bring back what was chosen before the page reloaded itself; return whether there was anything. */
function recallPage() {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(PAGE_SHELF));
    sessionStorage.removeItem(PAGE_SHELF);
  } catch {
    return false;
  }
  if (!kept || !kept.fields || !kept.state) return false;
  for (const name of KEPT_STATE) if (typeof kept.state[name] === typeof state[name]) state[name] = kept.state[name];
  for (const id of KEPT_FIELDS) {
    if ($(id).tagName !== "SELECT" || [...$(id).options].some((option) => option.value === kept.fields[id])) $(id).value = kept.fields[id];
  }
  const i = kept.chosen ? INDEX.get(keyOf(String(kept.chosen[0]), String(kept.chosen[1]), "")) : undefined;
  if (i !== undefined) [state.now, state.ccd] = [i, kept.ccd === null ? null : [i, kept.ccd]];
  filterAndSort();
  drawScores();
  setView(["list", "sheet", "dataset", "night"].includes(state.view) ? state.view : "list");
  for (const [id, top] of kept.scroll || []) if ($(id)) $(id).scrollTop = top;
  return true;
}

/** Whether somebody is doing something that a new page would interrupt. */
const isBusy = () => state.held || $("help").open || document.getElementById("viewer") !== null || document.querySelector("#plane.large") !== null
  || Boolean(document.activeElement && document.activeElement.closest("input:not([type=checkbox]), select, textarea"));

function startReloading() {
  if (!NIGHT.reload) return;
  const button = h("button", { type: "button", id: "hold", title: "the page reloads itself to show new exposures; it waits while you type, or look at a large picture", on: { click: () => { state.held = !state.held; tell(); } } });
  const tell = () => {
    button.setAttribute("aria-pressed", String(state.held));
    button.textContent = state.held ? `as of ${NIGHT.made.slice(11)}: waits` : `as of ${NIGHT.made.slice(11)}: reloads itself`;
  };
  tell();
  $("night-about").after(button);
  setInterval(reloadIfFree, 1000 * NIGHT.reload);
}

function reloadIfFree() {
  if (isBusy()) return;
  keepPage();
  location.reload();
}
