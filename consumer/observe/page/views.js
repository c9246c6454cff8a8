// What the page shows: the list of streams, one stream, the worker. Each view keeps its elements and updates their texts.

import { chart, sparkline } from "./charts.js";
import { NONE, average, bitrate, bitrateRange, bytes, count, duration, el, rate, setText, time, utc } from "./text.js";

export const CURVE_BUCKETS = 30;

/** Columns of the list: title, what to sort by, text, and the small curve behind it. */
const COLUMNS = [
  { title: "Stream", sort: "stream_id", up: true },
  { title: "Viewers", sort: "concurrent_viewers", name: "viewers", text: (one) => count(one.concurrent_viewers), curve: "viewers" },
  { title: "Peak", sort: "window_peak_concurrent_viewers", name: "peak", text: (one) => count(one.window_peak_concurrent_viewers) },
  {
    title: "Bitrate", sort: "window_bitrate_avg_bps", name: "bitrate", curve: "bitrate",
    text: (one) => (one.window_bitrate_samples ? bitrate(one.window_bitrate_avg_bps) : NONE),
  },
  {
    title: "Stalls", sort: "window_stall_ms", name: "stalls", curve: "stall",
    text: (one) => (one.window_buffer_events ? `${count(one.window_buffer_events)} · ${duration(one.window_stall_ms)}` : "0"),
  },
  { title: "Last closed", sort: "last_closed_bucket_start_ms", name: "closed", text: (one) => time(one.last_closed_bucket_start_ms) },
];

const CURVE_COLUMNS = { viewers: "peak_concurrent_viewers", bitrate: "avg_bitrate_bps", stall: "buffer_stall_ms" };

export const SORTS = COLUMNS.map((column) => column.sort);

/** The other order of a column that is sorted by already, else the usual one. */
export function nextSort(now, place) {
  const { sort, up } = COLUMNS[place];
  const usual = up ? sort : `-${sort}`;
  if (now !== usual) return usual;
  return up ? `-${sort}` : sort;
}

export const streamUrl = (id) => `#/streams/${encodeURIComponent(id)}`;

/** Where a curve ends: with those of all, so that gaps show; a stream of a partition far behind has its own end. */
function endOf(starts, { end, bucketMs }) {
  const own = (starts.at(-1) ?? end - bucketMs) + bucketMs;
  return end - own < CURVE_BUCKETS * bucketMs ? end : own;
}

/** One row of the list, used again for whichever stream is in its place. */
function streamRow() {
  const link = el("a");
  const cells = COLUMNS.slice(1).map((column) => {
    const text = el("span", { "data-name": column.name });
    const curve = column.curve && sparkline(column.curve);
    return { column, text, curve, root: el("td", { class: column.name }, curve?.root, text) };
  });
  const root = el("tr", {}, el("td", { class: "stream" }, link), ...cells.map((cell) => cell.root));
  return {
    root,
    update(one, axis) {
      if (root.dataset.stream !== one.stream_id) {
        root.dataset.stream = one.stream_id;
        link.href = streamUrl(one.stream_id);
        link.title = one.stream_id;
        setText(link, one.stream_id || "(empty id)");
      }
      for (const { column, text, curve } of cells) {
        setText(text, column.text(one));
        if (!curve) continue;
        const { bucket_start_ms: starts, [CURVE_COLUMNS[column.curve]]: values } = one.history;
        const most = column.curve === "stall" ? axis.stall : Math.max(...values, 0);
        curve.update(starts, values, axis.bucketMs, endOf(starts, axis), CURVE_BUCKETS, most);
      }
    },
  };
}

