// One exposure: verdict, focal plane, orientations beside the reference, brightest sources, numbers, files.

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
  const angle = score(i, kind, "angle"), alignment = score(i, kind, "alignment");
  const said = angle === null ? "" : `; preferred direction ${angle.toFixed(0)} degrees, alignment ${alignment.toFixed(2)}`;
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${NAMES[kind]}: histogram of ${total} orientations${said}` });
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
    const words = `${from.toFixed(0)}\u00b0 to ${(from + 180 / bins).toFixed(0)}\u00b0: ${count} of ${total}, ${(100 * shares[b]).toFixed(1)}%`
      + (mean ? `; reference ${(100 * mean[b]).toFixed(1)} \u00b1 ${(50 * noise[b]).toFixed(1)}%` : "");
    chart.append(svg("rect", { class: "hit", x: x(b), y: top, width: (W - left - 4) / bins, height: H - bottom - top, "aria-hidden": "true" }, svg("title", null, words)));
  });
  const z = number(score(i, kind, "z"), "z"), p = number(score(i, kind, "p"), "p");
  return h("div", null, title, chart, h("div", { class: "dim" }, `z ${z}, p ${p}, deviation ${number(score(i, kind, "deviation"), "z")}`));
}

function labelBar(i) {
  const label = labelOf(i, state.kind), held = (name, value) => (label && label[name] === value ? "true" : "false");
  const kinds = ["source", "background"].map((kind) => h("button", {
    type: "button", "aria-pressed": state.kind === kind ? "true" : "false", "data-kind": kind, title: "what the label is about (key x)",
    on: { click: () => setKind(kind) },
  }, kind, labelOf(i, kind) ? ` ${MARKS[labelOf(i, kind).label]}` : ""));
  const grades = ["prominent", "dubious", "normal"].map((grade, k) => h("button", {
    type: "button", "aria-pressed": held("label", grade), "data-grade": grade, on: { click: () => mark(grade) },
  }, h("kbd", null, k + 1), ` ${grade}`));
  const reasons = Object.entries(REASON_KEYS).map(([key, reason]) => h("button", {
    type: "button", "aria-pressed": held("reason", reason), "data-reason": reason, on: { click: () => setReason(reason) },
  }, h("kbd", null, key), ` ${reason}`));
  const others = othersOf(i, state.kind);
  const said = state.others ? others.map((o) => `${o.analyst}: ${o.label}${o.reason ? ", " + o.reason : ""}${o.places ? ` at ${o.places}` : ""}`).join("; ") || "nobody" : `${many(others.length, "label")} hidden`;
  const show = h("button", { type: "button", "aria-pressed": String(state.others), title: "labels of other analysts; hidden so that they do not influence you (key a)",
    on: { click: () => { state.others = !state.others; drawDetail(); } } }, h("kbd", null, "a"), " labels of others");
  return h("div", { class: "labels", role: "group", "aria-label": "your label" }, h("span", { class: "dim" }, "label the"), kinds, h("span", { class: "gap" }), grades, h("span", { class: "gap" }), reasons,
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
  const head = h("tr", null, h("td", null, ""), columns.map((c) => h("th", { scope: "col", title: meaning(`source_${c}`).replace(/^[^:]*: /, "") }, c === "kl" ? "KL" : c)));
  const rows = SCORES.map((kind) => h("tr", null, h("th", { scope: "row", title: meaning(columnOf(kind, "kl")).split(":")[0] }, NAMES[kind]),
    columns.map((c) => h("td", { title: meaning(columnOf(kind, c)) }, number(score(i, kind, c), c)))));
  return h("table", { class: "numbers", "aria-label": "scores" }, head, rows);
}

const CCD_FORMS = { background_angle: "angle", source_angle: "angle", stripe_angle: "angle", source_alignment: "alignment", autoencoder_mse: "kl" };

/** The CCDs in the order of the number that outlines them. */
function ccdRows(detail) {
  const names = NIGHT.ccd_columns.filter((name) => detail.ccds.some((row) => row[NIGHT.ccd_columns.indexOf(name)] !== null));
  const judged = Object.keys(detail.verdicts).length > 0;
  const head = h("tr", null, names.map((c) => h("th", null, c === "ccd" ? "CCD" : c.replaceAll("_", " "))), judged ? [h("th", null, "verdict"), h("th", null, "what is wrong")] : null);
  const order = [...detail.ccds].sort((a, b) => (ccdValue(b, state.outline) ?? -Infinity) - (ccdValue(a, state.outline) ?? -Infinity));
  const rows = order.map((row) => {
    const [verdict, cause] = ccdVerdict(detail, row[0]);
    return h("tr", null, names.map((name) => {
      const v = row[NIGHT.ccd_columns.indexOf(name)];
      return h("td", null, typeof v === "string" ? v : Object.hasOwn(CCD_FORMS, name) ? number(v, CCD_FORMS[name]) : plain(v));
    }), judged ? [h("td", null, verdict ? badge(verdict) : ""), h("td", { class: "cause" }, cause)] : null);
  });
  return h("div", { class: "scrolled" }, h("table", { class: "ccds", "aria-label": "CCDs" }, head, rows));
}

/** The table of CCDs, which is made when it is opened: 61 CCDs have two thousand numbers. */
function ccdTable(detail) {
  const fill = (event) => {
    if (event.target.open && !event.target.querySelector("table")) event.target.append(ccdRows(detail));
  };
  return h("details", { on: { toggle: fill } }, h("summary", null, `${many(detail.ccds.length, "CCD")}, by ${outlineWords(state.outline)}`));
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
    h("div", { class: "strip", css: { "max-width": `${88 * detail.stamp_snr.length}px` } }, h("img", { src: detail.stamps, alt: "stamps of the brightest sources" }), repeats(i, detail)),
    hasCause(i, "repeated images") ? h("p", { class: "dim" }, repeatWords(i)) : null) : null;
  const scroll = $("detail").scrollTop;
  keepFocus($("detail"), () => $("detail").replaceChildren(
    h("div", { class: "head" }, h("h2", null, get("exposure") || "(no id)"),
      status === "ok" ? null : h("span", { class: "status", title: meaning("status") }, `status ${status.replaceAll("_", " ")}`), facts.map((f) => h("span", { class: "dim" }, f))),
    verdictBox(i, detail) || "", impactBox(i) || "",
    get("note") ? h("p", { class: "note" }, get("note")) : "",
    labelBar(i),
    h("div", { class: "two" }, h("div", { class: "card" }, left),
      h("div", { class: "card" }, h("div", { class: "histograms" }, NIGHT.kinds.map((_, k) => histogram(i, k))),
        h("p", { class: "dim" }, "blue: this exposure; dashed: the reference; band: 2 sigma of counting noise; orange: preferred direction"))),
    detail ? proofCard(i, detail) || "" : "", detail ? starMaps(i, detail) || "" : "",
    stamps ? h("div", { css: { "margin-top": "12px" } }, stamps) : "",
    h("div", { class: "card", css: { "margin-top": "12px" } }, numbers(i),
      detail ? ccdTable(detail) : "",
      h("details", { open: files.length < 3 ? true : null }, h("summary", null, `files (${files.length})`), h("ul", { class: "files" }, files)))));
  $("detail").scrollTop = scroll;
}
