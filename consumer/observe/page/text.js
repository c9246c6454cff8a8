// Elements and texts. Whatever comes from a worker becomes text, never markup.

/** An element with attributes and children; strings become text. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set a text only if it differs, so that nothing is laid out again for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const NONE = "–";

/** A whole number with all its digits. */
export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

/** A number that may have a fraction. */
export function average(value) {
  return value === null || value === undefined ? NONE : tenths.format(value);
}

export function rate(perSecond) {
  if (perSecond === undefined) return NONE;
  return `${(perSecond < 100 ? tenths : whole).format(perSecond)}/s`;
}

/** A bitrate in the unit that suits it. */
export function bitrate(bps) {
  if (bps === null || bps === undefined) return NONE;
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(2)} Mbit/s`;
  return `${(bps / 1e3).toFixed(bps >= 1e4 || !bps ? 0 : 1)} kbit/s`;
}

/** Two bitrates in the unit of the larger one. */
export function bitrateRange(least, most) {
  return most >= 1e6 ? `${(least / 1e6).toFixed(2)} – ${bitrate(most)}` : `${bitrate(least)} – ${bitrate(most)}`;
}

/** A duration in milliseconds, as people say it. */
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${tenths.format(ms / 1000)} s`;
  if (ms < 3_600_000) return parts(Math.floor(ms / 1000), 60, "min", "s");
  if (ms < 48 * 3_600_000) return parts(Math.floor(ms / 60_000), 60, "h", "min");
  return `${whole.format(ms / 86_400_000)} days`;
}

function parts(number, inOne, large, small) {
  const rest = number % inOne;
  return `${Math.floor(number / inOne)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

export function bytes(size) {
  return size < 1 << 20 ? `${whole.format(size / 1024)} KiB` : `${whole.format(size / (1 << 20))} MiB`;
}

/** Local time of day. */
export function time(ms) {
  return ms === null || ms === undefined ? NONE : clock.format(new Date(ms));
}

/** The whole time, for a tooltip. Times may lie outside what a date can be. */
export function utc(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}
