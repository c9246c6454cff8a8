// The page: where it is, what it asks the worker for, and when. Short polls, one connection each; none while it is hidden.

import { count, duration, el, rate, setText, time } from "./text.js";
import { CURVE_BUCKETS, nextSort, SORTS, streamView, streamsView, workerView } from "./views.js";

const POLL_MS = 1000;
const WORKER_EVERY_MS = 2000;
const GIVE_UP_MS = 5000;
const SLOWEST_POLL_MS = 5000;
/** The loop publishes twice a second; a snapshot of this age means that it waits, or hangs. */
const OLD_S = 5;
const ROW_PX = { wide: 31, narrow: 58 };
const NARROW = matchMedia("(max-width: 720px)");

const main = document.getElementById("main");
const list = { search: "", sort: "-concurrent_viewers", offset: 0 };
let buckets = 60;
let view = null;
let timer = 0;
let asked = 0;
let failures = 0;
let lastAnswer = null;
let lastError = null;
let workerAnswer = null;
let workerAskedMs = -Infinity;

const streams = streamsView((change) => { Object.assign(list, change); go(); });
const stream = streamView((change) => { buckets = change.buckets; poll(); });
const worker = workerView();

/** Where the page is, from the fragment: the list with its search and order, a stream, or the worker. */
function place() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  if (path === "/worker") return { name: "worker", view: worker };
  if (path.startsWith("/streams/")) return { name: "stream", view: stream, id: decoded(path.slice("/streams/".length)) };
  const given = new URLSearchParams(query);
  list.search = given.get("search") ?? "";
  const sort = given.get("sort") ?? "";
  list.sort = SORTS.includes(sort.replace(/^-/, "")) ? sort : "-concurrent_viewers";
  list.offset = Math.max(0, Number.parseInt(given.get("offset") ?? "0", 10) || 0);
  return { name: "streams", view: streams };
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** The list with its search, order and place, so that a link leads back to it. */
function listUrl() {
  return `#/streams?${new URLSearchParams(Object.entries(list).filter(([, value]) => value))}`;
}

function go() {
  history.replaceState(null, "", listUrl());
  poll();
}

function clearSearch() {
  list.search = streams.search.value = "";
  go();
}

function show() {
  const at = place();
  if (view?.view !== at.view) {
    main.replaceChildren(at.view.root);
    scrollTo(0, 0);
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#/${at.name === "worker" ? "worker" : "streams"}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  view = at;
  if (at.name === "streams" && document.activeElement !== streams.search) streams.search.value = list.search;
  if (at.name === "worker" && workerAnswer) worker.update(workerAnswer);
  poll();
}

/** As many rows as the window shows, so that a worker with thousands of streams sends a screen of them. */
function rowsThatFit() {
  const row = NARROW.matches ? ROW_PX.narrow : ROW_PX.wide;
  return Math.max(10, Math.min(100, Math.floor((innerHeight - 230) / row)));
}

async function ask(path) {
  const answer = await fetch(`api/v1/${path}`, { signal: AbortSignal.timeout(GIVE_UP_MS), cache: "no-store" });
  if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Error(`It answered ${answer.status}.`);
  const content = await answer.json();
  if (!answer.ok && answer.status !== 404) throw new Error(content.error ?? `HTTP ${answer.status}`);
  return { content, found: answer.ok };
}

/** Ask for what is shown; an answer that comes after the next question is dropped. */
async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  const number = ++asked;
  const at = view;
  try {
    if (at.name === "worker" || performance.now() - workerAskedMs >= WORKER_EVERY_MS) {
      const { content } = await ask("worker");
      workerAskedMs = performance.now();
      workerAnswer = content;
      if (number === asked && at.name === "worker") worker.update(content);
    }
    const content = await update(at, number);
    if (number !== asked) return;
    failures = 0;
    lastAnswer = { at: Date.now(), content: content ?? workerAnswer };
    header(lastAnswer.content);
  } catch (error) {
    if (number !== asked) return;
    failures += 1;
    lastError = error;
  }
  state();
  timer = setTimeout(poll, Math.min(POLL_MS * (1 + failures), SLOWEST_POLL_MS));
}

async function update(at, number) {
  if (at.name === "streams") {
    const query = new URLSearchParams({ ...list, limit: rowsThatFit(), history: CURVE_BUCKETS });
    const { content } = await ask(`streams?${query}`);
    if (number === asked) streams.update(content);
    return content;
  }
  if (at.name === "stream") {
    const { content, found } = await ask(`streams/${encodeURIComponent(at.id)}?history=${buckets}`);
    if (number !== asked) return null;
    if (!found) stream.missing(at.id, content.error);
    else stream.update({ ...content, buckets }, buckets);
    return found ? content : null;
  }
  return null;
}