/** The list. `change` is called with what the user asks for: { search }, { sort } or { offset }. */
export function streamsView(change) {
  const search = el("input", {
    type: "search", placeholder: "Search streams", "aria-label": "Search streams", spellcheck: "false", autocomplete: "off",
    oninput: () => change({ search: search.value, offset: 0 }),
  });
  const matched = el("span", { class: "dim matched", "aria-live": "polite" });
  const before = el("button", { type: "button", title: "Previous page ([)", "aria-label": "Previous page", onclick: () => turn(-1) }, "‹");
  const after = el("button", { type: "button", title: "Next page (])", "aria-label": "Next page", onclick: () => turn(1) }, "›");
  const heads = COLUMNS.map((column, place) =>
    el("th", { scope: "col", class: column.name ?? "stream" },
      el("button", { type: "button", title: `Sort (${place + 1})`, onclick: () => change({ sort: nextSort(sort, place), offset: 0 }) }, column.title)));
  const body = el("tbody");
  const note = el("p", { class: "dim note" });
  const rows = [];
  let sort = "", chosen = -1, shown = null;

  function turn(pages) {
    if (!shown) return;
    const offset = shown.offset + pages * shown.limit;
    if (offset >= 0 && offset < shown.matched) change({ offset });
  }

  function choose(place) {
    rows[chosen]?.root.classList.remove("chosen");
    chosen = Math.max(0, Math.min(place, body.children.length - 1));
    rows[chosen]?.root.classList.add("chosen");
    rows[chosen]?.root.scrollIntoView({ block: "nearest" });
  }

  return {
    root: el("section", { class: "streams" },
      el("div", { class: "tools" }, search, matched, el("span", { class: "pages" }, before, after)),
      el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body), note),
    search, turn,
    move: (steps) => choose(chosen + steps),
    open: () => { if (rows[chosen]?.root.isConnected) location.hash = streamUrl(rows[chosen].root.dataset.stream); },
    update(answer) {
      shown = answer;
      if (document.activeElement !== search && search.value !== answer.search) search.value = answer.search;
      sort = answer.sort;
      heads.forEach((head, place) => {
        const by = COLUMNS[place].sort;
        const order = sort === by ? "ascending" : sort === `-${by}` ? "descending" : null;
        if (order) head.setAttribute("aria-sort", order); else head.removeAttribute("aria-sort");
      });
      const last = Math.min(answer.offset + answer.streams.length, answer.matched);
      setText(matched, answer.matched ? `${count(answer.streams.length ? answer.offset + 1 : 0)}–${count(last)} of ${count(answer.matched)}` : "none");
      before.disabled = answer.offset === 0;
      after.disabled = last >= answer.matched;
      while (rows.length < answer.streams.length) rows.push(streamRow());
      const newest = Math.max(...answer.streams.map((one) => one.history.bucket_start_ms.at(-1) ?? -Infinity));
      const axis = {
        bucketMs: answer.bucket_ms,
        end: newest + answer.bucket_ms,
        stall: Math.max(1000, ...answer.streams.flatMap((one) => one.history.buffer_stall_ms)),
      };
      answer.streams.forEach((one, place) => {
        rows[place].update(one, axis);
        if (rows[place].root.parentNode !== body) body.append(rows[place].root);
      });
      while (body.children.length > answer.streams.length) body.lastChild.remove();
      setText(note, noteOf(answer));
    },
  };
}

function noteOf(answer) {
  if (!answer.total) return answer.live_partitions.length ? "No stream has sent an event yet." : "This worker has no live partition now.";
  if (!answer.matched) return "No stream of this worker matches.";
  const left = answer.left_out ? ` ${count(answer.left_out)} smaller streams are not listed (http.max_stream_series).` : "";
  return `Curves: the last ${CURVE_BUCKETS} closed buckets of ${duration(answer.bucket_ms)}, as published.${left}`;
}

/** Figures by name, as a grid of small tiles. */
function tiles(names) {
  const values = new Map(names.map((name) => [name, el("dd", { "data-name": name })]));
  return {
    root: el("dl", { class: "tiles" }, ...names.map((name) => el("div", {}, el("dt", {}, name), values.get(name)))),
    update(texts) { for (const [name, text] of Object.entries(texts)) setText(values.get(name), text); },
  };
}

const RANGES = [60, 360, 1000];

/** One stream. `change` is called with { buckets }. */
export function streamView(change) {
  const title = el("h1");
  const where = el("p", { class: "dim" });
  const ranges = RANGES.map((buckets) => el("button", { type: "button", onclick: () => change({ buckets }) }));
  const live = tiles(["Viewers", "Window peak", "Bitrate average", "Bitrate range", "Stalls", "Stall time"]);
  const place = el("div", { class: "charts" });
  const table = el("tbody");
  const heads = ["Bucket", "Peak", "Average", "Joins", "Leaves", "Timeouts", "Bitrate", "Stalls", "Stall time", "Closed by"];
  let charts = null, last = "";

  function draw(answer) {
    const columns = recent(answer);
    charts ??= chartsOf(columns);
    if (!place.children.length) place.append(...charts.map((one) => one.root));
    for (const one of charts) one.update(columns, answer.bucket_ms);
    const newest = `${answer.stream_id} ${columns.bucket_start_ms.length} ${columns.bucket_start_ms.at(-1)}`;
    if (newest !== last) table.replaceChildren(...bucketRows(columns));
    last = newest;
  }

  return {
    root: el("section", { class: "one" },
      el("div", { class: "heading" }, title, el("span", { class: "ranges" }, ...ranges)), where, live.root, place,
      el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))), table))),
    update(answer, buckets) {
      setText(title, answer.full_stream_id || "(empty id)");
      setText(where, whereOf(answer));
      ranges.forEach((button, i) => {
        setText(button, duration(RANGES[i] * answer.bucket_ms));
        button.setAttribute("aria-pressed", String(RANGES[i] === buckets));
      });
      live.update(liveOf(answer.live));
      draw(answer);
    },
    missing(id, text) {
      setText(title, id);
      setText(where, text);
      live.update(liveOf(null));
      place.replaceChildren();
      table.replaceChildren();
      charts = null;
    },
  };
}

