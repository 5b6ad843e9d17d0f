/** The customer list: the banner while it is read, its history, its quarantine with the release, its pause. */

import { badge, learnWords } from "./badges.js";
import { announce, fill, foreign, h, table } from "./dom.js";
import { Poller } from "./polling.js";
import { get, post } from "./service.js";
import { mayBeSignedIn, watchSession } from "./session.js";
import { counted, duration, number, when } from "./times.js";

const WAITS_MS = { running: 5000, idle: 30_000, ...globalThis.innomaintPageWaitsMs };
/** A run shows its banner once it lasts longer than this. */
const BANNER_AFTER_MS = globalThis.innomaintBannerAfterMs ?? 2000;
/** How long the full count of a run that has ended stays, and the line about what changed. */
const FULL_MS = 1500;
const LINE_MS = 60_000;
const ITALIAN = new Intl.NumberFormat("it-IT", { useGrouping: "always" });
const WORDS = {
  succeeded_changed: "changed", succeeded_unchanged: "unchanged", rejected_by_guard: "rejected",
  failed: "failed", skipped: "nothing to read", cancelled: "cancelled",
};
const TONES = {
  succeeded_changed: "complete", succeeded_unchanged: "complete", rejected_by_guard: "failed",
  failed: "failed", skipped: "never", cancelled: "never",
};
const COUNTS = [["new", "nuovi"], ["updated", "aggiornati"], ["restored", "ripristinati"], ["missing", "mancanti"], ["deleted", "eliminati"]];
const place = document.getElementById("customers");
const banner = document.getElementById("customers-banner");
const seen = { runId: null, isFirst: true, line: null, lineUntil: 0, full: 0, fullUntil: 0, startedAt: 0, runningId: null, shownId: null };
let view = null;
let refusal = "";
let isAsking = false;
const poller = new Poller(look, () => (view?.status.inProgress || isAsking ? WAITS_MS.running : WAITS_MS.idle));

async function look() {
  if (!mayBeSignedIn()) {
    view = null;
  } else {
    try {
      await learnWords();
      const status = await get("/api/customers/sync/status");
      const [{ runs }, { quarantined }] = await Promise.all([get("/api/customers/sync/runs?limit=15"), get("/api/customers/quarantine")]);
      view = { status, runs, quarantined };
      notice(status, runs);
    } catch (error) {
      if (error.status === undefined) throw error;
      view = error.isUnreachable ? view : null;
    }
  }
  render();
}

/** Learn by its id of a run that has ended since the last look, however short it was. */
function notice({ inProgress, runId }, runs) {
  if (inProgress && seen.runningId !== runId) Object.assign(seen, { runningId: runId, startedAt: Date.now() });
  if (!inProgress) seen.runningId = null;
  const newest = runs.find(({ outcome }) => outcome !== null);
  if (!newest || newest.runId === seen.runId) return;
  const wasFirst = seen.isFirst;
  Object.assign(seen, { runId: newest.runId, isFirst: false });
  isAsking = false;
  if (seen.shownId === newest.runId && newest.outcome.startsWith("succeeded")) {
    Object.assign(seen, { full: newest.rows, fullUntil: Date.now() + FULL_MS });
    setTimeout(render, FULL_MS + 50);
  }
  if (wasFirst || newest.outcome !== "succeeded_changed") return;
  const counts = COUNTS.filter(([name]) => newest[name]).map(([name, word]) => `${ITALIAN.format(newest[name])} ${word}`);
  seen.line = `Clienti aggiornati: ${counts.join(", ")}.`;
  seen.lineUntil = Date.now() + LINE_MS;
  announce(seen.line);
}

function showBanner(status) {
  // One that is only asked for has no run yet.
  if (status?.inProgress && status.runId !== null) {
    const age = Date.now() - Math.min(Date.parse(status.startedAt), seen.startedAt);
    if (age > BANNER_AFTER_MS) {
      seen.shownId = status.runId;
      return fill(banner, describeRun(status));
    }
    setTimeout(render, BANNER_AFTER_MS - age + 50);
    return fill(banner);
  }
  if (Date.now() < seen.fullUntil) return fill(banner, describeRun({ current: seen.full, total: seen.full }));
  const isShown = seen.line !== null && Date.now() < seen.lineUntil;
  fill(banner, isShown && h("p", { class: "is-done", key: "line", lang: "it" }, seen.line));
}

function describeRun({ current, total }) {
  const counts = total === null ? `${ITALIAN.format(current)} clienti` : `${ITALIAN.format(current)} / ${ITALIAN.format(total)} clienti`;
  return h("p", { key: "running", lang: "it" }, `Aggiornamento automatico clienti in corso… ${counts}`,
    h("progress", { "aria-label": "Clienti", ...(total === null ? {} : { max: total, value: current }) }));
}

/** Show nothing where no list was ever read and nothing is under way. */
function isShown() {
  return view !== null && (view.status.status !== "idle" || view.quarantined.length > 0);
}

