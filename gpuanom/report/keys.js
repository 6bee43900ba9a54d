// Views, keys, and the start of the page.

function setView(view) {
  state.view = view;
  for (const name of ["list", "sheet", "dataset", "night"]) $(`view-${name}`).setAttribute("aria-pressed", String(name === view));
  $("list").hidden = $("detail").hidden = view !== "list";
  $("sheet").hidden = view !== "sheet";
  $("dataset").hidden = view !== "dataset";
  $("course").hidden = view !== "night";
  document.querySelector("main").classList.toggle("wide", view !== "list");
  if (view === "list") drawHead(); // its columns depend on the room, which a hidden list does not have
  showCurrent(true);
}

/** Draw the current view; `all` when more than the selection has changed. */
function showCurrent(all) {
  if (state.view === "list") {
    const place = state.rows.indexOf(state.now);
    if (place >= 0) reveal(place);
    drawRows();
    drawDetail();
  } else if (state.view === "sheet") {
    if (all) drawSheet();
    for (const cell of $("sheet").querySelectorAll(".cell")) {
      const now = Number(cell.dataset.i) === state.now;
      cell.setAttribute("aria-selected", String(now));
      if (now) {
        cell.scrollIntoView({ block: "nearest" });
        $("sheet").setAttribute("aria-activedescendant", cell.id);
      }
    }
  } else if (state.view === "dataset") drawDataset();
  else drawNight();
}

function refreshLabels() {
  tellSaved();
  showCurrent(true);
}

function tellSaved() {
  $("save").textContent = given.size ? `Save ${many(given.size, "label")}` : "Save labels";
}

/** The list with or without its scores. */
function drawScores() {
  $("scores").setAttribute("aria-pressed", String(state.scores));
  drawHead();
  drawRows();
}

const HELP = [
  ["j k, arrows", "next and previous exposure"],
  ["PageUp PageDown, Home End", "ten further, first, last"],
  ["1 2 3", "prominent, dubious, normal; the same key again removes the label"],
  ["0", "remove the label"],
  ["x", "label the sources or the background"],
  [Object.keys(REASON_KEYS).join(" "), `reason: ${Object.values(REASON_KEYS).join(", ")}`],
  ["n", "next exposure without a label of this kind"],
  ["+", "go to the next exposure after each label, or stay"],
  ["w", "save your labels as CSV"],
  ["/", "search"],
  ["v", "next view: exposures, contact sheet, dataset, night"],
  ["z", "enlarge the picture"],
  ["i m", "show or hide the outlines of CCDs, whiskers"],
  ["h", "show or hide what was found: stripes, trails, places of a glow or an edge, repeated images"],
  ["p", "mark places by clicks on the picture, or stop; marks belong to the label"],
  ["9", "copy the command that opens the chosen CCD in DS9"],
  ["b", "the chosen CCD at full resolution, where the page is served (gpuanom report --serve)"],
  ["u", "take the usual ellipticity of each CCD off the whiskers, or not"],
  ["l", "show or hide the scores in the list"],
  ["a", "show or hide labels of other analysts"],
  ["Tab, Space", "go to the next button, field or part of the page; scroll the part that was gone to"],
  ["?", "this help"],
];

function showHelp() {
  const references = { saved: "a saved reference", flat: "flat histograms" };
  const reference = references[NIGHT.settings.reference] || "the mean of the dataset";
  const shapes = Object.values(VERDICTS).map(({ shape, about: words }) => h("li", null, h("span", { class: `verdict ${words.split(":")[0]}` }, shape), ` ${words}`));
  const words = `Each exposure is compared with ${reference}. `
    + "The deviation tells how far an exposure is from the other exposures; z and p tell how far it is from counting noise alone, and real exposures always differ by more than counting noise. "
    + "The picture is smoothed and binned, with the levels of zscale; where the levels of CCDs differ by more than their contrast, the median of each CCD is subtracted. Stripes run perpendicular to the background's preferred direction. "
    + `A whisker lies along the mean orientation of the stars of a cell; the length is their mean ellipticity, (a\u00b2 - b\u00b2)/(a\u00b2 + b\u00b2), and the bar in the corner tells how long which ellipticity is. Whiskers shorter than ${SIGNIFICANT} of their errors are not drawn. `
    + "Under each verdict, \u201cwhat this means\u201d tells what one sees, what usually makes it and what to do; the documentation has a picture of each cause (docs/what-the-picture-means.md). "
    + "Labels stay in this browser until you save them.";
  $("help").replaceChildren(h("h2", null, "Keys"), h("table", { "aria-label": "keys" }, HELP.map(([keys, text]) => h("tr", null, h("td", null, h("kbd", null, keys)), h("td", null, text)))),
    JUDGED ? h("ul", { class: "shapes" }, shapes) : "", h("p", null, words), h("p", { class: "dim" }, `gpuanom ${NIGHT.version}, made ${NIGHT.made} from ${NIGHT.folder}`),
    h("button", { type: "button", on: { click: () => $("help").close() } }, "Close"));
  $("help").showModal();
  $("help").scrollTop = 0; // the browser scrolls to the first button, which is the last thing in the dialog
}

const across = () => {
  const cells = [...$("sheet").querySelectorAll(".cell")];
  const second = cells.findIndex((cell) => cell.offsetTop > cells[0].offsetTop);
  return second > 0 ? second : cells.length || 1;
};

function stepRows(by) {
  step(state.view === "sheet" ? by * across() : by);
}

