/** Finding CMMS assets, and the view of one. */

import { flightOf, syncAsset } from "./actions.js";
import { assetBadge, badge, classWord, words } from "./badges.js";
import { foreign, h, table } from "./dom.js";
import { buildOutcome, button } from "./overview.js";
import { assetAddress, assetsAddress, batchAddress } from "./routes.js";
import { asMoment, counted, duration, number, when } from "./times.js";

const BACK = () => h("p", { class: "back", key: "back" }, h("a", { href: "#/" }, "← Overview"));

/** The list of a search; `found` is null until it is known. `more` loads further ones. */
export function buildAssets(filters, found, error, more) {
  const go = (changed) => {
    location.hash = assetsAddress(Object.fromEntries(Object.entries({ ...filters, ...changed }).filter(([, value]) => value)));
  };
  return [BACK(), h("section", { class: "card", key: "assets" },
    h("h1", { id: "view-title", tabindex: -1 }, "CMMS assets"),
    h("div", { class: "filters" },
      chooser("state", "State", filters.state, words.asset_states, (state) => go({ state, error_class: state === "failed" ? filters.error_class : null })),
      chooser("error_class", "Why failed", filters.error_class, words.error_classes, (name) => go({ error_class: name, state: name ? "failed" : filters.state })),
      (filters.query || filters.batch) && h("p", {},
        filters.query && ["containing ", h("strong", {}, foreign(filters.query)), " "],
        filters.batch && ["in ", h("a", { href: batchAddress(filters.batch) }, foreign(filters.batch)), " "],
        h("button", { type: "button", class: "quiet", onclick: () => go({ query: null, batch: null }) }, "Any"))),
    error ? h("p", { class: "wrong" }, error) : found ? [
      h("p", { role: "status", id: "found" }, found.total === 0 ? "No asset matches." : `${counted(found.total, "asset")} found.`),
      found.assets.length > 0 && table("Assets found", COLUMNS, found.assets),
      found.total > found.assets.length && h("button", { type: "button", id: "more-assets", onclick: more }, `Show more: ${number(found.total - found.assets.length)} are left`),
    ] : h("p", {}, "Loading…"))];
}

function chooser(name, label, chosen, named, choose) {
  return h("p", {}, h("label", { for: `filter-${name}` }, label), " ",
    h("select", { id: `filter-${name}`, onchange: (event) => choose(event.target.value) },
      h("option", { value: "", selected: !chosen }, "any"),
      Object.entries(named).map(([value, { word }]) => h("option", { value, selected: chosen === value }, word))));
}

const COLUMNS = [
  { title: "Asset", cell: ({ cmms_asset_id: id, asset_name: name }) => [h("a", { href: assetAddress(id) }, foreign(id, "id")), name && h("span", { class: "hint block" }, foreign(name))] },
  { title: "Place", cell: ({ location_name: name }) => (name ? foreign(name) : "–") },
  { title: "State", cell: ({ state, error_class: name, failed_since: since }) => [assetBadge(state), name && h("span", { class: "hint block" }, classWord(name), since && [", since ", when(since, "clock")])] },
  { title: "Batch", cell: ({ batch_key: key }) => (key ? h("a", { href: batchAddress(key) }, foreign(key)) : "–") },
  { title: "Last answer", cell: (found) => when(found.last_success_at) },
  { title: "Last change", cell: (found) => when(found.last_changed_at, "ago", "–") },
];

/** The view of one asset; `found` is null until it is known, `error` says why it is not. */
export function buildAsset(id, found, error) {
  const title = h("h1", { id: "view-title", tabindex: -1, class: "asset-id" }, foreign(id, "id"));
  if (error || !found) return [BACK(), h("section", { class: "card", key: `asset:${id}` }, title, error ? h("p", { class: "wrong" }, error) : h("p", {}, "Loading…"))];
  return [BACK(), h("div", { class: "asset", key: `asset:${id}` },
    buildSummary(found, title), buildAttempts(found), buildIssues(found), buildValues(found), buildRawAnswer(found))];
}

function buildSummary(found, title) {
  const action = syncAsset(found.cmms_asset_id);
  const flight = flightOf(action);
  const name = found.values.find(({ name: field }) => field === "asset_name")?.value;
  return h("section", { class: "card", "aria-labelledby": "view-title" },
    title, name && h("p", { class: "asset-name" }, foreign(String(name))),
    h("p", { id: "asset-state" }, assetBadge(found.state), found.error_class && [" ", classWord(found.error_class),
      found.consecutive_failures > 1 && `, ${number(found.consecutive_failures)} times in a row`,
      found.failed_since && [", since ", when(found.failed_since, "clock")]]),
    found.error_message && h("p", { class: "wrong" }, foreign(found.error_message)),
    found.what_to_do && h("p", { class: "advice" }, h("strong", {}, "What to do: "), found.what_to_do, "."),
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Last answer"), h("dd", {}, when(found.last_success_at))),
      h("div", {}, h("dt", {}, "Last change"), h("dd", { id: "asset-last-change" }, when(found.last_changed_at))),
      h("div", {}, h("dt", {}, "Last tried"), h("dd", {}, when(found.last_attempt_at))),
      h("div", {}, h("dt", {}, "Next due"), h("dd", { id: "next-due" }, when(found.next_due_at, "due", "–"))),
      h("div", {}, h("dt", {}, "Changed by"), h("dd", {}, counted(found.sync_version ?? 0, "sync"))),
      h("div", {}, h("dt", {}, "Batch"), h("dd", {}, found.batch_key ? h("a", { href: batchAddress(found.batch_key) }, foreign(found.batch_key)) : "none yet"))),
    h("div", { class: "buttons" }, button(action, "Sync this asset now", { class: "primary" })),
    buildOutcome(flight, "asset-outcome"));
}

