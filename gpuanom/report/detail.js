// One exposure: focal plane, orientations beside the reference, brightest sources, numbers, files.

const steps = (values, x, y) => values.map((v, b) => `${b ? "L" : "M"}${x(b)},${y(v)}L${x(b + 1)},${y(v)}`).join("");

/** The orientation histogram of a kind: shares, the reference, two sigma of counting noise, the preferred direction. */
function histogram(i, k) {
  const kind = NIGHT.kinds[k], counts = (NIGHT.counts[i] || [])[k];
  const total = counts ? counts.reduce((a, b) => a + b, 0) : 0;
  const title = h("h3", { title: meaning(`${kind}_kl`) }, `${NAMES[kind]} `, h("span", { class: "dim" }, `n = ${total}`));
  if (!total) return h("div", null, title, h("p", { class: "dim" }, "no orientations"));
  const bins = counts.length, dataset = NIGHT.dataset[i];
  const mean = dataset === null ? null : NIGHT.means[dataset][k];
  const shares = counts.map((c) => c / total);
  const noise = mean ? mean.map((p) => 2 * Math.sqrt((p * (1 - p)) / total)) : null;
  const high = 1.08 * Math.max(...shares, ...(mean ? mean.map((p, b) => p + noise[b]) : []));
  const W = 230, H = 112, left = 28, bottom = 16, top = 4;
  const x = (b) => (left + (b / bins) * (W - left - 4)).toFixed(1);
  const y = (v) => (H - bottom - (v / high) * (H - bottom - top)).toFixed(1);
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${NAMES[kind]}: orientations` });
  if (mean) {
    const up = mean.map((p, b) => p + noise[b]), low = mean.map((p, b) => Math.max(0, p - noise[b]));
    const back = low.map((v, b) => `L${x(b + 1)},${y(v)}L${x(b)},${y(v)}`).reverse().join("");
    chart.append(svg("path", { class: "band", d: `${steps(up, x, y)}${back}Z` }), svg("path", { class: "mean", d: steps(mean, x, y) }));
  }
  chart.append(svg("path", { class: "share", d: steps(shares, x, y) }));
  for (const degrees of [-90, -45, 0, 45, 90]) {
    const at = x(((degrees + 90) / 180) * bins), anchor = degrees === 90 ? "end" : "middle";
    chart.append(svg("text", { x: at, y: H - 4, "text-anchor": anchor }, `${degrees}\u00b0`));
  }
  chart.append(svg("line", { class: "axis", x1: left, x2: W - 4, y1: H - bottom, y2: H - bottom }),
    svg("text", { x: left - 4, y: top + 8, "text-anchor": "end" }, `${(100 * high).toFixed(high < 0.1 ? 1 : 0)}%`),
    svg("text", { x: left - 4, y: H - bottom, "text-anchor": "end" }, "0"));
  const angle = score(i, kind, "angle"), alignment = score(i, kind, "alignment");
  if (angle !== null) {
    const at = x(((angle + 90) / 180) * bins), r = 11, cx = W - 17, cy = top + 12;
    const dx = r * Math.cos((angle * Math.PI) / 180), dy = r * Math.sin((angle * Math.PI) / 180);
    chart.append(svg("line", { class: "angle", x1: at, x2: at, y1: top, y2: H - bottom, "stroke-dasharray": "4 3", "stroke-opacity": 0.3 + 0.7 * alignment }),
      svg("circle", { class: "axis", cx, cy, r, fill: "none" }),
      svg("line", { class: "angle", x1: cx - dx, x2: cx + dx, y1: cy + dy, y2: cy - dy, "stroke-opacity": 0.3 + 0.7 * alignment },
        svg("title", null, `preferred direction ${angle.toFixed(0)}\u00b0, alignment ${alignment.toFixed(2)}`)));
  }
  counts.forEach((count, b) => {
    const from = -90 + (180 * b) / bins;
    const said = `${from.toFixed(0)}\u00b0 to ${(from + 180 / bins).toFixed(0)}\u00b0: ${count} of ${total}, ${(100 * shares[b]).toFixed(1)}%`
      + (mean ? `; reference ${(100 * mean[b]).toFixed(1)} \u00b1 ${(50 * noise[b]).toFixed(1)}%` : "");
    chart.append(svg("rect", { class: "hit", x: x(b), y: top, width: (W - left - 4) / bins, height: H - bottom - top }, svg("title", null, said)));
  });
  const z = number(score(i, kind, "z"), "z"), p = number(score(i, kind, "p"), "p");
  return h("div", null, title, chart, h("div", { class: "dim" }, `z ${z}, p ${p}, deviation ${number(score(i, kind, "deviation"), "z")}`));
}

const FULL = 0.6; // the alignment of the longest whisker

/** The focal plane: the picture, the CCDs outlined in the colour of their score, the whisker map. */
function plane(i, detail) {
  const [width, height] = detail.size, names = NIGHT.ccd_columns;
  const column = state.kind === "background" ? "background_z" : "source_alignment";
  const top = NIGHT.highest[column];
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const byName = new Map(detail.ccds.map((row) => [row[0], row]));
  for (const [name, [x, y, w, tall]] of Object.entries(detail.boxes)) {
    const row = byName.get(name), get = (c) => (row ? row[names.indexOf(c)] : null), value = get(column);
    const share = value === null ? 0 : Math.max(0, Math.min(1, value / top));
    const said = [`CCD ${name}`, row && get("status") !== "ok" ? get("status") : "", `${number(get("n_sources"))} sources`,
      `background z ${number(get("background_z"), "z")}`, `source alignment ${number(get("source_alignment"), "alignment")}`];
    drawing.append(svg("rect", {
      x, y: height - y - tall, width: w, height: tall, fill: "transparent", stroke: state.outlines ? (value === null ? "#888" : colour(share)) : "none",
      "stroke-width": 1 + 1.2 * share, "stroke-dasharray": value === null ? "4 3" : null, "vector-effect": "non-scaling-stroke",
    }, svg("title", null, said.filter(Boolean).join("\n"))));
  }
  if (state.whiskers) {
    const boxes = Object.values(detail.boxes), cells = detail.whiskers.length / Math.max(1, boxes.length);
    const size = boxes.length ? Math.sqrt((boxes[0][2] * boxes[0][3]) / Math.max(1, cells)) : 1;
    const lines = detail.whiskers.map(([x, y, angle, alignment, n]) => {
      const half = 0.45 * size * Math.min(1, alignment / FULL), turn = (angle * Math.PI) / 180;
      const dx = half * Math.cos(turn), dy = half * Math.sin(turn), at = { x1: x - dx, x2: x + dx, y1: height - y + dy, y2: height - y - dy };
      const said = `${n} sources, ${angle}\u00b0, alignment ${alignment}`;
      return [svg("line", { ...at, stroke: "#000", "stroke-width": 3.2, "stroke-opacity": 0.6, "vector-effect": "non-scaling-stroke" }),
        svg("line", { ...at, stroke: "#56d0ff", "stroke-width": 1.6, "vector-effect": "non-scaling-stroke" }, svg("title", null, said))];
    });
    drawing.append(...lines.flat());
  }
  const inner = h("div", { class: "inner" }, detail.mosaic ? h("img", { src: detail.mosaic, alt: "focal plane" }) : null, drawing);
  const box = h("div", { class: `plane${width < 500 ? " small" : ""}`, id: "plane", title: "click: large (key z)", on: { click: enlarge } }, inner);
  inner.style.setProperty("aspect-ratio", `${width} / ${height}`);
  const missing = detail.missing.length ? h("p", { class: "note" }, `${detail.mosaic ? "not complete" : "no picture"}: ${detail.missing.join("; ")}`) : null;
  const levelled = detail.levelled ? h("span", { title: "the levels of the CCDs differ by more than their contrast" }, "the median of each CCD is subtracted") : null;
  return [box, missing, tools(column, top, levelled)];
}

function enlarge() {
  $("plane")?.classList.toggle("large");
}

function tools(column, top, levelled) {
  const toggle = (name, text, title) => h("label", { title },
    h("input", { type: "checkbox", id: `t-${name}`, checked: state[name], on: { change: (e) => { state[name] = e.target.checked; drawDetail(); } } }), ` ${text}`);
  const scale = svg("svg", { viewBox: "0 0 90 9" }, ...Array.from({ length: 30 }, (_, k) =>
    svg("rect", { x: 3 * k, y: 0, width: 3.2, height: 9, fill: colour(k / 29) })));
  return h("div", { class: "tools dim" }, toggle("outlines", "CCD scores", "outlines, key i"), toggle("whiskers", "whiskers", `isophotal orientations of cells of each CCD; full length from an alignment of ${FULL} on; key m`),
    h("span", { class: "scale", title: NIGHT.about[column] ? meaning(column) : "of each CCD" }, `${column.replace("_", " ")} 0`, scale, `${top}+`), levelled);
}

function labelBar(i) {
  const label = labelOf(i, state.kind), held = (name, value) => (label && label[name] === value ? "true" : "false");
  const kinds = ["source", "background"].map((kind) => h("button", {
    type: "button", "aria-pressed": state.kind === kind ? "true" : "false", "data-kind": kind, title: "what the label is about (key x)",
    on: { click: () => { state.kind = kind; drawDetail(); } },
  }, kind, labelOf(i, kind) ? ` ${MARKS[labelOf(i, kind).label]}` : ""));
  const grades = ["prominent", "dubious", "normal"].map((grade, k) => h("button", {
    type: "button", "aria-pressed": held("label", grade), "data-grade": grade, on: { click: () => mark(grade) },
  }, h("kbd", null, k + 1), ` ${grade}`));
  const reasons = Object.entries(REASON_KEYS).map(([key, reason]) => h("button", {
    type: "button", "aria-pressed": held("reason", reason), "data-reason": reason, on: { click: () => setReason(reason) },
  }, h("kbd", null, key), ` ${reason}`));
  const others = othersOf(i, state.kind);
  const said = state.others ? others.map((o) => `${o.analyst}: ${o.label}${o.reason ? ", " + o.reason : ""}`).join("; ") || "nobody" : `${others.length} hidden`;
  const show = h("button", { type: "button", "aria-pressed": String(state.others), title: "labels of other analysts; hidden so that they do not influence you (key a)",
    on: { click: () => { state.others = !state.others; drawDetail(); } } }, h("kbd", null, "a"), " others");
  return h("div", { class: "labels" }, kinds, h("span", { class: "gap" }), grades, h("span", { class: "gap" }), reasons,
    others.length ? [h("span", { class: "gap" }), show, h("span", { class: "dim" }, said)] : null);
}

function mark(grade) {
  const held = labelOf(state.now, state.kind);
  setLabel(state.now, state.kind, held && held.label === grade ? null : { label: grade });
  if (state.advance) step(1);
}

function setReason(reason) {
  const held = labelOf(state.now, state.kind);
  setLabel(state.now, state.kind, { reason: held && held.reason === reason ? "" : reason });
}

function numbers(i) {
  const columns = ["kl", "floor", "z", "p", "rank", "deviation", "angle", "alignment"];
  const head = h("tr", null, h("th", null, ""), columns.map((c) => h("th", { title: meaning(`source_${c}`).replace(/^[^:]*: /, "") }, c)));
  const rows = SCORES.map((kind) => h("tr", null, h("th", { title: meaning(columnOf(kind, "kl")).split(":")[0] }, NAMES[kind]),
    columns.map((c) => h("td", { title: meaning(columnOf(kind, c)) }, number(score(i, kind, c), c)))));
  return h("table", { class: "numbers" }, head, rows);
}

function ccdTable(detail) {
  const head = h("tr", null, NIGHT.ccd_columns.map((c) => h("th", null, c.replaceAll("_", " "))));
  const order = [...detail.ccds].sort((a, b) => (b[3] ?? -Infinity) - (a[3] ?? -Infinity));
  const form = ["", "", "", "z", "angle", "alignment", "angle", "kl"];
  const rows = order.map((row) => h("tr", null, row.map((v, c) => h("td", null, typeof v === "string" ? v : number(v, form[c])))));
  return h("details", null, h("summary", null, `${many(detail.ccds.length, "CCD")}, by background z`), h("table", null, head, rows));
}

function drawDetail() {
  const i = state.now;
  if (i < 0) {
    $("detail").replaceChildren(h("p", { class: "empty" }, "no exposure is selected"));
    return;
  }
  const get = (name) => COLUMNS[name][i], status = get("status"), detail = DETAILED.has(i) ? read(`d${i}`) : null;
  const facts = [get("camera"), get("band"), get("date_obs"), get("exptime") === null ? "" : `${get("exptime")} s`,
    `${get("n_ccd_used") ?? 0} of ${many(get("n_ccd") ?? 0, "CCD")}`, many(get("n_sources") ?? 0, "source")].filter(Boolean);
  const files = NIGHT.files[i].map(([text, url]) => h("li", null, url.startsWith("file:///") ? h("a", { href: url }, text) : text));
  const left = detail ? plane(i, detail) : h("p", { class: "empty" }, get("n_ccd") ? "no picture: the exposure is not among the first (gpuanom report --top)" : "no picture: the exposure could not be read");
  const stamps = detail && detail.stamps ? h("div", { class: "card stamps" }, h("h3", null, "brightest unsaturated sources ",
    h("span", { class: "dim" }, `(central value ${detail.stamp_snr.map((v) => number(v, "angle")).join(", ")} sigma)`)),
    h("img", { src: detail.stamps, alt: "stamps of the brightest sources", css: { "max-width": `${88 * detail.stamp_snr.length}px` } })) : null;
  const scroll = $("detail").scrollTop;
  $("detail").replaceChildren(
    h("div", { class: "head" }, h("h2", null, get("exposure") || "(no id)"), h("span", { class: `status${status === "ok" ? "" : " bad"}` }, status), facts.map((f) => h("span", { class: "dim" }, f))),
    get("note") ? h("p", { class: "note" }, get("note")) : "",
    labelBar(i),
    h("div", { class: "two" }, h("div", { class: "card" }, left),
      h("div", { class: "card" }, h("div", { class: "histograms" }, NIGHT.kinds.map((_, k) => histogram(i, k))),
        h("p", { class: "dim" }, "blue: this exposure; dashed: the reference; band: 2 sigma of counting noise; orange: preferred direction"))),
    stamps ? h("div", { css: { "margin-top": "12px" } }, stamps) : "",
    h("div", { class: "card", css: { "margin-top": "12px" } }, numbers(i),
      detail ? ccdTable(detail) : "",
      h("details", { open: files.length < 3 ? true : null }, h("summary", null, `files (${files.length})`), h("ul", { class: "files" }, files))));
  $("detail").scrollTop = scroll;
}
