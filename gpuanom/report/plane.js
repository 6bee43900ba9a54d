// The focal plane of an exposure: the picture, the CCDs outlined by one of their numbers, the whiskers.

const outlineWords = (name) => (Object.hasOwn(NIGHT.outlines, name) ? NIGHT.outlines[name] : name.replaceAll("_", " "));
const plain = (value) => (value === null || value === undefined ? "-" : Number.isInteger(value) ? String(value) : String(+value.toPrecision(3)));

/** The number of a CCD by which it is outlined. */
function ccdValue(row, name) {
  const get = (column) => row[NIGHT.ccd_columns.indexOf(column)] ?? null;
  if (name !== "ellipticity") return get(name);
  const e1 = get("e1"), e2 = get("e2");
  return e1 === null || e2 === null ? null : Math.hypot(e1, e2);
}

const scaleOf = (i, name) => {
  const scales = NIGHT.scales[COLUMNS.camera[i]] || {};
  return Object.hasOwn(scales, name) ? scales[name] : [0, 1];
};
const ccdVerdict = (detail, name) => (Object.hasOwn(detail.verdicts, name) ? detail.verdicts[name] : ["", ""]);

function setKind(kind) {
  state.kind = kind;
  if (state.outline === "background_z" || state.outline === "source_alignment") state.outline = kind === "background" ? "background_z" : "source_alignment";
  drawDetail();
}

/** The focal plane: the picture, the CCDs outlined in the colour of their score, the whisker map. */
function plane(i, detail) {
  const [width, height] = detail.size, names = NIGHT.ccd_columns;
  const wasLarge = state.marking && $("plane") && $("plane").classList.contains("large"); // stays large while places are marked
  const column = state.outline, [low, top] = scaleOf(i, column);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const byName = new Map(detail.ccds.map((row) => [row[0], row])), flags = [];
  for (const [name, [x, y, w, tall]] of Object.entries(detail.boxes)) {
    const row = byName.get(name), get = (c) => (row ? row[names.indexOf(c)] ?? null : null), value = row ? ccdValue(row, column) : null;
    const share = value === null ? 0 : Math.max(0, Math.min(1, (value - low) / (top - low)));
    const [verdict, cause] = ccdVerdict(detail, name);
    const said = [ccdWords(name), row && get("status") !== "ok" ? get("status") : "", verdict ? `${verdict}: ${cause}` : cause,
      `${outlineWords(column)} ${plain(value)}`, `${number(get("n_sources"))} sources`];
    drawing.append(svg("rect", {
      x, y: height - y - tall, width: w, height: tall, fill: "transparent", stroke: state.outlines ? (value === null ? "#888" : colour(share)) : "none",
      "stroke-width": 1.2 + 1.8 * share, "stroke-dasharray": value === null ? "4 3" : null, "vector-effect": "non-scaling-stroke",
    }, svg("title", null, said.filter(Boolean).join("\n"))));
    if (state.outlines && (verdict === "bad" || verdict === "check")) flags.push([x, height - y - tall, w, tall, verdict]);
  }
  const size = 0.14 * Math.min(...flags.map((flag) => Math.min(flag[2], flag[3])), 200);
  drawing.append(...flags.map(([x, y, , , verdict]) => svg("text", {
    class: `flag ${verdict}`, x: x + 0.4 * size, y: y + 1.2 * size, "font-size": size,
  }, looksOf(verdict).shape)));
  if (state.found) drawing.append(...stripesOnPicture(i, detail, height));
  const drawn = state.whiskers ? whiskers(starCells(i, detail), state.usual, height) : null;
  if (drawn) drawing.append(...drawn.lines, ...scaleBar(drawn, width, height));
  drawing.append(...placesOnPicture(i, detail));
  const inner = h("div", { class: "inner" }, detail.mosaic ? h("img", { src: detail.mosaic, alt: `focal plane of exposure ${COLUMNS.exposure[i]}` }) : null, drawing);
  const title = state.marking ? "click: mark a place" : openCcd ? "click: this CCD at full resolution (key b)" : "click: large (key z)";
  const box = h("div", { class: `plane${width < 500 ? " small" : ""}${state.marking ? " marking" : ""}${wasLarge ? " large" : ""}`, id: "plane", title, on: { click: (event) => pictureClicked(event, i, detail) } }, inner);
  inner.style.setProperty("aspect-ratio", `${width} / ${height}`);
  const missing = detail.missing.length ? h("p", { class: "note" }, `${detail.mosaic ? "not complete" : "no picture"}: ${detail.missing.join("; ")}`) : null;
  const levelled = detail.levelled ? h("span", { title: "the levels of the CCDs differ by more than their contrast" }, "the median of each CCD is subtracted") : null;
  return [box, missing, tools(i, detail, levelled, drawn), ccdTools(i, detail)];
}

function enlarge() {
  $("plane")?.classList.toggle("large");
}

function tools(i, detail, levelled, drawn) {
  const column = state.outline, [low, top] = scaleOf(i, column);
  const toggle = (name, text, title) => h("label", { title },
    h("input", { type: "checkbox", id: `t-${name}`, checked: state[name], on: { change: (e) => { state[name] = e.target.checked; drawDetail(); } } }), ` ${text}`);
  const known = Object.keys(NIGHT.outlines).filter((name) => detail.ccds.some((row) => ccdValue(row, name) !== null));
  if (!known.includes(column)) known.unshift(column);
  const chooser = h("select", { id: "t-outline", "aria-label": "number by which CCDs are outlined", on: { change: (e) => { state.outline = e.target.value; drawDetail(); } } },
    known.map((name) => h("option", { value: name, selected: name === column }, outlineWords(name))));
  return h("div", { class: "tools dim" }, toggle("outlines", "outline CCDs by", "colours of the outlines, key i"), chooser,
    h("span", { class: "scale" }, plain(low), colourBar(), plain(top)),
    toggle("whiskers", "whiskers: ellipticity of the stars", "mean ellipticity of the stars in cells of each CCD; what is under three of its errors is not drawn; key m"),
    toggle("usual", "less the usual", "what is left after the usual ellipticity of each CCD, its median over the dataset, is taken off; key u"),
    drawn ? h("span", null, drawn.said) : null, toggle("found", "what was found", "stripes, trails, steps, places in the map, repeated images; key h"), levelled);
}