function buildValues({ values, state, last_success_at: successAt }) {
  // What Innomaint never told is no value.
  const groups = Object.groupBy(values.filter(({ source }) => successAt || source !== "innomaint"), ({ group }) => group);
  return h("section", { class: "card", "aria-labelledby": "values-title" },
    h("h2", { id: "values-title" }, "Values"),
    !successAt && h("p", { class: "hint" }, "Innomaint has not told anything about it yet: these are from the workbook."),
    state === "failed" && successAt && h("p", { class: "hint" }, "A failure erases nothing: these are the last good values, with their age."),
    h("div", { class: "value-groups" }, Object.entries(groups).map(([group, rows]) => h("div", { key: group },
      h("h3", {}, group), table(group, VALUE_COLUMNS, rows)))));
}

const SOURCES = { excel: "Excel", innomaint: "Innomaint", both: "both" };

const VALUE_COLUMNS = [
  { title: "Value", cell: ({ name }) => foreign(name.replaceAll("_", " ")) },
  { title: "Is", cell: showValue },
  { title: "From", cell: ({ source, as_of: at }) => h("span", { class: "hint" }, SOURCES[source] ?? source, at && [", ", when(at)]) },
];

function showValue({ name, value }) {
  if (value === null || value === "") return h("span", { class: "hint" }, "none");
  if (typeof value === "number" && name.endsWith("_cost")) return value.toFixed(2);
  if (typeof value === "object") return foreign(JSON.stringify(value), "value");
  return asMoment(value) ?? foreign(String(value), "value");
}

function buildAttempts({ attempts }) {
  return h("section", { class: "card", "aria-labelledby": "attempts-title" },
    h("h2", { id: "attempts-title" }, "Last attempts"),
    attempts.length === 0 ? h("p", { class: "hint" }, "It was not asked for yet.") : table("Last attempts", ATTEMPT_COLUMNS, attempts));
}

const ATTEMPT_COLUMNS = [
  { title: "When", cell: (attempt) => when(attempt.synced_at) },
  { title: "What", cell: ({ sync_type: type }) => (type === "excel_import" ? "import" : "sync") },
  { title: "Outcome", cell: ({ status, error_class: name }) => [badge(status), name && h("span", { class: "hint block" }, classWord(name))] },
  { title: "Reason", cell: ({ message, http_status: status }) => [message && foreign(message), status && !message?.includes(`HTTP ${status}`) && h("span", { class: "hint block" }, `HTTP ${status}`), !message && !status && "–"] },
  { title: "Requests", isNumber: true, cell: ({ attempts }) => (attempts === null ? "–" : number(attempts)) },
  { title: "Took", isNumber: true, cell: ({ duration_ms: ms }) => (ms === null ? "–" : duration(ms / 1000)) },
  { title: "Run", cell: ({ run_url: url, run_id: id }) => (url ? h("a", { href: url, target: "_blank", rel: "noopener", "aria-label": `Run ${id} in Dagster` }, "Dagster ↗") : h("span", { class: "hint" }, (id ?? "–").slice(0, 8))) },
];

function buildIssues({ data_issues: issues }) {
  return h("section", { class: "card", "aria-labelledby": "issues-title" },
    h("h2", { id: "issues-title" }, "Data issues"),
    issues.length === 0 ? h("p", { class: "hint" }, "Every value could be read.") : table("Data issues", ISSUE_COLUMNS, issues));
}

const ISSUE_COLUMNS = [
  { title: "Field", cell: ({ field }) => foreign(field) },
  { title: "As delivered", cell: ({ raw_value: value }) => foreign(value ?? "null", "value") },
  { title: "Reason", cell: ({ reason }) => foreign(reason) },
  { title: "First seen", cell: (issue) => when(issue.first_seen_at) },
  { title: "Last seen", cell: (issue) => when(issue.last_seen_at) },
  { title: "State", cell: ({ resolved_at: at }) => (at ? [badge("complete", "resolved"), " ", when(at)] : badge("partial", "open")) },
];

function buildRawAnswer({ raw_answer: answer, fetched_at: at }) {
  return h("section", { class: "card", "aria-labelledby": "raw-title" },
    h("h2", { id: "raw-title" }, "Raw answer"),
    answer === null ? h("p", { class: "hint" }, "Innomaint has not answered for it yet.") : h("details", { id: "raw" },
      h("summary", {}, "Show the answer of ", when(at)),
      h("pre", { tabindex: 0, "aria-label": "Raw answer of Innomaint" }, h("code", { dir: "ltr" }, JSON.stringify(answer, null, 2)))));
}
