/** The sign and the colour of each state, and the words that the service has for it: a colour is never alone. */

import { h } from "./dom.js";

const SIGNS = {
  running: { sign: "↻", tone: "running" },
  failed: { sign: "!", tone: "failed" },
  partial: { sign: "~", tone: "partial" },
  never: { sign: "○", tone: "never" },
  complete: { sign: "✓", tone: "complete" },
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

/** `{batch_states, asset_states, error_classes}` of the service, each by name; empty until they are learned. */
export const words = { batch_states: {}, asset_states: {}, error_classes: {} };

/** Learn the words from the service's answer. */
export function setWords(answer) {
  Object.assign(words, answer);
}

export function signOf(state) {
  return SIGNS[state]?.sign ?? "?";
}

/** A state as a badge: sign, word, colour. */
export function badge(state, word = state) {
  const { sign, tone } = SIGNS[state] ?? { sign: "?", tone: "never" };
  return h("span", { class: `badge tone-${tone}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign), " ", word);
}

export function batchBadge(state) {
  return badge(state, words.batch_states[state]?.word);
}

export function assetBadge(state) {
  return badge(state, words.asset_states[state]?.word);
}

export function classWord(name) {
  return words.error_classes[name]?.word ?? name;
}
