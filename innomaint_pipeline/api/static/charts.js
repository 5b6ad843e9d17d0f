/** Three charts over time, each with the same as a table. What they show they also say in a sentence. */

import { h, s, table } from "./dom.js";
import { clock, counted, duration, number, when } from "./times.js";

const HEIGHT = 170;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 52 };
const COLUMNS = 40;
const SPANS = [[1, "hour"], [6, "6 hours"], [24, "day"], [168, "week"], [720, "30 days"], [2160, "90 days"]];

/** `hours` is how far back from `end`; `width` the room for one chart in pixels. */
export function buildCharts(history, { hours, end, width, chooseHours }) {
  const frame = { start: end - hours * 3_600_000, end, width: Math.max(width, 240) };
  return h("section", { class: "card charts", key: "charts", "aria-labelledby": "charts-title" },
    h("div", { class: "title-line" },
      h("h2", { id: "charts-title" }, "Over time"),
      h("p", {}, h("label", { for: "hours" }, "The last "), h("select", { id: "hours", onchange: (event) => chooseHours(Number(event.target.value)) },
        SPANS.map(([value, word]) => h("option", { value, selected: value === hours }, word))))),
    h("div", { class: "three" },
      buildProgressChart(history, frame), buildChangesChart(history.runs, frame), buildDurationChart(history.runs, frame)));
}

