// Places on CCDs: from the picture to pixels of the file and back, marked places, regions and a command for DS9.
// Pixels of a CCD, and image coordinates of its file, count from 1, as DS9 shows them.

const MIRRORED = 2; // of a CCD's turn, as QUARTER
const MOST_PLACES = 200;
const ofCcd = (values, name) => (values && Object.hasOwn(values, name) ? values[name] : null);

/** The pixel of a CCD at a place of its box in the picture, from (0, 0) at the lower left to (1, 1). */
function toCcd([rows, columns, turn, upsideDown], u, v) {
  if (upsideDown) [u, v] = [1 - u, 1 - v];
  if (turn & QUARTER) [u, v] = [v, 1 - u];
  if (turn & MIRRORED) v = 1 - v;
  return [u * columns + 0.5, v * rows + 0.5];
}

/** The place in the picture of a pixel of a CCD; null where the picture has no such CCD. */
function toPicture(detail, name, x, y) {
  const frame = ofCcd(detail.frames, name), box = ofCcd(detail.boxes, name);
  if (!frame || !box) return null;
  const [rows, columns, turn, upsideDown] = frame;
  let [u, v] = [(x - 0.5) / columns, (y - 0.5) / rows];
  if (turn & MIRRORED) v = 1 - v;
  if (turn & QUARTER) [u, v] = [1 - v, u];
  if (upsideDown) [u, v] = [1 - u, 1 - v];
  return [box[0] + u * box[2], detail.size[1] - box[1] - v * box[3]];
}

const layoutOf = (detail, name) => detail.layouts[(ofCcd(detail.origins, name) || [0, 0, -1])[2]] || [];
const isIn = (at, from, size) => at > from + 0.5 - 1e-9 && at <= from + size + 0.5;

/** Image coordinates in the file of a pixel of a CCD without overscan. */
function toFile(layout, x, y) {
  const part = layout.find(([px, py, w, tall]) => isIn(x, px, w) && isIn(y, py, tall)) || layout[0];
  return part ? [x - part[0] + part[4], y - part[1] + part[5]] : [x, y];
}

/** The pixel of a CCD at image coordinates of its file; null in the overscan. */
function fromFile(layout, x, y) {
  if (!layout.length) return [x, y];
  const part = layout.find(([, , w, tall, fx, fy]) => isIn(x, fx, w) && isIn(y, fy, tall));
  return part ? [x - part[4] + part[0], y - part[5] + part[1]] : null;
}

/** Marked places as a list of [CCD, x, y]; parts that are no places are left out. */
function placesOf(text) {
  return String(text || "").split(";").map((part) => {
    const [name, ...at] = part.trim().split(/\s+/);
    try {
      const [x, y] = at.map(Number);
      return name && at.length === 2 && Math.abs(x) < 1e6 && Math.abs(y) < 1e6 ? [decodeURIComponent(name), x, y] : null;
    } catch {
      return null; // the name is no text in UTF-8
    }
  }).filter(Boolean).slice(0, MOST_PLACES);
}

const hundredth = (v) => String(Math.round(100 * v) / 100);
const placesText = (places) => places.map(([name, x, y]) => `${encodeURIComponent(name.toWellFormed ? name.toWellFormed() : name)} ${hundredth(x)} ${hundredth(y)}`).join("; ");

/** Mark a place, or take the mark nearby away. */
function markPlace(i, detail, name, x, y, reach) {
  const held = labelOf(i, state.kind), places = placesOf(held && held.places), [fx, fy] = toFile(layoutOf(detail, name), x, y);
  const near = places.findIndex(([ccd, px, py]) => ccd === name && Math.hypot(px - fx, py - fy) <= reach);
  if (near >= 0) places.splice(near, 1);
  else if (places.length >= MOST_PLACES) return say(`no more than ${MOST_PLACES} places are marked`);
  else places.push([name, fx, fy]);
  setLabel(i, state.kind, { places: placesText(places) });
  say(`CCD ${name}: ${near >= 0 ? "the mark was taken away" : `marked x ${fx.toFixed(0)}, y ${fy.toFixed(0)}`}`);
}

