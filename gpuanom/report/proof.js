// What made the verdict, drawn: the map of the residual sky, the stripes, the steps of a profile, the repeated separation.

const hasCause = (i, ...causes) => NIGHT.causes[i].some((cause) => causes.includes(cause));
const numberOf = (i, name) => (COLUMNS[name] || [])[i] ?? null;

/** Seven lines along the stripes, one period apart, about a place of a picture whose y axis points down. */
function ruler(x, y, spacing, degrees, length, said) {
  const turn = (degrees * Math.PI) / 180, along = [Math.cos(turn), -Math.sin(turn)], across = [Math.sin(turn), Math.cos(turn)];
  return [-3, -2, -1, 0, 1, 2, 3].flatMap((k) => {
    const [cx, cy] = [x + k * spacing * across[0], y + k * spacing * across[1]], half = length / 2;
    const at = { x1: (cx - half * along[0]).toFixed(2), y1: (cy - half * along[1]).toFixed(2), x2: (cx + half * along[0]).toFixed(2), y2: (cy + half * along[1]).toFixed(2) };
    return [svg("line", { ...at, class: "ruler edge" }), svg("line", { ...at, class: "ruler" }, svg("title", null, said))];
  });
}

const STRIPED = ["stripes", "stripes or waves", "waves", "waves or stripes", "waves or stripes of the background", "a slope, waves or stripes"];
function stripesOf(i) {
  const period = numberOf(i, "stripe_period"), angle = numberOf(i, "stripe_angle");
  return hasCause(i, ...STRIPED) && period !== null && angle !== null ? { period, angle, said: `stripes of ${plain(period)} px along ${number(angle, "angle")}\u00b0` } : null;
}

/** The stripes that were found, over the CCD that shows them most; nothing where the picture is too coarse for them. */
function stripesOnPicture(i, detail, height) {
  const stripes = stripesOf(i), name = worstCcd(i, detail);
  if (!stripes || !name || ![detail.frames, detail.boxes].every((of) => Object.hasOwn(of, name))) return [];
  const [x, y, w, tall] = detail.boxes[name], [rows, columns, turn] = detail.frames[name];
  const spacing = (stripes.period * w) / (turn & QUARTER ? rows : columns);
  return spacing < 3 ? [] : ruler(x + w / 2, height - y - tall / 2, spacing, stripes.angle, 0.5 * Math.min(w, tall), stripes.said);
}
const QUARTER = 1; // of a CCD's turn: its rows run along the columns of the picture

function worstCcd(i, detail) {
  if (detail.proof && detail.proof.ccd) return detail.proof.ccd;
  const known = detail.ccds.filter((row) => ccdValue(row, state.outline) !== null).sort((a, b) => ccdValue(b, state.outline) - ccdValue(a, state.outline));
  return known.length ? known[0][0] : null;
}

