// A CCD at full resolution, in the page that is served: pan, zoom, stretch and marks. The axes are those of the CCD,
// as in DS9.

const TOKEN = new URLSearchParams(location.search).get("token") || "";
let shownCcd = null; // the CCD in the viewer: exposure, name, size, tiles, stretch, limits, centre, scale

/** Ask the server for a part of a CCD: its picture, the size of the CCD, and the limits of the stretch. */
async function askForPart(i, name, x, y, stretch, limits) {
  const query = new URLSearchParams({ token: TOKEN, camera: COLUMNS.camera[i], exposure: COLUMNS.exposure[i], ccd: name, x, y, stretch });
  if (limits) for (const [k, which] of ["low", "high"].entries()) query.set(which, String(limits[k]));
  let answer;
  try {
    answer = await fetch(`/ccd?${query}`);
  } catch {
    throw new Error("the server does not answer: is gpuanom report --serve still running?");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const numbers = (header) => answer.headers.get(header).split(" ").map(Number);
  return { size: numbers("Gpuanom-Size"), limits: numbers("Gpuanom-Limits"), bitmap: await createImageBitmap(await answer.blob()), x, y };
}

/** Read the parts of the CCD with the present stretch; an earlier reading that has not ended yet shows nothing. */
async function loadCcd() {
  const shown = shownCcd, asked = (shown.asked = (shown.asked || 0) + 1);
  const current = () => shownCcd === shown && shown.asked === asked;
  $("viewer-said").textContent = "reading \u2026";
  try {
    const first = await askForPart(shown.i, shown.name, 0, 0, shown.stretch, shown.limits), [nx, ny, side] = first.size, tiles = [first];
    for (let y = 0; y < ny; y += side) {
      for (let x = 0; x < nx; x += side) if ((x || y) && current()) tiles.push(await askForPart(shown.i, shown.name, x, y, shown.stretch, first.limits));
    }
    if (!current()) return;
    for (const { bitmap } of shown.tiles) bitmap.close(); // their memory is free at once
    Object.assign(shown, { tiles, size: [nx, ny], limits: first.limits });
    for (const [k, id] of ["viewer-low", "viewer-high"].entries()) {
      if (document.activeElement !== $(id)) $(id).value = Number(shown.limits[k].toPrecision(7)); // not while somebody types there
    }
    if (!shown.scale) fitCcd();
    else drawCcd();
  } catch (error) {
    if (current()) $("viewer-said").textContent = error.message;
  }
}

const canvasSize = () => [$("viewer-canvas").clientWidth, $("viewer-canvas").clientHeight];
const LEAST_ZOOM = 1 / 64, MOST_ZOOM = 32;

function fitCcd() {
  const shown = shownCcd, [w, tall] = canvasSize();
  if (!shown.size) return;
  shown.centre = shown.at && !shown.scale ? shown.at : [shown.size[0] / 2, shown.size[1] / 2];
  const whole = Math.min(w / shown.size[0], tall / shown.size[1]);
  shown.scale = shown.at && !shown.scale ? Math.max(1, whole) : whole;
  drawCcd();
}

/** From pixels of the CCD, counted from 0 at its lower left corner, to the canvas, and back. */
const onCanvas = (shown, x, y) => {
  const [w, tall] = canvasSize();
  return [(x - shown.centre[0]) * shown.scale + w / 2, tall / 2 - (y - shown.centre[1]) * shown.scale];
};
const onCcd = (shown, px, py) => {
  const [w, tall] = canvasSize();
  return [(px - w / 2) / shown.scale + shown.centre[0], (tall / 2 - py) / shown.scale + shown.centre[1]];
};

function drawCcd() {
  const shown = shownCcd;
  if (!shown || !shown.size) return;
  const canvas = $("viewer-canvas"), pen = canvas.getContext("2d"), [w, tall] = canvasSize(), dense = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(w * dense), Math.round(tall * dense)];
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.imageSmoothingEnabled = shown.scale < 1;
  for (const { bitmap, x, y } of shown.tiles) {
    const [left, top] = onCanvas(shown, x, y + bitmap.height);
    pen.drawImage(bitmap, left, top, bitmap.width * shown.scale, bitmap.height * shown.scale);
  }
  const detail = read(`d${shown.i}`), layout = layoutOf(detail, shown.name);
  if (state.found) for (const shape of ofCcd(detail.found, shown.name) || []) drawShape(pen, shown, shape);
  for (const kind of ["source", "background"]) {
    const label = labelOf(shown.i, kind);
    for (const [ccd, fx, fy] of placesOf(label && label.places)) {
      const pixel = ccd === shown.name ? fromFile(layout, fx, fy) : null;
      if (pixel) drawCross(pen, onCanvas(shown, pixel[0] - 0.5, pixel[1] - 0.5));
    }
  }
  tellWhere(null);
}

