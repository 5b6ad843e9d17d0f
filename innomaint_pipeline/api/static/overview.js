/** The top of the overview: how far, how well, how fast, and the buttons. */

import { RETRY_FAILED, SYNC_NOW, describeRequest, flightAt, flightsBeside, forget, isBusy, start } from "./actions.js";
import { badge, words } from "./badges.js";
import { fill, foreign, h } from "./dom.js";
import { assetsAddress } from "./routes.js";
import { ago, counted, duration, now, number, percent, range, when } from "./times.js";

const PARTS = [
  { name: "synced", field: "synced_assets", tone: "complete" },
  { name: "failed", field: "failed_assets", tone: "failed" },
  { name: "never", field: "never_synced", tone: "never" },
];

/** One bar that adds up, and the same as numbers and as a sentence. */
export function buildProgress({ status }) {
  const total = status.total_assets;
  const sentence = `${PARTS.map(({ name, field }) => `${number(status[field])} ${words.asset_states[name].word}`).join(" + ")} = ${counted(total, "asset")}`;
  return h("section", { class: "card progress", key: "progress", "aria-labelledby": "progress-title" },
    h("div", { class: "title-line" },
      h("h2", { id: "progress-title" }, "CMMS assets"),
      h("p", { class: "total" }, h("strong", { id: "total" }, number(total)), " in all")),
    h("div", { class: "bar", role: "img", "aria-label": sentence },
      PARTS.filter(({ field }) => status[field] > 0).map(({ name, field, tone }) =>
        h("span", { class: `part tone-${tone}`, key: name, vars: { "--share": String(status[field]) } }))),
    h("ul", { class: "parts" }, PARTS.map(({ name, field, tone }) => h("li", {},
      h("a", { href: assetsAddress({ state: name }), class: `part-link tone-${tone}` },
        h("span", { class: `swatch tone-${tone}`, "aria-hidden": "true" }),
        h("strong", { id: `count-${name}` }, number(status[field])), " ", words.asset_states[name].word, " ",
        h("span", { class: "hint" }, percent(status[field], total)))))),
    total === 0 && h("p", { class: "hint" }, "No asset is known yet: import the asset master with ", h("code", {}, "innomaint import"), "."));
}

export function buildPace({ status, eta, rate_limit_per_second: limit, rate_now_limit_per_second: nowLimit, running }) {
  const isSlowed = isBelow(nowLimit, limit);
  return h("section", { class: "card pace", key: "pace", "aria-labelledby": "pace-title" },
    h("h2", { id: "pace-title", class: "unseen" }, "Pace"),
    h("dl", { class: "facts" },
      fact("Rate now", "rate", h("strong", {}, `${status.rate_per_second.toFixed(1)} / s`),
        h("span", { class: "meter", "aria-hidden": "true" }, h("span", { vars: { "--share": String(limit ? Math.min(status.rate_per_second / limit, 1) : 0) } })),
        h("span", { class: isSlowed ? "warn" : "hint" }, describeLimit(limit, nowLimit))),
      fact("Time left", "time-left", h("strong", {}, describeTimeLeft(eta, running, status)),
        h("span", { class: "hint" }, running ? `${counted(running.total - running.done, "asset")} left to ask for` : describeNextDue(status.next_due_at))),
      fact("Last batch", "last-sync", h("strong", {}, when(status.last_sync_at)),
        h("span", { class: "hint" }, status.average_duration_ms === null ? "no batch has ended yet" : `${duration(status.average_duration_ms / 1000)} on average`)),
      fact("Batch runs", "runs", h("strong", {}, number(status.total_syncs)),
        h("span", { class: status.consecutive_failures ? "warn" : "hint" },
          status.consecutive_failures ? `the last ${counted(status.consecutive_failures, "run")} failed` : "none of the last failed"))));
}

export function fact(title, id, ...content) {
  return h("div", {}, h("dt", {}, title), h("dd", { id }, content));
}