const KEYS = {
  j: () => step(1), k: () => step(-1), ArrowDown: () => stepRows(1), ArrowUp: () => stepRows(-1),
  ArrowRight: () => step(1), ArrowLeft: () => step(-1), PageDown: () => step(10), PageUp: () => step(-10),
  Home: () => step(-N), End: () => step(N),
  1: () => mark("prominent"), 2: () => mark("dubious"), 3: () => mark("normal"), 0: () => setLabel(state.now, state.kind, null),
  x: () => { setKind(state.kind === "source" ? "background" : "source"); say(`labels are about the ${state.kind}`); showCurrent(true); },
  l: () => { state.scores = !state.scores; drawScores(); },
  n: nextUnlabelled, w: saveLabels, "/": () => { $("search").focus(); $("search").select(); },
  v: () => setView({ list: "sheet", sheet: "dataset", dataset: "night", night: "list" }[state.view]),
  Enter: () => { if (state.view !== "list") setView("list"); },
  z: enlarge, i: () => { state.outlines = !state.outlines; drawDetail(); }, m: () => { state.whiskers = !state.whiskers; drawDetail(); },
  h: () => { state.found = !state.found; drawDetail(); },
  u: () => { state.usual = !state.usual; drawDetail(); },
  p: () => setMarking(!state.marking), 9: copyDs9, b: fullResolution,
  a: () => { state.others = !state.others; drawDetail(); },
  "+": () => { state.advance = !state.advance; say(state.advance ? "goes on after each label" : "stays after each label"); },
  "?": showHelp, Escape: () => $("plane")?.classList.remove("large"),
};
for (const [key, reason] of Object.entries(REASON_KEYS)) KEYS[key] = () => setReason(reason);

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (typing) {
    if (event.key === "Escape" || event.key === "Enter") {
      typing.blur();
      if (typing.id === "search" && state.view === "list") $("list-scroll").focus();
    }
    return;
  }
  const pressed = event.target.closest("button, a, summary, label") && (event.key === "Enter" || event.key === " ");
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || pressed) return;
  const action = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (action) {
    event.preventDefault();
    action();
  }
});

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => h("option", { value }, text)));
}

function begin() {
  const pairs = new Map(Array.from({ length: N }, (_, i) => [`${COLUMNS.camera[i]}\n${COLUMNS.band[i]}`, `${COLUMNS.camera[i]} ${COLUMNS.band[i]}`]));
  options($("f-dataset"), [["", "all bands"], ...[...pairs].sort()]);
  options($("f-status"), [["", "any status"], ...[...new Set(COLUMNS.status)].sort().map((v) => [v, v])]);
  options($("f-label"), [["", "labelled or not"], ["none", "without your label"], ["any", "with your label"], ...NIGHT.grades.map((g) => [g, `labelled ${g}`])]);
  const counted = (verdict) => COLUMNS.verdict.filter((v) => (v || "none") === verdict).length;
  if (JUDGED) {
    const named = ["bad", "check", "ok", "none"].map((verdict) => [verdict, `${looksOf(verdict).shape} ${verdict === "none" ? "no verdict" : verdict} (${counted(verdict)})`]);
    options($("f-verdict"), [["", "any verdict"], ["bad check", `bad or check (${counted("bad") + counted("check")})`], ...named]);
    options($("f-cause"), [["", "any cause"], ...causesOfNight().map(([cause, n]) => [cause, `${cause} (${n})`]), [NO_CAUSE, "no cause named"]]);
  }
  $("f-verdict").hidden = $("f-cause").hidden = !JUDGED;
  state.scores = !JUDGED || window.innerWidth >= 1600;
  $("scores").hidden = !JUDGED;
  $("scores").addEventListener("click", KEYS.l);
  options($("measure"), Object.entries(MEASURES).map(([name]) => [name, name]));
  for (const option of $("measure").options) option.title = MEASURES[option.value];
  const judged = JUDGED ? `: ${["bad", "check", "ok"].map((verdict) => `${counted(verdict)} ${verdict}`).join(", ")}` : "";
  $("night-about").textContent = `${many(N, "exposure")}${judged}${NIGHT.unmeasured ? `; ${NIGHT.unmeasured} not measured yet, since a run was ended early` : ""}`;
  $("night-about").title = `${PICTURED.size} with pictures`;
  recall();
  for (const id of ["f-dataset", "f-status", "f-verdict", "f-cause", "f-label", "f-picture"]) $(id).addEventListener("change", filterAndSort);
  for (const id of ["search", "least"]) $(id).addEventListener("input", filterAndSort);
  $("measure").addEventListener("change", () => {
    state.measure = $("measure").value;
    if (SCORES.includes(state.sort)) state.down = DOWNWARDS[state.measure];
    filterAndSort();
  });
  $("analyst").addEventListener("change", remember);
  $("save").addEventListener("click", saveLabels);
  $("load-open").addEventListener("click", () => $("load").click());
  $("load").addEventListener("change", (e) => { if (e.target.files[0]) loadLabels(e.target.files[0]); e.target.value = ""; });
  $("help-open").addEventListener("click", showHelp);
  $("list-scroll").addEventListener("scroll", drawRows);
  window.addEventListener("resize", () => { if (state.view === "list") { drawHead(); drawRows(); } });
  for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => setView(button.dataset.view));
  if (!NIGHT.reload || !recallPage()) {
    filterAndSort();
    drawScores();
    setView(NIGHT.reload ? "night" : "list");
  }
  tellSaved();
  startReloading();
  document.documentElement.dataset.ready = "yes";
}
begin();