/** The CCD under the pointer and its pixel there; null beside the CCDs. */
function ccdAt(event, detail) {
  const area = $("plane").querySelector("svg").getBoundingClientRect(), [width, height] = detail.size;
  const px = ((event.clientX - area.left) / area.width) * width, py = height - ((event.clientY - area.top) / area.height) * height;
  for (const [name, [x, y, w, tall]] of Object.entries(detail.boxes)) {
    const frame = ofCcd(detail.frames, name);
    if (frame && px >= x && px < x + w && py >= y && py < y + tall) return [name, ...toCcd(frame, (px - x) / w, (py - y) / tall), frame[1] / w];
  }
  return null;
}

let openCcd = null; // shows a CCD at full resolution, where the page is served
function pictureClicked(event, i, detail) {
  const at = ccdAt(event, detail);
  if (!state.marking && !(openCcd && at)) return enlarge();
  if (!at) return say("no CCD is here, or the CCD could not be read");
  if (state.marking) return markPlace(i, detail, at[0], at[1], at[2], 6 * at[3]);
  state.ccd = [i, at[0]];
  return openCcd(i, detail, at[0], at[1], at[2]);
}

function fullResolution() {
  const detail = state.now >= 0 && DETAILED.has(state.now) ? read(`d${state.now}`) : null, name = detail && chosenCcd(state.now, detail);
  if (!openCcd) say("gpuanom report --serve shows CCDs at full resolution");
  else if (name !== null) openCcd(state.now, detail, name);
}

function setMarking(on) {
  state.marking = on;
  say(on ? "a click on a CCD marks a place; a click on a mark takes it away" : "a click marks nothing");
  drawDetail();
}

/** Crosses at the marked places, and the lines and circles of what was found, over the picture. */
function placesOnPicture(i, detail) {
  const drawn = [], size = 0.012 * Math.max(...detail.size), held = labelOf(i, state.kind);
  if (state.found) {
    for (const [name, shapes] of Object.entries(detail.found)) {
      for (const [form, what, ...v] of shapes) {
        const a = toPicture(detail, name, v[0], v[1]), b = form === "line" ? toPicture(detail, name, v[2], v[3]) : null;
        if (!a || form === "box" || what.startsWith("stripes")) continue;
        const at = b ? { x1: a[0].toFixed(2), y1: a[1].toFixed(2), x2: b[0].toFixed(2), y2: b[1].toFixed(2) } : { cx: a[0].toFixed(2), cy: a[1].toFixed(2), r: 2 * size, fill: "none" };
        for (const look of ["ruler edge", "ruler"]) drawn.push(svg(b ? "line" : "circle", { ...at, class: look, "data-found": what }, svg("title", null, `${what}, CCD ${name}`)));
      }
    }
  }
  for (const [name, fx, fy] of placesOf(held && held.places)) {
    const pixel = fromFile(layoutOf(detail, name), fx, fy), at = pixel && toPicture(detail, name, pixel[0], pixel[1]);
    if (!at) continue;
    for (const look of ["mark-place edge", "mark-place"]) {
      drawn.push(svg("path", { class: look, d: `M${at[0] - size},${at[1]}h${2 * size}M${at[0]},${at[1] - size}v${2 * size}` }, svg("title", null, `marked: CCD ${name}, x ${hundredth(fx)}, y ${hundredth(fy)}`)));
    }
  }
  return drawn;
}

const inOneLine = (text) => text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ");
const regionName = (i, name) => `${`${COLUMNS.exposure[i]}_${name}`.replace(/[^A-Za-z0-9._-]/g, "_").replace(/^[.-]/, "_")}.reg`;

