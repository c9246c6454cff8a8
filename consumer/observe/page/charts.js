// Small curves of a list, and the charts of a stream: SVG drawn from columns of closed buckets.

import { el, setText, time } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const round = (number) => Math.round(number * 10) / 10;

/** Points of a line; it breaks where buckets are missing. A single bucket is a short dash. */
function linePath(starts, values, bucketMs, x, y) {
  let path = "";
  let before = null;
  starts.forEach((start, i) => {
    if (values[i] === null) return;
    const joined = before !== null && start - before === bucketMs;
    path += `${joined ? "L" : "M"}${round(x(start))} ${round(y(values[i]))}`;
    if (!joined) path += "h.1";
    before = start;
  });
  return path;
}

/** The area between two columns, closed at each gap. */
function bandPath(starts, lower, upper, bucketMs, x, y) {
  let path = "";
  for (let first = 0, i = 1; i <= starts.length; i++) {
    if (i < starts.length && starts[i] - starts[i - 1] === bucketMs) continue;
    const run = Array.from({ length: i - first }, (_, k) => first + k);
    const point = (k, column) => `${round(x(starts[k]))} ${round(y(column[k]))}`;
    path += `M${[...run.map((k) => point(k, upper)), ...run.reverse().map((k) => point(k, lower))].join("L")}Z`;
    first = i;
  }
  return path;
}

/** One rectangle a value, from `bases` on; with a `sign` of -1 below the line of zero. */
function barsPath(starts, values, width, x, y, sign = 1, bases = null) {
  let path = "";
  starts.forEach((start, i) => {
    if (!values[i]) return;
    const base = bases ? bases[i] : 0;
    const from = round(y(sign * base)), to = round(y(sign * (base + values[i])));
    path += `M${round(x(start) - width / 2)} ${from}V${to}h${round(width)}V${from}Z`;
  });
  return path;
}

/** A small curve without axes; `update` redraws it where its numbers have changed. */
export function sparkline(kind, width = 96, height = 22) {
  const path = svg("path", { class: `spark ${kind}` });
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none", "aria-hidden": "true" }, path);
  let drawn = "";
  return {
    root,
    /** From `end - buckets × bucketMs` to `end`; `most` is the value at the top. */
    update(starts, values, bucketMs, end, buckets, most) {
      const x = (start) => ((start - end) / bucketMs + buckets - 0.5) * (width / buckets);
      const y = (value) => height - 1 - (value / (most || 1)) * (height - 3);
      const d = kind === "stall" ? barsPath(starts, values, (width / buckets) * 0.7, x, y) : linePath(starts, values, bucketMs, x, y);
      if (d !== drawn) path.setAttribute("d", (drawn = d));
    },
  };
}

const LEFT = 76, RIGHT = 10, TOP = 8, BOTTOM = 20, HEIGHT = 150;

/** A round number at or above a value, for the top of an axis. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value) || 1;
}

/**
 * A chart with axes. The line below its title has the figures of the newest bucket, or of the one pointed at.
 * @param title what it shows
 * @param series [{ name, kind: "line" | "bars" | "down" | "band", tone, column, lower, below }]; a band lies between two
 *   columns, and bars may be put below those of another column
 * @param format text of a value
 */
export function chart(title, series, format) {
  const readout = el("span", { class: "readout" });
  const plot = el("div", { class: "plot" });
  const root = el("figure", {}, el("figcaption", {}, el("b", {}, title), readout), plot);
  let shown = null;
  let drawn = "";

  function say(place) {
    const { columns } = shown;
    if (!columns.bucket_start_ms.length) return setText(readout, "no closed bucket yet");
    const figures = series.flatMap(({ name, column, lower }) => {
      const value = columns[column][place];
      return lower ? [`${name} ${format(columns[lower][place])} to ${format(value)}`] : [`${name} ${format(value)}`];
    });
    setText(readout, `${time(columns.bucket_start_ms[place])}  ${figures.join("  ")}`);
  }

  function draw(width) {
    const { columns, bucketMs } = shown;
    const starts = columns.bucket_start_ms;
    const values = ({ column, below }) => (below ? columns[column].map((value, i) => value + columns[below][i]) : columns[column]);
    const sides = (down) => series.filter((one) => (one.kind === "down") === down).flatMap(values);
    const top = roundUp(Math.max(0, ...sides(false)));
    const low = series.some((one) => one.kind === "down") ? -roundUp(Math.max(0, ...sides(true))) : 0;
    const first = starts[0], last = starts[starts.length - 1];
    const step = (width - LEFT - RIGHT) / ((last - first) / bucketMs + 1);
    const x = (start) => LEFT + ((start - first) / bucketMs + 0.5) * step;
    const y = (value) => TOP + ((top - value) / (top - low)) * (HEIGHT - TOP - BOTTOM);
    const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": title });
    for (const value of low ? [top, 0, low] : [top, top / 2, 0]) {
      root.append(
        svg("path", { class: value ? "grid" : "zero", d: `M${LEFT} ${round(y(value))}H${width - RIGHT}` }),
        svg("text", { class: "axis", x: LEFT - 6, y: round(y(value)) + 4, "text-anchor": "end" }, value ? format(Math.abs(value)) : "0"),
      );
    }
    const labels = Math.max(1, Math.min(starts.length, Math.floor((width - LEFT) / 110)));
    for (let i = 0; i < labels; i++) {
      const start = first + Math.round((((last - first) / bucketMs) * (i + 0.5)) / labels) * bucketMs;
      root.append(svg("text", { class: "axis", x: round(x(start)), y: HEIGHT - 5, "text-anchor": "middle" }, time(start)));
    }
    for (const { kind, tone, column, lower, below } of series) {
      let d;
      if (kind === "line") d = linePath(starts, columns[column], bucketMs, x, y);
      else if (kind === "band") d = bandPath(starts, columns[lower], columns[column], bucketMs, x, y);
      else d = barsPath(starts, columns[column], Math.max(1, step * 0.7), x, y, kind === "down" ? -1 : 1, columns[below]);
      root.append(svg("path", { class: `${kind} ${tone}`, d }));
    }
    const cursor = svg("path", { class: "cursor", d: "" });
    root.append(cursor);
    root.addEventListener("pointermove", (event) => {
      const at = first + ((event.offsetX - LEFT) / step - 0.5) * bucketMs;
      let place = 0;
      starts.forEach((start, i) => { if (Math.abs(start - at) < Math.abs(starts[place] - at)) place = i; });
      cursor.setAttribute("d", `M${round(x(starts[place]))} ${TOP}V${HEIGHT - BOTTOM}`);
      say(place);
    });
    root.addEventListener("pointerleave", () => { cursor.setAttribute("d", ""); say(starts.length - 1); });
    plot.replaceChildren(root);
  }

  return {
    root,
    update(columns, bucketMs) {
      const starts = columns.bucket_start_ms;
      const width = Math.max(260, plot.clientWidth);
      const drawing = `${starts.length} ${starts[0]} ${starts[starts.length - 1]} ${width}`;
      if (drawing === drawn) return;
      drawn = drawing;
      shown = { columns, bucketMs };
      say(starts.length - 1);
      if (starts.length) draw(width); else plot.replaceChildren();
    },
  };
}
