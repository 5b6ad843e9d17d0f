/** The word, sign and colour of each state, as the service has them: a colour is never alone. */

import { h } from "./dom.js";
import { get } from "./service.js";

/** What only this page knows: a press on its way, and one that waits for the service to be back. */
const OF_THE_PAGE = {
  sending: { word: "asking", sign: "…", tone: "never" },
  kept: { word: "not asked for yet", sign: "‖", tone: "partial" },
};

/** `{states, batch_states, asset_states, error_classes}` of the service, each by name; empty until they are learned. */
export const words = { states: {}, batch_states: {}, asset_states: {}, error_classes: {} };

/** Learn the words from the service's answer. */
export function setWords(answer) {
  Object.assign(words, answer);
}

/** Ask for the words, unless they are known. */
export async function learnWords() {
  if (Object.keys(words.states).length === 0) setWords(await get("/api/sync/words"));
}

function wordOf(state) {
  return words.states[state] ?? OF_THE_PAGE[state] ?? { word: state, sign: "?", tone: "never" };
}

export function signOf(state) {
  return wordOf(state).sign;
}

/** A state as a badge: sign, word, colour. */
export function badge(state, word = wordOf(state).word) {
  const { sign, tone } = wordOf(state);
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