/** Columns without what is older than the range: one old bucket would squeeze all others. */
function recent(answer) {
  const { history } = answer;
  const end = history.bucket_start_ms.at(-1);
  const first = history.bucket_start_ms.findIndex((start) => start > end - answer.buckets * answer.bucket_ms);
  return Object.fromEntries(Object.entries(history).map(([name, column]) => [name, column && column.slice(Math.max(0, first))]));
}

function chartsOf(columns) {
  const sessions = columns.avg_concurrent_viewers !== null;
  const viewers = [{ name: "peak", kind: "line", tone: "viewers", column: "peak_concurrent_viewers" }];
  if (sessions) viewers.push({ name: "average", kind: "line", tone: "second", column: "avg_concurrent_viewers" });
  const moves = [
    { name: "joins", kind: "bars", tone: "good", column: "joins" },
    { name: "leaves", kind: "down", tone: "viewers", column: "leaves" },
  ];
  if (sessions) moves.push({ name: "timeouts", kind: "down", tone: "second", column: "timeouts", below: "leaves" });
  return [
    chart("Viewers", viewers, average),
    chart("Joins and leaves", moves, count),
    chart("Bitrate", [
      { name: "range", kind: "band", tone: "bitrate", column: "max_bitrate_bps", lower: "min_bitrate_bps" },
      { name: "average", kind: "line", tone: "bitrate", column: "avg_bitrate_bps" },
    ], bitrate),
    chart("Stall time", [{ name: "stalled", kind: "bars", tone: "bad", column: "buffer_stall_ms" }], duration),
  ];
}

const LISTED_BUCKETS = 30;

function bucketRows(columns) {
  const places = columns.bucket_start_ms.map((_, i) => i).slice(-LISTED_BUCKETS).reverse();
  const at = (name, i, text) => (columns[name] === null ? NONE : text(columns[name][i]));
  return places.map((i) => el("tr", { "data-start": columns.bucket_start_ms[i] },
    el("td", { title: utc(columns.bucket_start_ms[i]) }, time(columns.bucket_start_ms[i])),
    el("td", {}, at("peak_concurrent_viewers", i, count)),
    el("td", {}, at("avg_concurrent_viewers", i, average)),
    el("td", {}, at("joins", i, count)),
    el("td", {}, at("leaves", i, count)),
    el("td", {}, at("timeouts", i, count)),
    el("td", {}, columns.bitrate_sample_count[i] ? bitrate(columns.avg_bitrate_bps[i]) : NONE),
    el("td", {}, at("buffer_event_count", i, count)),
    el("td", {}, at("buffer_stall_ms", i, duration)),
    el("td", { class: "dim" }, columns.close_reason[i].toLowerCase().replaceAll("_", " "))));
}

function liveOf(live) {
  if (!live) return Object.fromEntries(["Viewers", "Window peak", "Bitrate average", "Bitrate range", "Stalls", "Stall time"].map((name) => [name, NONE]));
  const sampled = live.window_bitrate_samples > 0;
  return {
    Viewers: count(live.concurrent_viewers),
    "Window peak": count(live.window_peak_concurrent_viewers),
    "Bitrate average": sampled ? bitrate(live.window_bitrate_avg_bps) : NONE,
    "Bitrate range": sampled ? bitrateRange(live.window_bitrate_min_bps, live.window_bitrate_max_bps) : NONE,
    Stalls: count(live.window_buffer_events),
    "Stall time": duration(live.window_stall_ms),
  };
}

function whereOf(answer) {
  const parts = answer.live ? `Partition ${answer.live.partitions.join(", ")}.` : "No live figures: the stream ended, or it is not among the largest.";
  const number = answer.history.bucket_start_ms.length;
  const since = answer.history_since_ms === null ? "" : ` This worker has had the partition since ${time(answer.history_since_ms)}; its closed buckets begin then.`;
  return `${parts} ${count(number)} closed ${number === 1 ? "bucket" : "buckets"} of ${duration(answer.bucket_ms)}, as published.${since}`;
}