/** The regions of a CCD for DS9: what was found, and the marked places of both kinds of label. */
function regionsOf(i, detail, name) {
  const layout = layoutOf(detail, name), lines = [], n = (v) => hundredth(v);
  for (const [form, what, ...v] of ofCcd(detail.found, name) || []) {
    const [x, y] = toFile(layout, v[0], v[1]), words = `# color=yellow text={${what}}`;
    if (form === "line") lines.push(`line(${[x, y, ...toFile(layout, v[2], v[3])].map(n).join(",")}) ${words}`);
    else lines.push(form === "circle" ? `circle(${n(x)},${n(y)},${n(v[2])}) ${words}` : `box(${n(x)},${n(y)},${n(v[2])},${n(v[3])},0) # color=yellow tag={${what}}`);
  }
  for (const kind of ["source", "background"]) {
    const label = labelOf(i, kind);
    for (const [ccd, x, y] of placesOf(label && label.places)) {
      if (ccd === name) lines.push(`point(${n(x)},${n(y)}) # point=cross color=red text={${label.reason || label.label}}`);
    }
  }
  if (!lines.length) return "";
  return ["# Region file format: DS9 version 4.1", `# gpuanom ${NIGHT.version}: ${inOneLine(`exposure ${COLUMNS.exposure[i]}, CCD ${name}`)}`, "image", ...lines, ""].join("\n");
}

/** The command that opens a CCD in DS9; null where the name of the file cannot be typed, or DS9 would misread it. */
function ds9Command(i, detail, name) {
  const origin = ofCcd(detail.origins, name), link = origin ? NIGHT.files[i][origin[0]] : null;
  if (!link) return null;
  try {
    if (decodeURIComponent(link[1].slice("file://".length)) !== link[0]) return null;
  } catch {
    return null;
  }
  if (!link[0].startsWith("/") || /[[\]{}$"\\;`]/.test(link[0])) return null;
  const quotedPath = `'${`${link[0]}[${origin[1]}]`.replaceAll("'", "'\\''")}'`;
  return `ds9 ${quotedPath} -zscale${regionsOf(i, detail, name) ? ` -regions ${regionName(i, name)}` : ""}`;
}

function saveText(text, name, kind) {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** The CCD that was chosen of this exposure, or else the one that shows its cause most. */
function chosenCcd(i, detail) {
  const [of, chosen] = state.ccd || [-1, ""];
  return [of === i ? chosen : null, worstCcd(i, detail), ...Object.keys(detail.origins)].find((name) => name !== null && ofCcd(detail.origins, name)) ?? null;
}

async function copyDs9() {
  const i = state.now, detail = i >= 0 && DETAILED.has(i) ? read(`d${i}`) : null, name = detail && chosenCcd(i, detail);
  const command = name === null ? null : ds9Command(i, detail, name);
  if (!command) return say("no command: the file is not known, or its name holds characters that DS9 or a shell would misread");
  const field = $("ds9-command");
  if (field) {
    [field.value, field.hidden] = [command, false];
    field.select();
  }
  try {
    await navigator.clipboard.writeText(command);
    say("copied: paste it into a terminal");
  } catch {
    say("copy the selected command (Ctrl-C)");
  }
}

/** The line of tools for one CCD: DS9, regions, full resolution, marks. */
function ccdTools(i, detail) {
  const names = Object.keys(detail.origins), name = chosenCcd(i, detail);
  if (name === null) return null;
  const regions = regionsOf(i, detail, name), marked = placesOf((labelOf(i, state.kind) || {}).places);
  const button = (id, text, title, click, more) => h("button", { type: "button", id, title, on: { click }, ...more }, text);
  return h("div", { class: "tools ccd-tools dim" },
    h("label", null, "CCD ", h("select", { id: "ccd-chosen", on: { change: (e) => { state.ccd = [i, e.target.value]; drawDetail(); } } }, names.map((one) => h("option", { value: one, selected: one === name }, one)))),
    openCcd ? button("full", "full resolution", "the CCD as the file has it, with pan, zoom and stretch (key b; or click a CCD)", () => openCcd(i, detail, name)) : null,
    button("ds9", "copy DS9 command", "the command that opens this CCD in DS9, to be pasted into a terminal (key 9)", copyDs9),
    regions ? button("regions", "save regions", "what was found on this CCD, and your marked places, as a region file of DS9", () => saveText(regions, regionName(i, name), "text/plain")) : null,
    button("marking", "mark places", "a click on a CCD marks a place of your label, a click on a mark takes it away (key p)", () => setMarking(!state.marking), { "aria-pressed": String(state.marking) }),
    marked.length ? h("span", null, `${many(marked.length, "place")} marked`) : null,
    h("input", { id: "ds9-command", readonly: true, hidden: true, "aria-label": "command for DS9", spellcheck: "false" }));
}
