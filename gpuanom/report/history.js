// The history of many nights: trends, the record of each CCD, and odd exposures with their neighbours in time.

const HISTORY = read("history");
const { nights: NIGHTS, exposures: ALL } = HISTORY;
const SHAPES = { bad: "\u2716", check: "\u25b2", ok: "\u25cf", "": "\u25cb" };
const parsed = (text) => {
  const time = text ? Date.parse(`${text.replace(/Z$/, "")}Z`) : NaN;
  return Number.isFinite(time) ? time : null;
};
const TIMED = NIGHTS.length > 0 && NIGHTS.every((night) => parsed(night.time) !== null);
const at = (night) => (TIMED ? parsed(NIGHTS[night].time) : night + 1);
const short = (value) => (value === null || value === undefined ? "-" : String(+value.toPrecision(3)));
const TREND_WORDS = { fwhm: "FWHM, pixels", fwhm_arcsec: "FWHM, arcsec", ellipticity: "ellipticity of the stars", sky: "sky, image unit", n_sources: "number of sources" };
let camera = "", chosen = -1;

const verdictText = (verdict) => h("span", { class: `verdict ${verdict || "none"}` }, `${Object.hasOwn(SHAPES, verdict) ? SHAPES[verdict] : SHAPES[""]} ${verdict || "none"}`);

