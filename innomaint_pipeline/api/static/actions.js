/** What the buttons start, and what became of it. */

import { announce } from "./dom.js";
import { get, post } from "./service.js";
import { number } from "./times.js";

const OPEN_STATES = new Set(["sending", "waiting", "running"]);
const SYNC = "/api/admin/cmms/sync";

export const SYNC_NOW = { key: "sync-now", label: "Sync now", path: `${SYNC}?due=true` };
export const RETRY_FAILED = { key: "retry-failed", label: "Retry failed", path: `${SYNC}/retry-failed` };

export function syncBatch(key) {
  return { key: `batch:${key}`, label: `Sync batch ${key}`, path: `${SYNC}/batches/${encodeURIComponent(key)}` };
}

export function syncAsset(id) {
  // It is answered when it is done: after all attempts, at the worst.
  return { key: `asset:${id}`, label: `Sync ${id}`, path: `${SYNC}/${encodeURIComponent(id)}`, timeoutMs: 120_000 };
}

/** The latest of each action since the page was opened, by its key. */
const flights = new Map();
let onChange = () => {};

/** Be told when an outcome changes. */
export function watchActions(callback) {
  onChange = callback;
}

export function flightOf(action) {
  return flights.get(action.key) ?? null;
}

export function isBusy(action) {
  return OPEN_STATES.has(flights.get(action.key)?.state);
}

export function hasOpenFlights() {
  return [...flights.values()].some(({ state }) => OPEN_STATES.has(state));
}

/** Return the actions of this page that the service's own list of requests does not show. */
export function flightsBeside(requests) {
  const known = new Set(requests.map(({ address }) => address));
  return [...flights.values()].filter(({ address, state }) => !known.has(address) && state !== "done");
}

/** Return what this page knows of a request that it asked for itself: more than the list tells. */
export function flightAt(address) {
  return [...flights.values()].find((flight) => flight.address === address) ?? null;
}

/** Ask for work. */
export async function start(action) {
  if (isBusy(action)) return;
  note(action, { state: "sending", text: "asking…" });
  try {
    const answer = await post(action.path, {}, action.timeoutMs);
    if (answer?.address) note(action, { address: answer.address, state: "waiting", text: "asked for, waiting for a run" });
    else note(action, { state: "done", text: describeResult(answer) });
  } catch (error) {
    // A press that nobody has heard is not lost: it is offered again.
    if (error.isUnreachable) note(action, { state: "kept", text: "The service cannot be reached. It is kept, and offered again when the service is back." });
    else note(action, { state: "failed", text: error.message });
  }
}

/** Forget a press that was kept, or what became of another. */
export function forget(key) {
  flights.delete(key);
  onChange();
}

/** The service is back: what was said of its absence goes, what was kept is offered. */
export function offerKept() {
  for (const flight of flights.values()) if (flight.state === "kept") flight.text = "";
}

/** Look at what is still open. */
export async function followFlights() {
  const open = [...flights.values()].filter(({ state, address }) => address && OPEN_STATES.has(state));
  await Promise.all(open.map(async (flight) => {
    try {
      const request = await get(flight.address);
      note(flight, { ...flight, state: request.state, text: describeRequest(request) });
    } catch (error) {
      // A service that is away for a moment has not forgotten the request.
      if (error.status === 404) note(flight, { ...flight, state: "failed", text: error.message });
    }
  }));
}

function note(action, outcome) {
  const before = flights.get(action.key);
  flights.set(action.key, { ...action, ...outcome });
  const hasEnded = !OPEN_STATES.has(outcome.state) && OPEN_STATES.has(before?.state);
  if (hasEnded) announce(`${action.label}: ${outcome.text}`);
  if (before?.state !== outcome.state || before?.text !== outcome.text) onChange();
}

/** Say in words how far a request is: of the list of requests, or under its own address. */
export function describeRequest(request) {
  if (request.state === "waiting") return request.message ?? "waiting for a run";
  if (request.state === "running") return describeProgress(request);
  const result = request.result ?? (request.total === null || request.total === undefined ? null : request);
  const counts = result ? describeResult(result) : null;
  if (request.state === "failed" || request.state === "partial") return [counts, request.message?.replace(/\.?\n/g, ". ")].filter(Boolean).join(": ") || "failed without a reason";
  return result ? describeResult(result) : request.message ?? "done";
}

function describeProgress({ total, success, failed, skipped, message }) {
  if (!total) return message ?? "running";
  return `running: ${number((success ?? 0) + (failed ?? 0))} of ${number(total - (skipped ?? 0))}`;
}

/** Say a result of a sync in words: "12 synced, 2 failed". */
export function describeResult(result) {
  if (result?.status === "synced") return "synced";
  if (!result?.total) return "nothing was due";
  const parts = [`${number(result.success)} synced`];
  if (result.unchanged) parts[0] += ` (${number(result.unchanged)} unchanged)`;
  if (result.failed) parts.push(`${number(result.failed)} failed`);
  if (result.skipped) parts.push(`${number(result.skipped)} not asked for`);
  const [first] = result.total === 1 ? result.errors ?? [] : [];
  return first ? `${parts.join(", ")}: ${first}` : parts.join(", ");
}