/** Draw a path in black and on top in a colour, so that the path stands out on dark and on bright pixels. */
function outlined(pen, path, hue, dashes) {
  pen.setLineDash(dashes);
  for (const [width, style] of [[4, "#000"], [1.6, hue]]) {
    pen.lineWidth = width;
    pen.strokeStyle = style;
    pen.stroke(path);
  }
}

function drawShape(pen, shown, [form, , ...v]) {
  const path = new Path2D(), [x, y] = onCanvas(shown, v[0] - 0.5, v[1] - 0.5);
  if (form === "line") {
    path.moveTo(x, y);
    path.lineTo(...onCanvas(shown, v[2] - 0.5, v[3] - 0.5));
  } else if (form === "circle") path.arc(x, y, v[2] * shown.scale, 0, 2 * Math.PI);
  else path.rect(x - (v[2] / 2) * shown.scale, y - (v[3] / 2) * shown.scale, v[2] * shown.scale, v[3] * shown.scale);
  outlined(pen, path, "#ffd54a", form === "line" ? [10, 14] : []);
}

function drawCross(pen, [x, y]) {
  const path = new Path2D();
  for (const [dx, dy] of [[10, 0], [0, 10]]) {
    path.moveTo(x - dx, y - dy);
    path.lineTo(x + dx, y + dy);
  }
  outlined(pen, path, "#ff4d4d", []);
}

/** Say where the pointer is, in image coordinates of the file. */
function tellWhere(at) {
  const shown = shownCcd, zoom = shown.scale >= 1 ? `${+shown.scale.toPrecision(2)} : 1` : `1 : ${+(1 / shown.scale).toPrecision(2)}`;
  const inside = at && at.every((v, k) => v >= 0 && v <= shown.size[k]);
  const where = inside ? toFile(layoutOf(read(`d${shown.i}`), shown.name), at[0] + 0.5, at[1] + 0.5).map((v) => v.toFixed(0)) : null;
  $("viewer-said").textContent = `${shown.size[0]} x ${shown.size[1]} pixels, zoom ${zoom}${where ? `, x ${where[0]}, y ${where[1]}` : ""}`;
}

/** Zoom about a place of the canvas, by default its middle. */
function zoomCcd(by, px, py) {
  const shown = shownCcd;
  if (!shown.size) return;
  const at = px === undefined ? null : onCcd(shown, px, py);
  shown.scale = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, shown.scale * by));
  if (at) {
    const moved = onCcd(shown, px, py);
    shown.centre = shown.centre.map((v, k) => v + at[k] - moved[k]);
  }
  drawCcd();
}

function panCcd(dx, dy) {
  if (!shownCcd.size) return;
  shownCcd.centre = [shownCcd.centre[0] - dx / shownCcd.scale, shownCcd.centre[1] + dy / shownCcd.scale];
  drawCcd();
}

function closeCcd() {
  for (const { bitmap } of shownCcd.tiles) bitmap.close();
  shownCcd = null;
  $("viewer").remove();
  showCurrent(true);
  $("list-scroll").focus();
}

/** The pointer drags the CCD; a click without moving marks a place, if places are marked. */
function withPointer(canvas) {
  let from = null;
  const at = (event) => [event.offsetX, event.offsetY];
  const on = {
    pointerdown: (event) => {
      from = { start: at(event), last: at(event), moved: false };
      canvas.setPointerCapture(event.pointerId);
    },
    pointermove: (event) => {
      const now = at(event);
      if (from && shownCcd.size) {
        from.moved ||= Math.hypot(now[0] - from.start[0], now[1] - from.start[1]) > 4;
        if (from.moved) panCcd(now[0] - from.last[0], now[1] - from.last[1]);
        from.last = now;
      }
      if (shownCcd.size) tellWhere(onCcd(shownCcd, ...now));
    },
    pointerup: (event) => {
      const clicked = from && !from.moved, shown = shownCcd;
      from = null;
      if (!clicked || !shown.size || !state.marking) return;
      const [x, y] = onCcd(shown, ...at(event));
      if (x < 0 || y < 0 || x > shown.size[0] || y > shown.size[1]) return;
      markPlace(shown.i, read(`d${shown.i}`), shown.name, x + 0.5, y + 0.5, 8 / shown.scale);
      drawCcd();
    },
    wheel: (event) => { event.preventDefault(); zoomCcd(1.0015 ** -event.deltaY, ...at(event)); },
  };
  for (const [name, handler] of Object.entries(on)) canvas.addEventListener(name, handler, { passive: false });
}

