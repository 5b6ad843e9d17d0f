/** The words, letters and colours of each state: a colour is never alone. */

import { h } from "./dom.js";

export const BATCH_STATES = {
  running: { sign: "↻", word: "running", meaning: "a run works on it" },
  failed: { sign: "!", word: "failed", meaning: "failures are left that are worth retrying, or the last run failed" },
  partial: { sign: "~", word: "partial", meaning: "failures are left that a retry does not mend" },
  never: { sign: "○", word: "never", meaning: "nothing of it is synced yet" },
  complete: { sign: "✓", word: "complete", meaning: "every asset is synced" },
};

const SIGNS = {
  ...Object.fromEntries(Object.entries(BATCH_STATES).map(([state, { sign }]) => [state, { sign, tone: state }])),
  synced: { sign: "✓", tone: "complete" },
  success: { sign: "✓", tone: "complete" },
  done: { sign: "✓", tone: "complete" },
  healthy: { sign: "✓", tone: "complete" },
  error: { sign: "!", tone: "failed" },
  down: { sign: "!", tone: "failed" },
  degraded: { sign: "!", tone: "partial" },
  stale: { sign: "~", tone: "partial" },
  paused: { sign: "‖", tone: "partial" },
  cancelled: { sign: "×", tone: "never" },
  unknown: { sign: "?", tone: "never" },
  waiting: { sign: "…", tone: "never" },
  sending: { sign: "…", tone: "never" },
};

export function toneOf(state) {
  return SIGNS[state]?.tone ?? "never";
}

export function signOf(state) {
  return SIGNS[state]?.sign ?? "?";
}

/** A state as a badge: sign, word, colour. */
export function badge(state, word = state) {
  return h("span", { class: `badge tone-${toneOf(state)}` }, h("span", { class: "sign", "aria-hidden": "true" }, signOf(state)), " ", word);
}

export const ASSET_STATES = { synced: "synced", failed: "failed", never: "never synced" };

export const ERROR_CLASSES = {
  transient: "did not answer properly",
  rate_limited: "asked too often (429)",
  not_found: "not found in Innomaint",
  contract: "wrong or empty answer",
  data: "refused data",
  internal: "fault of this program",
};

export const RETRYABLE_CLASSES = ["transient", "rate_limited", "internal"];