/** Lines through a number of each night, one for each band. */
function trend(title, value, said, least = []) {
  const bands = [...new Set(HISTORY.trends.filter((t) => t.camera === camera).map((t) => t.band))].sort();
  const series = bands.map((band) => HISTORY.trends.filter((t) => t.camera === camera && t.band === band).map((t) => [at(t.night), value(t), t]).filter((p) => p[1] !== null));
  const points = series.flat();
  if (!points.length) return null;
  const { chart, x, y } = frame(points.map((p) => p[0]), [...least, ...points.map((p) => p[1])], { xText: TIMED ? "night" : "night, in order", yText: "", label: title, date: TIMED });
  const legend = series.map((line, k) => {
    const hue = HUES[k % HUES.length], dash = DASHES[k % DASHES.length];
    chart.append(svg("path", { d: line.map(([a, b], j) => `${j ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(""), fill: "none", stroke: hue, "stroke-width": 1.5, "stroke-dasharray": dash }),
      ...line.map(([a, b, t]) => svg("circle", { class: "night", cx: x(a).toFixed(1), cy: y(b).toFixed(1), r: 3.5, fill: hue }, svg("title", null, `${NIGHTS[t.night].name}, ${t.band}: ${said(t)}`))));
    return h("span", null, svg("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: hue, "stroke-width": 3, "stroke-dasharray": dash })), ` ${bands[k]}`);
  });
  return h("div", { class: "card" }, h("h3", null, title), chart, h("div", { class: "legend dim" }, legend));
}

function ccdRecord() {
  const records = Object.hasOwn(HISTORY.ccds, camera) ? HISTORY.ccds[camera] : [];
  const odd = records.filter((record) => record.bad > 0), last = NIGHTS.length - 1;
  const rows = odd.map((record) => h("tr", null, h("td", null, record.ccd), h("td", null, `${record.bad} of ${record.n}`), h("td", null, `${((100 * record.bad) / record.n).toFixed(1)}%`),
    h("td", { class: "cause" }, record.since === null ? (record.shares.some((share) => share >= HISTORY.often) ? "was often bad, is not in its last night" : "never often") : `often bad since ${NIGHTS[record.since].name}`),
    h("td", null, svg("svg", { class: "nights-bar", viewBox: `0 0 ${Math.max(1, NIGHTS.length)} 1`, preserveAspectRatio: "none", role: "img", "aria-label": "share of bad exposures in each night" },
      record.shares.map((share, i) => svg("rect", { x: i, y: 0, width: last > 200 ? 1 : 0.9, height: 1, fill: share === null ? "none" : share === 0 ? "#8884" : colour(share) },
        svg("title", null, `${NIGHTS[i].name}: ${share === null ? "not used" : `${(100 * share).toFixed(0)}%`}`)))))));
  return h("div", { class: "card" }, h("h3", null, "CCDs that are often bad ", h("span", { class: "dim" }, "bad while their exposure is not, or not measured; one cell a night, from grey (never) over dark blue to yellow (always)")),
    odd.length ? h("div", { class: "scrolled" }, h("table", { class: "record" }, h("tr", null, ["CCD", "bad", "share", "since", "nights, in order"].map((text) => h("th", null, text))), rows))
      : h("p", { class: "dim" }, `none of ${many(records.length, "CCD")}`));
}

const MOST = 300; // odd exposures in the list

function oddExposures() {
  const mine = ALL.exposure.map((_, i) => i).filter((i) => ALL.camera[i] === camera);
  const odd = mine.filter((i) => ALL.verdict[i] === "bad" || ALL.verdict[i] === "check"), first = odd.slice(-MOST).reverse();
  const list = h("select", { id: "odd", size: 12, "aria-label": "exposures that are not ok, the latest first", on: { change: (e) => { chosen = Number(e.target.value); draw(); } } },
    first.map((i) => h("option", { value: i, selected: i === chosen }, `${SHAPES[ALL.verdict[i]]} ${ALL.verdict[i]}  ${ALL.date_obs[i] || ""}  ${ALL.exposure[i]} ${ALL.band[i]}  ${ALL.cause[i]}`)));
  return h("div", { class: "card" }, h("h3", null, "exposures that are not ok ", h("span", { class: "dim" }, `${odd.length} of ${mine.length}${odd.length > MOST ? `, the latest ${MOST}` : ""}; one that is chosen is shown with its neighbours in time`)),
    odd.length ? list : h("p", { class: "dim" }, "none"), chosen >= 0 && odd.includes(chosen) ? neighbours(mine) : null);
}

function neighbours(mine) {
  const place = mine.indexOf(chosen), around = mine.slice(Math.max(0, place - 5), place + 6);
  const columns = ["fwhm", "ellipticity", "sky", "n_sources"];
  return h("table", { id: "neighbours" }, h("tr", null, ["exposure", "time", "band", "verdict", "FWHM", "ellipticity", "sky", "sources", "what is wrong"].map((text) => h("th", null, text))),
    around.map((i) => h("tr", { class: i === chosen ? "now" : null }, h("td", null, ALL.exposure[i]), h("td", null, ALL.date_obs[i] || ""), h("td", null, ALL.band[i]), h("td", null, verdictText(ALL.verdict[i])),
      columns.map((name) => h("td", null, short(ALL[name][i]))), h("td", { class: "cause" }, ALL.cause[i]))));
}

function draw() {
  const share = (k) => (t) => (t.n ? (100 * t.verdicts[k]) / t.n : null), counted = (t) => `${t.verdicts[0]} bad, ${t.verdicts[1]} to check, ${t.verdicts[2]} ok, ${t.verdicts[3]} without a verdict`;
  const arcsec = HISTORY.trends.some((t) => t.camera === camera && t.fwhm_arcsec !== null), names = [arcsec ? "fwhm_arcsec" : "fwhm", "ellipticity", "sky", "n_sources"];
  $("history-main").replaceChildren(
    h("div", { class: "charts" }, [trend("bad, % of the exposures", share(0), counted, [0, 10]), trend("to check, % of the exposures", share(1), counted, [0, 10]),
      ...names.map((name) => trend(`median ${TREND_WORDS[name]}`, (t) => t[name], (t) => `${short(t[name])}, ${many(t.n, "exposure")}`))].filter(Boolean)),
    ccdRecord(), oddExposures());
}

function begin() {
  const cameras = [...new Set(ALL.camera)].filter(Boolean).sort();
  camera = cameras[0] || "";
  $("camera").replaceChildren(...cameras.map((name) => h("option", { value: name }, name)));
  $("camera").addEventListener("change", () => { camera = $("camera").value; chosen = -1; draw(); });
  const notOpened = HISTORY.not_opened ? `, ${many(HISTORY.not_opened, "night")} left out that could not be opened` : "";
  $("about").textContent = `${many(ALL.exposure.length, "exposure")}${notOpened}; gpuanom ${HISTORY.version}, made ${HISTORY.made}`;
  draw();
  document.documentElement.dataset.ready = "yes";
}
begin();