const PARTITION_COLUMNS = [
  ["Partition", (one) => String(one.partition)],
  ["Lag", (one) => count(one.lag_records)],
  ["Time lag", (one) => (one.time_lag_s === null ? NONE : duration(one.time_lag_s * 1000))],
  ["Held", (one) => count(one.held_records)],
  ["Viewers", (one) => count(one.viewers)],
  ["Streams", (one) => count(one.streams)],
  ["Buckets", (one) => count(one.buckets)],
  ["State", (one) => bytes(one.state_bytes)],
  ["Checkpoint", (one) => `${duration(one.checkpoint_age_s * 1000)} ago`],
  ["History since", (one) => time(one.history_since_ms)],
];

/** Counters by label, in the order of the page. */
const COUNTERS = [
  ["Events", "events"],
  ["Late, dropped", "late_events"],
  ["Rejected", "rejects"],
  ["Samples that are no number, skipped", "skipped_samples"],
  ["Summaries by close reason", "summaries"],
  ["Aborted transactions", "aborts"],
  ["Rebalances", "rebalances"],
];

/** The worker. */
export function workerView() {
  const ready = el("p", { class: "conditions" });
  const work = tiles(["Events", "Summaries", "Commits", "Late", "Rejected", "Last commit", "Pending output", "Open transaction"]);
  const partitions = el("tbody");
  const counters = el("div", { class: "counters" });
  const about = el("dl", { class: "about" });
  return {
    root: el("section", { class: "worker" }, ready, work.root,
      el("h2", {}, "Partitions of this worker"),
      el("div", { class: "wide" }, el("table", { class: "partitions" }, el("thead", {}, el("tr", {}, ...PARTITION_COLUMNS.map(([head]) => el("th", { scope: "col" }, head)))), partitions)),
      el("h2", {}, "Counted since this worker started"), counters,
      el("h2", {}, "About"), about),
    update(answer) {
      setText(ready, answer.ready ? "Ready: all conditions hold." : `Not ready. Missing: ${answer.missing.join(", ")}. ${answer.reason}`);
      ready.classList.toggle("bad", !answer.ready);
      work.update(workOf(answer));
      partitions.replaceChildren(
        ...answer.partitions.map((one) => el("tr", { "data-partition": one.partition }, ...PARTITION_COLUMNS.map(([, text]) => el("td", {}, text(one))))),
        ...answer.waiting_partitions.map((number) => el("tr", { "data-partition": number, class: "waiting" },
          el("td", {}, String(number)), el("td", { colspan: PARTITION_COLUMNS.length - 1 }, "restoring, or stopped: see the reason above"))),
      );
      counters.replaceChildren(...COUNTERS.map(([title, name]) => counterTable(title, name, answer.counters[name])));
      about.replaceChildren(
        ...aboutOf(answer).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
        el("dt", {}, "Metrics"), el("dd", {}, el("a", { href: "metrics" }, "/metrics")),
      );
    },
  };
}

function workOf({ output, rates_per_s: rates, counters, now_ms }) {
  const sum = (counter) => Object.values(counter).reduce((total, value) => total + value, 0);
  return {
    Events: rate(rates.events),
    Summaries: rate(rates.summaries),
    Commits: count(counters.commits),
    Late: count(sum(counters.late_events)),
    Rejected: count(sum(counters.rejects)),
    "Last commit": output.last_commit_ms === null ? NONE : `${duration(Math.max(0, now_ms - output.last_commit_ms))} ago`,
    "Pending output": count(output.pending_records),
    "Open transaction": output.open_transaction_s ? duration(output.open_transaction_s * 1000) : "none",
  };
}

/** Labels that have counted, the largest first; `data-label` has the label as metrics have it. */
function counterTable(title, name, byLabel) {
  const counted = Object.entries(byLabel).filter(([, value]) => value).sort((one, other) => other[1] - one[1]);
  const rows = counted.map(([label, value]) => el("tr", { "data-label": label }, el("td", {}, label.toLowerCase().replaceAll("_", " ").trim()), el("td", {}, count(value))));
  const none = el("tr", {}, el("td", { class: "dim" }, "none"));
  return el("table", { "data-counter": name }, el("caption", {}, title), el("tbody", {}, ...(rows.length ? rows : [none])));
}

function aboutOf(answer) {
  return [
    ["Version", `${answer.version}, librdkafka ${answer.librdkafka}`],
    ["Group", answer.group_id],
    ["Topics", `${answer.input_topic} → ${answer.output_topic}; rejected records → ${answer.dead_letter_topic}`],
    ["Buckets", `${duration(answer.bucket_ms)}, grace ${duration(answer.grace_ms)}, window ${duration(answer.window_duration_ms)}, counting by ${answer.counting}`],
    ["History", `${count(answer.history.buckets)} closed buckets in memory, at most ${count(answer.history.limit)}`],
  ];
}