const VIEWER_KEYS = {
  Escape: closeCcd, b: closeCcd, "+": () => zoomCcd(1.5), "-": () => zoomCcd(1 / 1.5), 0: fitCcd,
  ArrowLeft: () => panCcd(60, 0), ArrowRight: () => panCcd(-60, 0), ArrowUp: () => panCcd(0, 60), ArrowDown: () => panCcd(0, -60),
  h: () => { state.found = !state.found; drawCcd(); },
  p: () => { state.marking = !state.marking; $("viewer-marking").setAttribute("aria-pressed", String(state.marking)); },
};
// Keys that would show another exposure, or hide the viewer.
const NOT_IN_VIEWER = ["j", "k", "n", "v", "z", "/", "?", "Home", "End", "PageUp", "PageDown"];

document.addEventListener("keydown", (event) => {
  if (!shownCcd || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("#viewer input, #viewer select") && event.key !== "Escape") {
    event.stopPropagation();
    return;
  }
  const action = Object.hasOwn(VIEWER_KEYS, event.key) ? VIEWER_KEYS[event.key] : null;
  if (!action && !NOT_IN_VIEWER.includes(event.key)) return;
  event.stopPropagation();
  event.preventDefault();
  if (action) action();
}, true);
window.addEventListener("resize", () => { if (shownCcd) drawCcd(); });

function showCcd(i, detail, name, x, y) {
  if (shownCcd) closeCcd();
  shownCcd = { i, name, stretch: "asinh", limits: null, tiles: [], size: null, scale: 0, centre: [0, 0], at: x === undefined ? null : [x - 0.5, y - 0.5] };
  const again = (limits) => { shownCcd.limits = limits; loadCcd(); };
  const field = (id, text) => h("label", null, `${text} `, h("input", { id, type: "number", step: "any", size: 9, on: { change: () => {
    const limits = ["viewer-low", "viewer-high"].map((name) => Number($(name).value));
    if (limits[0] < limits[1]) again(limits);
    else $("viewer-said").textContent = "the upper limit must be above the lower one";
  } } }));
  const button = (text, title, click, more) => h("button", { type: "button", title, on: { click }, ...more }, text);
  const canvas = h("canvas", { id: "viewer-canvas", role: "img", "aria-label": `CCD ${name} of exposure ${COLUMNS.exposure[i]}` });
  document.body.append(h("div", { id: "viewer", role: "dialog", "aria-modal": "true", "aria-label": "a CCD at full resolution" },
    h("div", { class: "viewer-bar" }, h("strong", null, `${COLUMNS.exposure[i]}, CCD ${name}`),
      h("label", null, "stretch ", h("select", { id: "viewer-stretch", on: { change: (e) => { shownCcd.stretch = e.target.value; again(null); } } }, ["asinh", "linear"].map((value) => h("option", { value }, value)))),
      field("viewer-low", "from"), field("viewer-high", "to"), button("usual limits", "zscale; asinh ends at the 99.8th percentile", () => again(null)),
      button("+", "larger (key +, or the wheel)", () => zoomCcd(1.5)), button("\u2212", "smaller (key -, or the wheel)", () => zoomCcd(1 / 1.5)),
      button("1 : 1", "a pixel of the CCD is a pixel of the screen", () => zoomCcd(1 / shownCcd.scale)), button("whole", "the whole CCD (key 0)", fitCcd),
      button("mark places", "a click marks a place of your label, a click on a mark takes it away (key p)", VIEWER_KEYS.p, { id: "viewer-marking", "aria-pressed": String(state.marking) }),
      h("span", { class: "grow" }), button("close", "back to the exposure (Escape)", closeCcd, { id: "viewer-close" }),
      h("span", { id: "viewer-said", role: "status", "aria-live": "polite" })),
    canvas));
  withPointer(canvas);
  $("viewer-close").focus();
  loadCcd();
}
openCcd = showCcd;