/** Tell whether the allowed rate is really reduced: it comes rounded. */
function isBelow(nowLimit, limit) {
  return nowLimit < 0.99 * limit;
}

function describeLimit(limit, nowLimit) {
  if (!limit) return "no limit is set";
  return isBelow(nowLimit, limit)
    ? `slowed to ${nowLimit.toFixed(1)} / s after a 429, limit ${limit.toFixed(1)} / s`
    : `limit ${limit.toFixed(1)} / s`;
}

function describeNextDue(iso) {
  if (!iso) return "nothing is known to become due";
  return Date.parse(iso) <= now() ? ["due since ", when(iso, "clock")] : ["next due ", when(iso, "due")];
}

function describeTimeLeft(eta, running, { eta_seconds: seconds, health }) {
  if (eta) return range(eta.low_seconds, eta.high_seconds);
  if (running) return health === "down" ? "not known while it is down" : "not known yet";
  return seconds === 0 ? "nothing is due" : "no sync is running";
}

export function buildHealth({ health, is_paused: isPaused }) {
  return h("section", { class: "card health", key: "health", "aria-labelledby": "health-title" },
    h("h2", { id: "health-title" }, "Health"),
    h("p", { class: "health-word", id: "health" }, badge(health.word),
      health.since && h("span", { class: "hint" }, " since ", when(health.since, "clock"), ", ", when(health.since))),
    h("p", {}, health.reason),
    health.what_to_do && health.what_to_do !== "nothing" && h("p", { class: "advice" }, h("strong", {}, "What to do: "), health.what_to_do),
    isPaused && health.word !== "paused" && h("p", { class: "warn" }, "Continuous sync is paused."));
}

/** `settings` tells what became of the last change of a setting: `{isBusy, isWrong, message}`. */
export function buildControls({ status, is_paused: isPaused, requests }, { settings, pause, saveInterval }) {
  const retryable = Object.entries(status.failed_by_class).reduce((sum, [name, count]) => sum + (words.error_classes[name]?.is_retryable ? count : 0), 0);
  return h("section", { class: "card controls", key: "controls", "aria-labelledby": "controls-title" },
    h("h2", { id: "controls-title" }, "Actions"),
    h("div", { class: "buttons" },
      button(SYNC_NOW, "Sync now", { class: "primary", title: "Ask for every asset that is due" }),
      button(RETRY_FAILED, `Retry failed (${number(retryable)})`, { disabled: retryable === 0, title: "Ask again for the failures that are worth it, due or not" }),
      h("button", { type: "button", id: "pause", "aria-disabled": settings.isBusy && "true", onclick: () => settings.isBusy || pause(!isPaused), title: isPaused ? "Let continuous sync go on" : "Let continuous sync launch nothing; runs under way end as usual" },
        isPaused ? "Resume" : "Pause")),
    h("form", { class: "interval", id: "interval-form", onsubmit: (event) => saveInterval(event) },
      h("label", { for: "interval" }, "Refresh every"),
      h("span", { class: "together" },
        h("input", { id: "interval", name: "interval", type: "number", min: 5, max: 1440, step: 1, required: true, inputmode: "numeric", value: status.refresh_minutes, "aria-describedby": "interval-help" }),
        h("span", { "aria-hidden": "true" }, "min"),
        h("button", { type: "submit", "aria-disabled": settings.isBusy && "true" }, "Save")),
      h("p", { id: "interval-help", class: "hint" }, `5 to 1440 minutes; now ${duration(status.refresh_minutes * 60)}.`)),
    settings.message && h("p", { class: settings.isWrong ? "wrong" : "hint", id: "settings-message", role: "status" }, settings.message),
    buildRequests(requests));
}

/**
 * A button that starts work: disabled while the same is under way. It is marked as disabled instead of being so,
 * because a disabled button drops the keyboard's focus.
 */