function figure(name, title, sentence, drawing, listing, legend) {
  return h("figure", { key: name, id: `chart-${name}` },
    h("figcaption", {}, h("h3", {}, title), h("p", { class: "hint" }, sentence)),
    drawing, legend,
    listing && h("details", {}, h("summary", {}, "As a table"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${title}, as a table` }, listing)));
}

function svg({ width }, label, ...content) {
  return s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label, class: "chart" }, content);
}

function scales({ start, end, width }, highest) {
  const [inner, depth] = [width - MARGIN.left - MARGIN.right, HEIGHT - MARGIN.top - MARGIN.bottom];
  return {
    x: (at) => MARGIN.left + (inner * (at - start)) / (end - start),
    y: (value) => MARGIN.top + depth * (1 - value / highest),
    inner,
  };
}

/** Lines at round values, and the ends of the time axis. */
function axes(frame, highest, { x, y }, write) {
  const middle = (frame.start + frame.end) / 2;
  return [
    [0, highest / 2, highest].map((value) => [
      s("line", { class: "grid-line", x1: MARGIN.left, x2: frame.width - MARGIN.right, y1: y(value), y2: y(value) }),
      s("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, write(value)),
    ]),
    [[frame.start, "start"], frame.width > 420 ? [middle, "middle"] : null, [frame.end, "end"]].filter(Boolean).map(([at, anchor]) =>
      s("text", { x: x(at), y: HEIGHT - 6, "text-anchor": anchor }, anchor === "end" ? "now" : clock(new Date(at).toISOString()))),
  ];
}

/** The next count at or above that reads well as an axis' end, and half of which is whole. */
function roundUp(count) {
  if (count <= 2) return 2;
  const size = 10 ** Math.floor(Math.log10(count));
  return [1, 2, 4, 6, 8, 10].map((step) => step * size).find((end) => end >= count);
}

const HOUR = 3600;
/** Seconds that are a whole number of one unit, and half of which are, too. */
const ENDS = [2, 4, 10, 20, 30, 60, 120, 240, 600, 1200, 1800, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR, 24 * HOUR];

/** The next duration at or above that reads well as an axis' end. */
function roundUpSeconds(seconds) {
  return ENDS.find((end) => end >= seconds) ?? roundUp(seconds / (24 * HOUR)) * 24 * HOUR;
}

/** A whole duration in one unit, as on an axis. */
function inOneUnit(seconds) {
  const [size, unit] = [[24 * HOUR, "d"], [HOUR, "h"], [60, "min"], [1, "s"]].find(([length]) => seconds >= length) ?? [1, "s"];
  return `${number(seconds / size)} ${unit}`;
}

function nothing(what) {
  return h("p", { class: "empty" }, what);
}

function buildProgressChart({ progress, total_assets: total }, frame) {
  const points = progress.map(({ at, synced }) => ({ at: Date.parse(at), iso: at, synced }));
  const last = points.at(-1);
  if (!last || total === 0) return figure("progress", "Progress", "Nothing is synced yet.", nothing("no data"));
  const highest = roundUp(total);
  const scale = scales(frame, highest);
  const line = points.map(({ at, synced }) => `${scale.x(Math.max(at, frame.start)).toFixed(1)} ${scale.y(synced).toFixed(1)}`).join(" L ");
  const ends = [scale.x(Math.max(points[0].at, frame.start)), scale.x(last.at)];
  const sentence = `${number(last.synced)} of ${counted(total, "asset")} have been synced; ${number(last.synced - points[0].synced)} of them last in this time.`;
  return figure("progress", "Progress", sentence,
    svg(frame, `Assets synced over time. ${sentence}`,
      axes(frame, highest, scale, number),
      s("line", { class: "target", x1: MARGIN.left, x2: frame.width - MARGIN.right, y1: scale.y(total), y2: scale.y(total) }, s("title", {}, `all ${number(total)}`)),
      s("path", { class: "area", d: `M ${ends[0]} ${scale.y(0)} L ${line} L ${ends[1]} ${scale.y(0)} Z` }),
      s("path", { class: "stroke", d: `M ${line}` })),
    table("Assets synced over time", [
      { title: "At", cell: ({ iso }) => when(iso, "moment") },
      { title: "Synced", isNumber: true, cell: ({ synced }) => number(synced) },
    ], points));
}

const KINDS = [["unchanged", "unchanged"], ["changed", "changed"], ["failed", "failed"]];

/** Add up the runs of equal stretches of time; the stretches without a run are left out. */
function gather(runs, { start, end }) {
  const stretch = (end - start) / COLUMNS;
  const columns = new Map();
  for (const run of runs) {
    const place = Math.min(Math.max(Math.floor((Date.parse(run.synced_at) - start) / stretch), 0), COLUMNS - 1);
    const column = columns.get(place) ?? { at: start + place * stretch, until: start + (place + 1) * stretch, runs: 0, changed: 0, unchanged: 0, failed: 0 };
    column.runs += 1;
    for (const [kind] of KINDS) column[kind] += run[kind] ?? 0;
    columns.set(place, column);
  }
  return [...columns.values()].sort((one, other) => one.at - other.at);
}

function buildChangesChart(runs, frame) {
  const columns = gather(runs, frame);
  const sums = Object.fromEntries(KINDS.map(([kind]) => [kind, columns.reduce((sum, column) => sum + column[kind], 0)]));
  const sentence = KINDS.map(([kind, word]) => `${number(sums[kind])} ${word}`).join(", ") + ` in ${counted(runs.length, "batch run")}.`;
  if (columns.length === 0) return figure("changes", "Changed against unchanged", "No batch run has ended in this time.", nothing("no data"));
  const highest = roundUp(Math.max(...columns.map(({ changed, unchanged, failed }) => changed + unchanged + failed)));
  const scale = scales(frame, highest);
  const wide = scale.inner / COLUMNS - 2;
  return figure("changes", "Changed against unchanged", sentence,
    svg(frame, `Answers by outcome over time. ${sentence}`,
      axes(frame, highest, scale, number),
      columns.map((column) => {
        let below = 0;
        const words = `${clock(new Date(column.at).toISOString())}: ${KINDS.map(([kind, word]) => `${number(column[kind])} ${word}`).join(", ")}`;
        return s("g", {}, s("title", {}, words), KINDS.map(([kind]) => {
          const [from, to] = [below, (below += column[kind])];
          return column[kind] > 0 && s("rect", { class: `column ${kind}`, x: scale.x(column.at) + 1, width: wide, y: scale.y(to), height: Math.max(scale.y(from) - scale.y(to), 1) });
        }));
      })),
    table("Answers by outcome over time", [
      { title: "From", cell: ({ at }) => when(new Date(at).toISOString(), "moment") },
      ...KINDS.map(([kind, word]) => ({ title: word, isNumber: true, cell: (column) => number(column[kind]) })),
    ], columns),
    h("p", { class: "key" }, KINDS.map(([kind, word]) => [h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), ` ${word} `])));
}

function buildDurationChart(runs, frame) {
  const timed = runs.filter(({ duration_ms: ms }) => ms !== null);
  if (timed.length === 0) return figure("duration", "Duration of batch runs", "No batch run has ended in this time.", nothing("no data"));
  const seconds = timed.map(({ duration_ms: ms }) => ms / 1000);
  const sorted = [...seconds].sort((one, other) => one - other);
  const sentence = `Half of ${counted(timed.length, "batch run")} took ${duration(sorted[Math.floor(sorted.length / 2)])} or less; the longest ${duration(sorted.at(-1))}.`;
  const highest = roundUpSeconds(sorted.at(-1));
  const scale = scales(frame, highest);
  const good = new Set(["complete", "partial"]);
  return figure("duration", "Duration of batch runs", sentence,
    svg(frame, sentence,
      axes(frame, highest, scale, inOneUnit),
      timed.map((run, place) => mark(scale.x(Math.max(Date.parse(run.synced_at), frame.start)), scale.y(seconds[place]), good.has(run.status),
        `${run.batch_key}: ${run.status} after ${duration(seconds[place])}, ${clock(run.synced_at)}`))),
    table("Duration of batch runs", [
      { title: "Ended", cell: (run) => when(run.synced_at, "moment") },
      { title: "Batch", cell: (run) => run.batch_key },
      { title: "Outcome", cell: (run) => run.status },
      { title: "Took", isNumber: true, cell: (run) => duration(run.duration_ms / 1000) },
    ], timed.toReversed()),
    h("p", { class: "key" }, h("span", { class: "swatch dot", "aria-hidden": "true" }), " ended  ", h("span", { class: "cross-key", "aria-hidden": "true" }, "×"), " failed or cancelled"));
}

function mark(x, y, isGood, words) {
  return isGood
    ? s("circle", { class: "dot", cx: x, cy: y, r: 3 }, s("title", {}, words))
    : s("path", { class: "cross", d: `M ${x - 4} ${y - 4} l 8 8 m 0 -8 l -8 8` }, s("title", {}, words));
}
