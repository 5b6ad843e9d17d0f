/** Numbers, durations and moments in words. Ages are taken by the service's clock, not the viewer's. */

import { h } from "./dom.js";

const LOCALE = "en-GB";
const NUMBER = new Intl.NumberFormat(LOCALE);
const MOMENT = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const CLOCK = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "long" });
const DAY_AND_CLOCK = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const DAY_SECONDS = 86_400;

let skewMs = 0;

/** Learn the service's clock from its answer. */
export function setClock(iso) {
  skewMs = Date.parse(iso) - Date.now();
}

export function now() {
  return Date.now() + skewMs;
}

export function number(value) {
  return NUMBER.format(value);
}

/** Count with a noun: "1 asset", "2 assets". */
export function counted(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : noun.endsWith("ch") ? "es" : "s"}`;
}

/** A share in per cent that says 0 and 100 only where nothing or everything is meant. */
export function percent(part, total) {
  if (!total) return "–";
  const share = (100 * part) / total;
  if (part > 0 && share < 0.1) return "< 0.1 %";
  if (part < total && share > 99.9) return "> 99.9 %";
  return `${share.toFixed(share === 0 || share === 100 ? 0 : 1)} %`;
}

/** A duration in at most two units. */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (seconds > 0 && seconds < 0.1) return "< 0.1 s";
  if (whole < 10 && seconds !== whole) return `${seconds.toFixed(1)} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole, 60, "min", 1, "s");
  if (whole < 2 * DAY_SECONDS) return pair(whole, 3600, "h", 60, "min");
  return pair(whole, DAY_SECONDS, "days", 3600, "h");
}

function pair(seconds, big, bigName, small, smallName) {
  let units = Math.floor(seconds / big);
  let rest = Math.round((seconds % big) / small);
  if (rest * small >= big) [units, rest] = [units + 1, 0];
  return rest ? `${units} ${bigName} ${rest} ${smallName}` : `${units} ${bigName}`;
}

/** A duration in one unit, for what is only estimated or long ago. */
function roughly(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 2 * DAY_SECONDS) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / DAY_SECONDS)} days`;
}

/** The time left as a range: "6 to 8 min", "about 3 min" where both ends round to the same. */
export function range(low, high) {
  const [from, to] = [roughly(low), roughly(high)];
  if (from === to) return `about ${to}`;
  const [fromNumber, fromUnit] = from.split(" ");
  return to.endsWith(` ${fromUnit}`) ? `${fromNumber} to ${to}` : `${from} to ${to}`;
}

export function ago(iso) {
  const seconds = (now() - Date.parse(iso)) / 1000;
  if (seconds < -1) return `in ${roughly(-seconds)}`;
  return seconds < 2 ? "just now" : `${roughly(seconds)} ago`;
}

export function moment(iso) {
  return MOMENT.format(Date.parse(iso));
}

export function clock(iso) {
  const at = Date.parse(iso);
  return Math.abs(now() - at) < DAY_SECONDS * 1000 / 2 ? CLOCK.format(at) : DAY_AND_CLOCK.format(at);
}

export function day(iso) {
  const text = DAY.format(Date.parse(iso));
  return text === DAY.format(now()) ? `today at ${CLOCK.format(Date.parse(iso))}` : text;
}

/** Show a text that is a moment, as the service writes it, in the viewer's zone; null for any other text. */
export function asMoment(text) {
  return /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)) ? when(text, "moment") : null;
}

/** When something is due: one that is waits for its turn only. */
function due(iso) {
  return Date.parse(iso) > now() ? ago(iso) : "now";
}

const SHAPES = { ago, clock, day, due, moment };

/** A moment as an element: in words, with the absolute time in the viewer's zone beneath. */
export function when(iso, shape = "ago", absent = "never") {
  if (!iso) return absent;
  return h("time", { datetime: iso, title: moment(iso), "data-shape": shape }, SHAPES[shape](iso));
}

/** Bring every age on the page up to date. */
export function refreshAges() {
  for (const element of document.querySelectorAll("time[data-shape]")) {
    const text = SHAPES[element.dataset.shape](element.dateTime);
    if (element.textContent !== text) element.textContent = text;
  }
}