export function button(action, label, { disabled = false, ...attributes } = {}) {
  const isOff = disabled || isBusy(action);
  return h("button", {
    type: "button", key: action.key, "data-action": action.key, "aria-disabled": isOff && "true",
    onclick: () => isOff || start(action), ...attributes,
  }, label);
}

/** Offer a press again that the service has not heard. */
export function buildOffer(flight) {
  return flight.state === "kept" && h("p", { class: "buttons" },
    h("button", { type: "button", class: "again", onclick: () => start(flight) }, "Ask now"),
    h("button", { type: "button", class: "quiet", onclick: () => forget(flight.key) }, "Forget it"));
}

/** What became of a press, beside its button. */
export function buildOutcome(flight, id) {
  return flight && h("div", { class: "outcome", id }, h("p", {}, badge(flight.state), " ", foreign(flight.text)), buildOffer(flight));
}

function buildRequests(requests) {
  const own = flightsBeside(requests);
  if (requests.length + own.length === 0) return null;
  return [h("h3", { key: "requests-title" }, "Asked for"), h("ul", { class: "requests", id: "requests", key: "requests" },
    own.map((flight) => h("li", { key: `own:${flight.key}` }, badge(flight.state), " ", foreign(flight.label, "what"), flight.text && h("p", { class: "hint" }, flight.text), buildOffer(flight))),
    requests.map((request) => [request, flightAt(request.address)]).map(([request, flight]) => h("li", { key: request.address },
      badge(flight?.state ?? request.state), " ", foreign(flight?.label ?? request.what, "what"),
      h("p", {}, flight?.text ?? describeRequest(request)),
      h("p", { class: "hint" }, request.asked_by && ["by ", foreign(request.asked_by), ", "], when(request.asked_at)))))];
}

/**
 * The banner while a sync runs. The numbers change at each poll and are not spoken; what is spoken changes with every
 * tenth of the way.
 */
export function showBanner(place, running) {
  if (!running) return fill(place);
  const { done, total, batches, since } = running;
  const where = batches.length ? ` in ${counted(batches.length, "batch")}` : "";
  const tenths = total ? Math.floor((10 * done) / total) * 10 : 0;
  return fill(place, h("div", { class: "banner" },
    h("div", { role: "status", "aria-live": "polite", "aria-atomic": "true" },
      h("span", { class: "unseen" }, `A sync is running${where}: ${tenths} per cent done.`),
      h("p", { "aria-hidden": "true" },
        h("span", { class: "spin" }, "↻"), " Syncing: ", h("strong", {}, `${number(done)} of ${number(total)}`),
        " asked for", where, since && [", started ", h("span", {}, when(since))], !batches.length && "; the next batch is about to start")),
    h("progress", { max: total || 1, value: done, "aria-label": `${number(done)} of ${counted(total, "asset")} asked for` }),
    h("p", { class: "banner-batches" }, batches.map(({ batch_key: key, state, done: batchDone, total: batchTotal, run_url: url, started_by: by }) =>
      h("span", { key, title: by ? `started by ${by}` : null }, url ? h("a", { href: url, target: "_blank", rel: "noopener" }, foreign(key)) : foreign(key), state === "waiting" ? " waiting" : ` ${number(batchDone)}/${number(batchTotal)}`)))));
}

/** Say since when the service is away and how old the numbers are. */
export function describeTrouble({ message, since, isUnreachable }, generatedAt) {
  const age = generatedAt ? ` The numbers below are from ${ago(generatedAt)}.` : "";
  return isUnreachable
    ? [h("strong", {}, "The service cannot be reached"), " since ", when(since, "clock"), `.${age} Trying again by itself; is `, h("code", {}, "innomaint up"), " running?"]
    : [h("strong", {}, "The service answers with an error"), " since ", when(since, "clock"), `: ${message.replace(/\.?$/, ".")}${age} Trying again by itself.`];
}
