/** Failures in groups that a person understands: how many, what, where, since when, what to do. */

import { classWord } from "./badges.js";
import { foreign, h, table } from "./dom.js";
import { assetAddress, assetsAddress } from "./routes.js";
import { number, when } from "./times.js";

export function buildFailures(groups) {
  return h("section", { class: "card failures", key: "failures", "aria-labelledby": "failures-title" },
    h("h2", { id: "failures-title" }, "Failures"),
    groups.length === 0 ? h("p", { class: "good" }, "✓ No asset is failed.") : h("ul", { class: "groups", id: "failure-groups" }, groups.map(buildGroup)));
}

function buildGroup(group) {
  const { error_class: name, count, is_retryable: isRetryable, examples, places, messages } = group;
  return h("li", { key: name, class: `group tone-${isRetryable ? "failed" : "partial"}`, "data-class": name },
    h("h3", {}, group.title, describePlaces(group), "; failed since ", when(group.failed_since, "day", "just now")),
    h("p", { class: "advice" }, h("strong", {}, "What to do: "), group.what_to_do, group.what_to_do.endsWith(".") ? "" : "."),
    h("p", { class: "hint" },
      isRetryable ? "Worth retrying: asked again by itself " : "A retry does not mend this; asked again ", when(group.next_due_at, "due", "later"),
      "; last tried ", when(group.last_attempt_at), "."),
    h("ul", { class: "ids", "aria-label": `Assets: ${classWord(name)}` },
      examples.map((id) => h("li", { key: id }, h("a", { href: assetAddress(id) }, foreign(id, "id")))),
      count > examples.length && h("li", { key: "\nall" }, h("a", { href: assetsAddress({ state: "failed", error_class: name }), class: "all" }, `all ${number(count)}`))),
    (places.length > 1 || messages.length > 0) && h("details", {},
      h("summary", {}, "Places and messages"),
      h("div", { class: "side-by-side" },
        places.length > 0 && table("Places", PLACE_COLUMNS, places, { isCaptionSeen: true }),
        messages.length > 0 && table("Messages", MESSAGE_COLUMNS, messages, { isCaptionSeen: true })),
      group.places_total > places.length && h("p", { class: "hint" }, `in ${number(group.places_total)} places altogether`)));
}

function describePlaces({ count, places }) {
  const [most] = places;
  if (!most) return "";
  const place = most.location_name ? foreign(most.location_name) : "an unnamed place";
  if (most.count === count) return [count === 1 ? ", in " : ", all of them in ", place];
  return most.count > 1 ? [`, ${number(most.count)} of them in `, place] : ` in ${number(count)} places`;
}

const PLACE_COLUMNS = [
  { title: "Place", cell: ({ location_name: name }) => (name ? foreign(name) : "without a place") },
  { title: "Assets", isNumber: true, cell: ({ count }) => number(count) },
];

const MESSAGE_COLUMNS = [
  { title: "Message", cell: ({ message }) => (message ? foreign(message) : "none") },
  { title: "Assets", isNumber: true, cell: ({ count }) => number(count) },
];