/** The map of what is left of the sky, with what was found in it, and the steps of a profile. */
function proofCard(i, detail) {
  const proof = detail.proof || null;
  if (!proof) return null;
  const [width, height] = proof.size, over = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }), found = [];
  for (const [name, [x, y, w, tall]] of Object.entries(proof.boxes)) {
    over.append(svg("rect", { class: `ccd${name === proof.ccd ? " worst" : ""}`, x, y: height - y - tall, width: w, height: tall }, svg("title", null, ccdWords(name))));
  }
  const stripes = stripesOf(i);
  if (stripes) {
    const spacing = stripes.period / proof.side, box = proof.ccd ? proof.boxes[proof.ccd] : [0, 0, width, height];
    found.push(`${stripes.said}, strongest on ${ccdWords(proof.ccd)}`);
    if (spacing < 2) found.push(`they are too narrow for this map, whose cells are ${proof.side} px wide`);
    else if (state.found) over.append(...ruler(box[0] + box[2] / 2, height - box[1] - box[3] / 2, spacing, stripes.angle, 0.6 * Math.min(box[2], box[3]), stripes.said));
  }
  if (proof.marks.length) {
    const place = proof.marks.length === 1;
    found.push(place ? `the circle is the brightest place, on ${ccdWords(proof.ccd)}` : `the squares are the sharpest cells, on ${ccdWords(proof.ccd)}: the edge of the ring or ghost`);
    if (state.found) {
      over.append(...proof.marks.map(([x, y]) => (place
        ? svg("circle", { class: "found-place", cx: x + 0.5, cy: height - y - 0.5, r: 4 })
        : svg("rect", { class: "found-cell", x: x + 0.1, y: height - y - 0.9, width: 0.8, height: 0.8 }))));
    }
  }
  const map = h("div", null, h("div", { class: "on-map" }, h("img", { src: proof.map, alt: "map of the residual sky" }), over),
    h("div", { class: "dim" }, `\u2212${proof.span} `, h("span", { class: "map-bar", "aria-hidden": "true" }), ` +${proof.span} sigma of a pixel`));
  const words = h("div", null,
    h("p", null, `The sky that is left in cells of ${proof.side} pixels, after the fitted background, the sources and the usual map of each CCD are taken off. Blue is darker than expected, orange brighter; grey cells hold too many sources to tell.`),
    found.length ? h("p", null, `${found.join("; ")}.`) : null, proof.steps ? stepChart(proof) : null);
  return h("div", { class: "card proof" }, h("h3", null, "what is left of the sky"), h("div", { class: "parts" }, map, words));
}

/** The steps along a profile of the worst CCD, with the largest. */
function stepChart({ ccd, steps: { axis, places, heights, largest } }) {
  const values = heights.map((v) => v ?? 0), { chart, x, y } = frame([0, places[places.length - 1]], [0, ...values], { xText: `${axis}, pixels`, yText: "step / typical step" });
  const wide = Math.max(1, x(places[1] ?? 16) - x(places[0]) - 0.5);
  heights.forEach((v, k) => {
    if (v === null) return;
    chart.append(svg("rect", { class: `step${k === largest ? " largest" : ""}`, x: (x(places[k]) - wide / 2).toFixed(1), width: wide.toFixed(1), y: Math.min(y(0), y(v)).toFixed(1), height: Math.max(0.5, Math.abs(y(v) - y(0))).toFixed(1) },
      svg("title", null, `${axis} ${places[k]}: ${v}`)));
  });
  return h("div", null, h("h3", null, `steps between ${axis}s of ${ccdWords(ccd)}: the largest is at ${axis} ${places[largest]}`), chart);
}

/** The separation at which stars repeat, drawn from the middle of each stamp, where it fits into the stamps. */
function repeats(i, detail) {
  const separation = numberOf(i, "repeat_separation"), angle = numberOf(i, "repeat_angle"), size = NIGHT.settings.stamp_size;
  if (!state.found || !hasCause(i, "repeated images") || separation === null || angle === null || separation > 0.48 * size) return null;
  const n = detail.stamp_snr.length, turn = (angle * Math.PI) / 180;
  return svg("svg", { viewBox: `0 0 ${n * (size + 2) - 2} ${size}`, preserveAspectRatio: "none", "aria-hidden": "true" }, Array.from({ length: n }, (_, k) => {
    const cx = k * (size + 2) + size / 2, cy = size / 2, at = { x1: cx, y1: cy, x2: cx + separation * Math.cos(turn), y2: cy - separation * Math.sin(turn) };
    return [svg("line", { ...at, class: "ruler edge" }), svg("line", { ...at, class: "ruler" })];
  }));
}

function repeatWords(i) {
  const separation = numberOf(i, "repeat_separation"), angle = numberOf(i, "repeat_angle"), share = numberOf(i, "repeat_share");
  if (separation === null) return "";
  const where = `${plain(separation)} px away along ${number(angle, "angle")}\u00b0`;
  return `${share === null ? "stars" : `${(100 * share).toFixed(0)}% of the stars`} repeat ${where}${separation > 0.48 * NIGHT.settings.stamp_size ? ", which is beyond these stamps" : ": the yellow lines"}`;
}
