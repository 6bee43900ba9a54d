// The dataset: distributions of a score, and the score against time, sky and number of sources, a point for each exposure.

const shown = { kind: "source", measure: "deviation" };

// KL and p extend over decades, so they are shown as logarithms.
const scaled = (v) => (v === null ? null : shown.measure === "kl" || shown.measure === "p" ? (v > 0 ? LOG(v) : null) : v);
const scoreText = () => (shown.measure === "kl" || shown.measure === "p" ? `log10 ${shown.measure}` : shown.measure);

function scatter(title, values, options) {
  const points = [];
  for (const i of state.rows) {
    const x = values(i), y = scaled(score(i, shown.kind, shown.measure));
    if (x !== null && Number.isFinite(x) && y !== null) points.push([i, x, y]);
  }
  const { chart, x, y } = frame(points.map((p) => p[1]), points.map((p) => p[2]), { ...options, yText: scoreText() });
  for (const [i, vx, vy] of points) {
    const label = labelOf(i, about(shown.kind)), odd = label && label.label !== "normal";
    chart.append(svg("circle", {
      class: `point${odd ? " odd" : ""}${i === state.now ? " now" : ""}`, cx: x(vx).toFixed(1), cy: y(vy).toFixed(1), r: odd || i === state.now ? 5 : 3, "data-i": i,
      on: { click: () => { state.now = i; setView("list"); } },
    }, svg("title", null, `${COLUMNS.exposure[i]} ${COLUMNS.band[i]}: ${shown.measure} ${number(score(i, shown.kind, shown.measure), shown.measure)}`)));
  }
  return h("div", { class: "card" }, h("h3", null, title), chart, points.length ? null : h("p", { class: "dim" }, "no values"));
}

function distribution() {
  const parts = NIGHT.datasets.map(([camera, band], d) => {
    const rows = state.rows.filter((i) => NIGHT.dataset[i] === d);
    return { name: `${camera} ${band}`, values: rows.map((i) => scaled(score(i, shown.kind, shown.measure))).filter((v) => v !== null).sort((a, b) => a - b) };
  }).filter((part) => part.values.length);
  const all = parts.flatMap((part) => part.values);
  const bins = Math.max(8, Math.min(50, Math.ceil(2 * Math.sqrt(all.length))));
  let low = Infinity, high = -Infinity;
  for (const v of all) { low = Math.min(low, v); high = Math.max(high, v); }
  const width = (high - low) / bins || 1;
  const counted = parts.map((part) => {
    const counts = new Array(bins).fill(0);
    for (const v of part.values) counts[Math.min(bins - 1, Math.floor((v - low) / width))] += 1;
    return counts;
  });
  const { chart, x, y } = frame(all.length ? [low, low + bins * width] : [], [0, ...counted.flat()], { xText: scoreText(), yText: "exposures" });
  const legend = parts.map((part, d) => {
    const hue = HUES[d % HUES.length], dash = DASHES[d % DASHES.length];
    chart.append(svg("path", { d: steps(counted[d], (b) => x(low + b * width).toFixed(1), (v) => y(v).toFixed(1)), fill: "none", stroke: hue, "stroke-width": 2, "stroke-dasharray": dash }));
    const down = DOWNWARDS[shown.measure], tenth = Math.max(0, Math.ceil(0.1 * part.values.length) - 1);
    const cut = part.values[down ? part.values.length - 1 - tenth : tenth];
    chart.append(svg("line", { x1: x(cut), x2: x(cut), y1: 8, y2: 196, stroke: hue, "stroke-width": 1.5, "stroke-dasharray": "2 3" }, svg("title", null, `${part.name}: the highest 10% begin here`)));
    return h("span", null, svg("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: hue, "stroke-width": 3, "stroke-dasharray": dash })), ` ${part.name} (${part.values.length}, 10% from ${+cut.toPrecision(3)})`);
  });
  return h("div", { class: "card" }, h("h3", null, "distribution, and where the highest 10% of each dataset begin"), chart, h("div", { class: "legend dim" }, legend));
}

const when = (i) => (COLUMNS.date_obs[i] ? Date.parse(`${COLUMNS.date_obs[i].replace(/Z$/, "")}Z`) : null);

function drawDataset() {
  const chooser = (name, values, texts) => h("select", { id: `d-${name}`, "aria-label": name === "kind" ? "score" : "number of the score", on: { change: (e) => { shown[name] = e.target.value; drawDataset(); } } },
    values.map((v, k) => h("option", { value: v, selected: shown[name] === v }, texts[k])));
  const log = (column) => (i) => (column[i] > 0 ? LOG(column[i]) : null);
  keepFocus($("dataset"), () => $("dataset").replaceChildren(h("h2", { class: "unseen" }, "the dataset"),
    h("div", { class: "tools" }, chooser("kind", SCORES, SCORES.map((k) => NAMES[k])), chooser("measure", Object.keys(MEASURES), Object.values(MEASURES)),
      h("span", { class: "dim" }, `the ${state.rows.length} exposures that pass the filters; a click on a point shows the exposure; larger points are labelled prominent or dubious`)),
    h("div", { class: "charts" }, distribution(),
      scatter("against time", when, { xText: "start of exposure (UT)", date: true }),
      scatter("against the sky (median over the CCDs)", log(COLUMNS.sky), { xText: "sky, image unit, logarithmic", xLog: true }),
      scatter("against the number of sources", log(COLUMNS.n_sources), { xText: "sources, logarithmic", xLog: true }))));
}