function render() {
  showBanner(view?.status);
  const isHidden = !isShown();
  if (place.hidden !== isHidden) place.hidden = isHidden;
  if (isHidden) return;
  fill(place, buildHead(view.status), refusal !== "" && h("p", { class: "warn", role: "alert", key: "refusal" }, refusal),
    buildQuarantine(view.quarantined), buildRuns(view.runs));
}

function buildHead(status) {
  const isPaused = status.health === "paused";
  return h("section", { class: "card", key: "head" },
    h("div", { class: "title-line" }, h("h2", { id: "customers-title" }, "Customers"),
      h("p", {}, h("span", { id: "customers-health" }, badge(status.health)), ` · ${counted(status.totalCustomersInDb, "customer")} · `,
        status.dataAgeSeconds === null ? "no list yet" : `the list is ${duration(status.dataAgeSeconds)} old`)),
    h("p", { class: "hint" }, foreign(status.message)),
    h("p", { class: "hint" }, `Every ${duration(status.intervalMinutes * 60)}; next look `, when(status.nextDueAt, "due", "not by itself"), "."),
    h("div", { class: "buttons" },
      h("button", { type: "button", class: "primary", id: "customers-sync", disabled: status.inProgress || isAsking, onclick: start }, "Sync now"),
      h("button", { type: "button", id: "customers-pause", onclick: () => ask(isPaused ? "/api/customers/resume" : "/api/customers/pause", {}, isPaused ? "The customer list is read by itself again." : "The customer list is paused.") },
        isPaused ? "Resume" : "Pause")));
}

async function start() {
  isAsking = true;
  render();
  await ask("/api/customers/sync", {}, "A run was asked for.");
  if (refusal !== "") isAsking = false;
  render();
}

async function ask(path, body, done) {
  refusal = "";
  try {
    await post(path, body);
    announce(done);
  } catch (error) {
    if (error.status === undefined) throw error;
    refusal = error.message;
  }
  await poller.soon();
}

function buildQuarantine(items) {
  if (items.length === 0) return null;
  return h("section", { class: "card", key: "quarantine", id: "customers-quarantine" },
    h("h3", {}, "Quarantine"),
    h("p", { class: "hint" }, "A list in quarantine has changed no customer. What a check found may be right all the same: then release the list, and say why."),
    items.map(buildItem));
}

function buildItem(item) {
  const name = item.sha256.slice(0, 12);
  return h("div", { class: "quarantined", key: item.sha256 },
    h("h4", {}, item.held ? `${counted(item.held, "removal")} waiting` : item.rows ? `List of ${counted(item.rows, "customer")}` : "List without a readable row", " exported ", when(item.exportedAt, "moment")),
    item.held > 0 && h("p", {}, "These customers are gone from two lists in a row, more than may be deleted unasked. Releasing deletes them."),
    item.held === 0 && item.failedChecks.map(({ check, message, whatToDo }) => h("div", { key: check },
      h("p", {}, h("strong", {}, check.replaceAll("_", " ")), ": ", foreign(message)),
      h("p", { class: "hint" }, `What to do: ${whatToDo}.`))),
    h("p", { class: "hint" }, "SHA-256 ", h("code", {}, item.sha256)),
    item.releasable
      ? h("form", { class: "release", onsubmit: (event) => release(event, item.sha256) },
        h("label", {}, "Reason", h("input", { name: "reason", id: `reason-${name}`, required: true, maxlength: 500, autocomplete: "off" })),
        h("button", { type: "submit", id: `release-${name}` }, item.held ? "Delete them" : "Release this list"))
      : h("p", { class: "warn" }, "Nobody can release this list: the file itself is wrong, or a newer list was accepted since. Export it again."));
}

function release(event, sha256) {
  event.preventDefault();
  const reason = event.target.elements.namedItem("reason").value;
  return ask("/api/customers/release", { sha256, reason }, "Released.");
}

function buildRuns(runs) {
  const count = (name) => (row) => (row[name] === null ? "–" : number(row[name]));
  return h("section", { class: "card", key: "runs", id: "customers-runs" }, h("h3", {}, "Runs"),
    table("Runs of the customer list", [
      { title: "began", cell: (row) => when(row.startedAt) },
      { title: "outcome", cell: (row) => h("span", {}, h("span", { class: `swatch tone-${TONES[row.outcome] ?? "running"}`, "aria-hidden": "true" }), " ", WORDS[row.outcome] ?? "under way") },
      { title: "by", cell: (row) => row.trigger },
      ...["rows", "new", "updated", "unchanged", "missing", "deleted", "restored"].map((name) => ({ title: name, cell: count(name), isNumber: true })),
      { title: "took", cell: (row) => (row.finishedAt ? duration((Date.parse(row.finishedAt) - Date.parse(row.startedAt)) / 1000) : "–"), isNumber: true },
      { title: "why", cell: (row) => (row.errorMessage ? foreign(row.errorMessage.split(". What to do")[0]) : "") },
    ], runs));
}

watchSession(() => poller.soon());
poller.start();
