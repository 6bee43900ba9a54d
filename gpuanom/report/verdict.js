// The verdict: its shape, its colour and its words. A shape and a word always go with the colour.

const VERDICTS = {
  bad: { shape: "\u2716", word: "bad", about: "bad: chance alone would hardly make a normal exposure look like this" },
  check: { shape: "\u25b2", word: "check", about: "check: unusual, or a pattern on one CCD alone" },
  ok: { shape: "\u25cf", word: "ok", about: "ok: nothing stands out" },
};
const NO_VERDICT = { shape: "\u25cb", word: "none", about: "no verdict" };
const HAS_VERDICTS = COLUMNS.verdict !== undefined;
const JUDGED = HAS_VERDICTS && COLUMNS.verdict.some((verdict) => verdict !== "");
const verdictOf = (i) => (HAS_VERDICTS ? COLUMNS.verdict[i] : "");
const looksOf = (verdict) => (Object.hasOwn(VERDICTS, verdict) ? VERDICTS[verdict] : NO_VERDICT);

function badge(verdict) {
  const { shape, word, about: title } = looksOf(verdict);
  return h("span", { class: `verdict ${Object.hasOwn(VERDICTS, verdict) ? verdict : "none"}`, title }, h("span", { "aria-hidden": "true" }, shape), ` ${word}`);
}

/** What is wrong with an exposure, in words: the cause, or what its status says. */
function wrong(i) {
  const status = COLUMNS.status[i], cause = HAS_VERDICTS ? COLUMNS.cause[i] : "";
  return [cause, status === "ok" || status === "alone" ? "" : `status ${status.replaceAll("_", " ")}`].filter(Boolean).join("; ");
}

/** The name of a statistic as words: "stripe_power_3_worst_ccd" is "power of stripes (band 3 of periods) of the worst CCD". */
function inWords(name) {
  const base = name.replace(/_(worst|typical)_ccd$/, ""), [, band] = /^stripe_power_(\d+)$/.exec(base) || [];
  const words = band ? `power of stripes (band ${band} of periods)` : Object.hasOwn(NIGHT.outlines, base) ? NIGHT.outlines[base]
    : base.replace(/_kl$/, " KL").replace(/_vector$/, " mean vector").replaceAll("_", " ");
  return words + (name.endsWith("_worst_ccd") ? " of the worst CCD" : name.endsWith("_typical_ccd") ? " of a typical CCD" : "");
}

/** What an exposure opens at: what its verdict is about, and the number of the CCDs that shows it. */
function openAt(i) {
  const trigger = i >= 0 ? NIGHT.triggers[i] : null;
  if (trigger) [state.kind, state.outline] = trigger;
  const scales = i >= 0 ? NIGHT.scales[COLUMNS.camera[i]] : {};
  if (!trigger || !Object.hasOwn(scales, state.outline)) state.outline = state.kind === "background" ? "background_z" : "source_alignment";
}

/** The verdict on an exposure in full sentences. */
function verdictBox(i, detail) {
  if (!HAS_VERDICTS) return null;
  const verdict = verdictOf(i), { word } = looksOf(verdict), cause = COLUMNS.cause[i];
  if (!verdict) return h("div", { class: "judged none", role: "group", "aria-label": "no verdict" }, badge(""), h("span", { class: "words" }, cause || "not judged: no verdict on an exposure that was not measured"));
  const facts = [`evidence ${number(COLUMNS.evidence[i], "z")}`];
  if (COLUMNS.score[i]) facts.push(`${inWords(COLUMNS.score[i])} stands out most: ${number(COLUMNS.deviation[i], "z")} robust standard deviations from what is expected`);
  const ccds = detail ? Object.entries(detail.verdicts).filter(([, [v]]) => v === "bad" || v === "check").map(([name]) => name) : [];
  const all = detail ? detail.ccds.length : 0;
  if (ccds.length) facts.push(ccds.length === all ? `all ${many(all, "CCD")} affected` : `${ccds.length} of ${many(all, "CCD")} affected: ${ccds.slice(0, 8).join(", ")}${ccds.length > 8 ? " \u2026" : ""}`);
  return h("div", { class: `judged ${verdict}`, role: "group", "aria-label": `verdict ${word}` }, badge(verdict),
    h("span", { class: "words" }, cause || "nothing stands out"), h("span", { class: "dim", title: meaning("evidence") }, facts.join("; ")), explained(i));
}

/** What the causes mean, folded away until it is asked for; it stays open from one exposure to the next. */
function explained(i) {
  const causes = NIGHT.causes[i].filter((cause) => Object.hasOwn(NIGHT.explained, cause));
  if (!causes.length) return null;
  const parts = causes.map((cause) => {
    const [sees, makes, advice] = NIGHT.explained[cause];
    return h("dl", null, [[causes.length > 1 ? `${cause}: what one sees` : "what one sees", sees], ["what usually makes it", makes], ["what to do", advice]].map(([name, words]) => [h("dt", null, name), h("dd", null, words)]));
  });
  return h("details", { class: "explained", open: state.explained, on: { toggle: (event) => { state.explained = event.target.open; } } }, h("summary", null, "what this means"), parts);
}

/** What keeping an exposure that is not ok would do to a measurement of shear, and what dropping it would lose. */
function impactBox(i) {
  const found = Object.hasOwn(NIGHT.impacts, i) ? NIGHT.impacts[i] : null;
  if (!found) return null;
  const percent = (share) => (share === null ? "-" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`), of = (v) => v.toFixed(4);
  const e = found.e1 === null ? null : Math.hypot(found.e1, found.e2), sure = e !== null && e >= 3 * found.error;
  const facts = e === null ? [["if kept: ellipticity left", "unknown", "fewer than 20 exposures of this kind have stars to tell what is usual"]] : [
    ["if kept: ellipticity left", `${of(e)} \u00b1 ${of(found.error)}${sure ? "" : " (not significant)"}`, `mean ellipticity of the stars after the usual one of each CCD: e1 ${of(found.e1)}, e2 ${of(found.e2)}`],
    ["if kept: shear, PSF ignored", of(found.shear), "half of that ellipticity"],
    ["if kept: bias, PSF modelled", found.bias.toPrecision(2), `the additive bias: a leakage of ${NIGHT.leakage} times that shear (gpuanom report --leakage)`],
  ];
  facts.push(["sources on affected CCDs", percent(found.affected), "the share of its sources that lie on CCDs whose verdict is bad or check"],
    ["if dropped: sources lost", percent(found.lost), `the share of the sources of ${COLUMNS.camera[i]} ${COLUMNS.band[i]} that are in this exposure`]);
  return h("dl", { class: "impact", "aria-label": "if it were kept, or dropped" }, facts.map(([name, value, title]) => h("div", { title }, h("dt", null, name), h("dd", null, value))));
}

const NO_CAUSE = "none named";
function causesOfNight() {
  const counts = new Map();
  NIGHT.causes.forEach((causes) => causes.forEach((cause) => counts.set(cause, (counts.get(cause) || 0) + 1)));
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}