const totals = new Map(["Viewers", "Streams", "Events", "Summaries", "Lag", "Late", "Rejected"].map((name) => {
  const value = el("dd", { "data-name": name });
  document.getElementById("totals").append(el("div", {}, el("dt", {}, name), value));
  return [name, value];
}));

function header(content) {
  const { counters, rates_per_s: rates } = workerAnswer;
  const sum = (counter) => Object.values(counter).reduce((total, value) => total + value, 0);
  const texts = {
    Viewers: count(content.viewers),
    Streams: count(workerAnswer.streams),
    Events: rate(rates.events),
    Summaries: rate(rates.summaries),
    Lag: count(workerAnswer.lag_records),
    Late: count(sum(counters.late_events)),
    Rejected: count(sum(counters.rejects)),
  };
  for (const [name, text] of Object.entries(texts)) setText(totals.get(name), text);
  setText(document.getElementById("worker"), content.worker);
  document.title = `${content.worker} · viewer-consumer`;
  setText(document.getElementById("scope"), scopeOf(content.live_partitions, workerAnswer));
}

/** The page is of one worker, and says so. */
function scopeOf(live, { waiting_partitions: waiting, group_id: group, version }) {
  const owned = live.length ? `partition${live.length === 1 ? "" : "s"} ${live.join(", ")}` : "no live partition";
  const more = waiting.length ? ` (${waiting.length} more restoring or stopped)` : "";
  return `This worker alone: ${owned}${more} of group ${group}. Other workers of the group have pages of their own. Version ${version}.`;
}

/** What holds of the whole page: live, not ready, or stale. */
function state() {
  const pill = document.getElementById("state"), alert = document.getElementById("alert");
  const silentMs = lastAnswer ? Date.now() - lastAnswer.at : 0;
  const age = lastAnswer?.content.age_s;
  let word = "ready", text = "";
  if (failures) {
    word = "stale";
    text = lastAnswer
      ? `Stale: no answer from this worker for ${duration(silentMs)}. The figures are of ${time(lastAnswer.at)}.`
      : "No answer from this worker.";
    if (lastError?.name !== "TypeError" && lastError?.name !== "TimeoutError") text += ` ${lastError.message}`;
  } else if (age !== null && age > OLD_S) {
    word = "stale";
    text = `Stale: the worker's loop has published nothing for ${duration(age * 1000)}. ${workerAnswer.reason}`;
  } else if (!workerAnswer.ready) {
    word = workerAnswer.starting ? "starting" : "not ready";
    text = workerAnswer.starting ? `Starting: ${workerAnswer.starting}` : `Not ready. Missing: ${workerAnswer.missing.join(", ")}. ${workerAnswer.reason}`;
  }
  setText(pill, word);
  pill.className = `pill ${word.replace(" ", "-")}`;
  document.body.classList.toggle("stale", word === "stale");
  alert.hidden = !text;
  setText(alert, text);
}

const THEMES = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  setText(themeButton, theme);
  try { localStorage.setItem("theme", theme); } catch { /* private windows may refuse */ }
}

function storedTheme() {
  try { return THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto"; } catch { return "auto"; }
}

const nextTheme = () => setTheme(THEMES[(THEMES.indexOf(themeButton.textContent) + 1) % THEMES.length]);
const help = document.getElementById("keys");

function toList() {
  if (view.name === "streams") return;
  location.hash = listUrl();
  show();
}

const KEYS = {
  w: () => { location.hash = "#/worker"; },
  t: nextTheme,
  "?": () => (help.open ? help.close() : help.showModal()),
  "/": () => { toList(); streams.search.focus(); streams.search.select(); },
  Escape: () => (view.name === "streams" ? clearSearch() : toList()),
};
const LIST_KEYS = {
  j: () => streams.move(1), ArrowDown: () => streams.move(1), k: () => streams.move(-1), ArrowUp: () => streams.move(-1),
  Enter: () => streams.open(), "[": () => streams.turn(-1), "]": () => streams.turn(1),
  ...Object.fromEntries(SORTS.map((_, i) => [String(i + 1), () => { list.sort = nextSort(list.sort, i); list.offset = 0; go(); }])),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target === streams.search) {
    if (event.key === "Escape") { streams.search.blur(); clearSearch(); }
    if (event.key === "Enter" || event.key === "ArrowDown") { streams.search.blur(); streams.move(1); event.preventDefault(); }
    return;
  }
  if (event.target.closest("button, a, dialog") && event.key === "Enter") return;
  const action = KEYS[event.key] ?? (view.name === "streams" ? LIST_KEYS[event.key] : undefined);
  if (!action || (help.open && event.key === "Escape")) return;
  event.preventDefault();
  action();
});

setTheme(storedTheme());
themeButton.addEventListener("click", nextTheme);
document.getElementById("help").addEventListener("click", KEYS["?"]);
addEventListener("hashchange", show);
addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(poll, 200); });
document.addEventListener("visibilitychange", poll);
show();
