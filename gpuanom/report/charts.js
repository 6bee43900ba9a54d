// Frames of charts: axes with round numbers, times and decades.

const DASHES = ["", "6 3", "2 2", "8 3 2 3", "1 3"];
const HUES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

function ticks(low, high, n) {
  const raw = (high - low) / n || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return found;
}

/** Ticks at whole minutes, hours or days between two times. */
function timeTicks(low, high) {
  const minute = 60e3, hour = 60 * minute, day = 24 * hour;
  const step = [minute, 2 * minute, 5 * minute, 10 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 5 * day,
    10 * day, 30 * day, 100 * day, 365 * day, 730 * day, 1825 * day].find((s) => (high - low) / s <= 6) || 3650 * day;
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) found.push([v, step < day]);
  return found.map(([v, short]) => {
    const text = new Date(v).toISOString();
    return [v, short && text.slice(11, 16) !== "00:00" ? text.slice(11, 16) : text.slice(0, 10)];
  });
}

/** Ticks at round numbers on a logarithmic axis. */
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const m of high - low > 3 ? [1] : high - low > 0.7 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]) {
      const v = power + LOG(m);
      if (v >= low && v <= high) found.push([v, String(+(10 ** v).toPrecision(3))]);
    }
  }
  return found.length > 2 ? found : ticks(10 ** low, 10 ** high, 5).filter((v) => v > 0).map((v) => [LOG(v), String(+v.toPrecision(6))]);
}

const LOG = (v) => Math.log10(v);
function frame(xs, ys, { xText, yText, xLog, date, label }) {
  const W = 520, H = 230, left = 48, bottom = 34, top = 8, right = 8;
  const spread = (values, alone) => {
    let low = Infinity, high = -Infinity;
    for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
    if (!(low <= high)) return [0, 1];
    const margin = 0.04 * (high - low) || alone;
    return [low - margin, high + margin];
  };
  const [x0, x1] = spread(xs, date ? 1500e3 : 0.5), [y0, y1] = spread(ys, 0.5);
  const x = (v) => left + ((v - x0) / (x1 - x0)) * (W - left - right), y = (v) => H - bottom - ((v - y0) / (y1 - y0)) * (H - bottom - top);
  const marks = date ? timeTicks(x0, x1) : xLog ? logTicks(x0, x1) : ticks(x0, x1, 6).map((v) => [v, String(+v.toPrecision(6))]);
  // Ticks of one day show hours only: the day is then told once.
  const day = date && xs.length && !marks.some(([, text]) => text.includes("-")) ? `, ${new Date(x0).toISOString().slice(0, 10)}` : "";
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${label || yText} against ${xText}${day}` });
  for (const [v, text] of marks) {
    chart.append(svg("line", { class: "axis", x1: x(v), x2: x(v), y1: top, y2: H - bottom }), svg("text", { x: x(v), y: H - bottom + 13, "text-anchor": "middle" }, text));
  }
  for (const v of ticks(y0, y1, 5)) {
    chart.append(svg("line", { class: "axis", x1: left, x2: W - right, y1: y(v), y2: y(v) }), svg("text", { x: left - 4, y: y(v) + 3, "text-anchor": "end" }, String(+v.toPrecision(6))));
  }
  chart.append(svg("text", { x: (W + left) / 2, y: H - 4, "text-anchor": "middle" }, `${xText}${day}`),
    svg("text", { x: 0, y: 0, transform: `translate(10 ${H / 2 - 10}) rotate(-90)`, "text-anchor": "middle" }, yText));
  return { chart, x, y, x0, x1 };
}
