// The stars over the focal plane: whiskers whose length is ellipticity, and small maps of FWHM and ellipticity.

const SIGNIFICANT = 3; // a whisker shorter than so many of its errors is not drawn
const LONGEST = 4; // a whisker is drawn at most so many cells long
const SPANS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]; // ellipticities of a whisker as long as a cell

/** The cells of all CCDs with stars: place and size in the picture, FWHM, ellipticity, the usual ellipticity, error. */
function starCells(i, detail) {
  const usual = NIGHT.dataset[i] === null ? {} : NIGHT.usual[NIGHT.dataset[i]], cells = [];
  for (const [name, [columns, rows, fwhm, e1, e2, n]] of Object.entries(detail.stars)) {
    const [x, y, w, tall] = detail.boxes[name], off = Object.hasOwn(usual, name) ? usual[name] : null;
    n.forEach((count, k) => {
      if (fwhm[k] === null) return;
      cells.push({
        name, n: count, fwhm: fwhm[k], e: [e1[k], e2[k]], left: off ? [e1[k] - off[0], e2[k] - off[1]] : null,
        error: detail.star_scatter / Math.sqrt(count), w: w / columns, h: tall / rows,
        x: x + ((k % columns) + 0.5) * (w / columns), y: y + (Math.floor(k / columns) + 0.5) * (tall / rows),
      });
    });
  }
  return cells;
}

/** Whiskers as lines with a dark edge, the length of a cell in ellipticity, and what is to be said of them. */
function whiskers(cells, usual, height) {
  const known = cells.filter((cell) => !usual || cell.left);
  const lengths = known.map((cell) => Math.hypot(...(usual ? cell.left : cell.e)));
  const drawn = known.map((cell, k) => [cell, lengths[k]]).filter(([cell, e]) => e >= SIGNIFICANT * cell.error);
  const most = drawn.map(([, e]) => e).sort((a, b) => a - b)[Math.floor(0.98 * (drawn.length - 1))] || 0;
  const span = SPANS.find((s) => s >= most) || 1, size = Math.min(...cells.map((cell) => Math.min(cell.w, cell.h)));
  const lines = drawn.flatMap(([cell, e]) => {
    const [e1, e2] = usual ? cell.left : cell.e, turn = 0.5 * Math.atan2(e2, e1), half = 0.475 * size * Math.min(e / span, LONGEST);
    const dx = half * Math.cos(turn), dy = half * Math.sin(turn), y = height - cell.y;
    const at = { x1: (cell.x - dx).toFixed(2), x2: (cell.x + dx).toFixed(2), y1: (y + dy).toFixed(2), y2: (y - dy).toFixed(2) };
    const said = `${ccdWords(cell.name)}, ${many(cell.n, "star")}\nellipticity ${e.toFixed(4)} \u00b1 ${cell.error.toFixed(4)} along ${number((turn * 180) / Math.PI, "angle")}\u00b0\nFWHM ${cell.fwhm} px`;
    return [svg("line", { ...at, class: "whisker edge" }), svg("line", { ...at, class: "whisker" }, svg("title", null, said))];
  });
  const said = usual && !known.length ? "no usual ellipticity: fewer than 20 exposures of this kind"
    : known.length ? `${drawn.length} of ${many(known.length, "cell")} significant` : "too few stars for whiskers";
  return { lines, span, length: 0.95 * size, said };
}

/** The scale of the whiskers: a bar and the ellipticity that is so long. */
function scaleBar({ lines, span, length }, width, height) {
  if (!lines.length) return [];
  const text = Math.max(0.032 * width, 9), x = 0.02 * width, y = height - 0.025 * height, w = Math.max(length, 4.2 * text) + 0.02 * width;
  return [svg("rect", { class: "scale-back", x: x - 0.01 * width, y: y - 1.9 * text, width: w, height: 2.4 * text }),
    svg("line", { class: "whisker", x1: x, x2: x + length, y1: y, y2: y }),
    svg("text", { class: "scale-text", x, y: y - 0.5 * text, "font-size": text }, `e = ${span}`)];
}

/** A small map: the CCDs as boxes, the cells in the colour of a value, whiskers over them. */
function smallMap(i, detail, cells, title, value, usual) {
  const [width, height] = detail.size, map = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const [x, y, w, tall] of Object.values(detail.boxes)) map.append(svg("rect", { class: "empty-ccd", x, y: height - y - tall, width: w, height: tall }));
  const values = cells.map(value).filter((v) => v !== null).sort((a, b) => a - b);
  const [low, high] = usual === null ? [values[Math.floor(0.02 * (values.length - 1))], values[Math.ceil(0.98 * (values.length - 1))]] : [0, 0];
  if (usual === null) {
    map.append(...cells.map((cell) => svg("rect", {
      x: cell.x - cell.w / 2, y: height - cell.y - cell.h / 2, width: cell.w, height: cell.h, fill: colour(high > low ? (value(cell) - low) / (high - low) : 0.5),
    }, svg("title", null, `${ccdWords(cell.name)}: FWHM ${cell.fwhm} px, ${many(cell.n, "star")}`))));
  }
  const drawn = usual === null ? null : whiskers(cells, usual, height);
  if (drawn) map.append(...drawn.lines, ...scaleBar(drawn, width, height));
  return h("div", { class: "small-map" }, h("h3", null, title), map,
    h("div", { class: "dim" }, drawn ? drawn.said : [`${plain(low)} `, colourBar(), ` ${plain(high)} px`]));
}

const colourBar = () => svg("svg", { class: "colours", viewBox: "0 0 90 9", "aria-hidden": "true" },
  Array.from({ length: 30 }, (_, k) => svg("rect", { x: 3 * k, y: 0, width: 3.2, height: 9, fill: colour(k / 29) })));

/** FWHM, ellipticity, and what is left of it after the usual ellipticity of each CCD. */
function starMaps(i, detail) {
  const cells = starCells(i, detail);
  if (!cells.length) return null;
  const get = (name) => (COLUMNS[name] || [])[i] ?? null, fwhm = get("fwhm"), arcsec = get("fwhm_arcsec"), e1 = get("e1"), e2 = get("e2");
  const facts = [fwhm === null ? null : `FWHM ${number(fwhm, "alignment")} px${arcsec === null ? "" : ` = ${number(arcsec, "alignment")}\u2033`}`,
    e1 === null || e2 === null ? null : `mean e1 ${e1.toFixed(4)}, e2 ${e2.toFixed(4)}`, get("n_stars") === null ? null : many(get("n_stars"), "star")].filter(Boolean);
  const maps = [smallMap(i, detail, cells, "FWHM", (cell) => cell.fwhm, null), smallMap(i, detail, cells, "ellipticity", () => null, false)];
  if (cells.some((cell) => cell.left)) maps.push(smallMap(i, detail, cells, "ellipticity less the usual of each CCD", () => null, true));
  return h("div", { class: "card stars" }, h("h3", null, "stars over the focal plane ", h("span", { class: "dim" }, facts.join("; "))), h("div", { class: "small-maps" }, maps));
}
