/** The batches as a grid, and the panel of one. */

import { flightOf, syncBatch } from "./actions.js";
import { badge, batchBadge, classWord, signOf, words } from "./badges.js";
import { foreign, h, table } from "./dom.js";
import { buildOutcome, button } from "./overview.js";
import { assetAddress, assetsAddress, batchAddress } from "./routes.js";
import { duration, number, when } from "./times.js";

/** More tiles than these are shown on demand: a million assets are ten thousand batches. */
const TILES_AT_ONCE = 400;

/** `choice` is `{state, limit}`, changed by `choose`. */
export function buildBatches(batches, choice, choose) {
  const shown = choice.state ? batches.filter(({ state }) => state === choice.state) : batches;
  const limit = choice.limit ?? TILES_AT_ONCE;
  return h("section", { class: "card batches", key: "batches", "aria-labelledby": "batches-title" },
    h("div", { class: "title-line" }, h("h2", { id: "batches-title" }, "Batches"), h("p", { class: "hint" }, "Open one for its failures and runs")),
    batches.length === 0 ? h("p", { class: "hint" }, "No asset is in a batch yet.") : [
      buildLegend(batches, choice, choose),
      h("ul", { class: "grid", id: "grid", "aria-label": "Batches" }, shown.slice(0, limit).map(buildTile)),
      shown.length === 0 && h("p", { class: "hint" }, "No batch is in this state."),
      shown.length > limit && h("button", { type: "button", id: "more-batches", onclick: () => choose({ ...choice, limit: limit + TILES_AT_ONCE }) },
        `Show more: ${number(shown.length - limit)} batches are left`),
    ]);
}

function buildLegend(batches, choice, choose) {
  const counts = Object.groupBy(batches, ({ state }) => state);
  return h("ul", { class: "legend", "aria-label": "Show batches by state" }, Object.entries(words.batch_states).map(([state, { word, meaning }]) =>
    h("li", { key: state }, h("button", {
      type: "button", class: `chip tone-${state}`, "aria-pressed": String(choice.state === state), title: meaning,
      onclick: () => choose({ state: choice.state === state ? null : state }),
    }, h("span", { class: "sign", "aria-hidden": "true" }, signOf(state)), ` ${word} `, h("strong", {}, number(counts[state]?.length ?? 0))))));
}

function buildTile(batch) {
  const { batch_key: key, state, synced, failed, total } = batch;
  const short = key.match(/^batch_0*(\d+)$/)?.[1] ?? key;
  const title = `${key}: ${words.batch_states[state].word}, ${number(synced)} of ${number(total)} synced${failed ? `, ${number(failed)} failed` : ""}`;
  return h("li", { key }, h("a", { href: batchAddress(key), class: `tile tone-${state}`, "data-batch": key, "data-state": state, "aria-label": title, title },
    h("span", { class: "tile-name" }, short), h("span", { class: "sign", "aria-hidden": "true" }, signOf(state)),
    h("span", { class: "tile-count" }, failed ? `${number(failed)} failed` : `${number(synced)}/${number(total)}`),
    h("span", { class: "tile-bar", vars: { "--share": String(total ? synced / total : 0) } })));
}

/** The panel of a batch; `batch` is null until it is known, `error` says why it is not. */
export function buildBatchPanel(key, batch, error) {
  return [
    h("div", { class: "panel-head", key: "head" },
      h("h2", { id: "panel-title", tabindex: -1, autofocus: true }, foreign(key)),
      h("form", { method: "dialog" }, h("button", { type: "submit", class: "quiet", "aria-label": "Close this panel" }, "Close"))),
    error ? h("p", { class: "wrong", key: "error" }, error) : batch ? buildBatchBody(batch) : h("p", { key: "loading" }, "Loading…"),
  ];
}

function buildBatchBody(batch) {
  const action = syncBatch(batch.batch_key);
  const flight = flightOf(action);
  const run = batch.last_run;
  return h("div", { key: `body:${batch.batch_key}` },
    h("p", {}, batchBadge(batch.state), " ", words.batch_states[batch.state].meaning, "."),
    run?.reason && run.status !== "complete" && [
      h("p", { id: "batch-reason", class: run.status === "failed" ? "wrong" : null }, `Its last run, `, when(run.synced_at), ": ", foreign(run.reason)),
      run.what_to_do && h("p", { class: "advice" }, h("strong", {}, "What to do: "), run.what_to_do, ".")],
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Synced"), h("dd", {}, h("strong", {}, number(batch.synced)), ` of ${number(batch.total)}`)),
      h("div", {}, h("dt", {}, "Failed"), h("dd", {}, h("strong", {}, number(batch.failed)), ` (${number(batch.retryable)} worth retrying)`)),
      h("div", {}, h("dt", {}, "Never"), h("dd", {}, h("strong", {}, number(batch.never)))),
      h("div", {}, h("dt", {}, "Due now"), h("dd", {}, h("strong", {}, number(batch.due))))),
    h("div", { class: "buttons" },
      button(action, "Sync this batch", { class: "primary", title: "Ask for what is due or worth retrying in it" }),
      run?.run_url && h("a", { href: run.run_url, target: "_blank", rel: "noopener", class: "button" }, "Last run in Dagster ↗"),
      h("a", { href: assetsAddress({ batch: batch.batch_key }), class: "button" }, "All its assets")),
    buildOutcome(flight, "batch-outcome"),
    h("h3", {}, `Failures (${number(batch.failures_total)})`),
    batch.failures.length === 0 ? h("p", { class: "hint" }, "None.") : [
      table("Failures", FAILURE_COLUMNS, batch.failures),
      batch.failures_total > batch.failures.length && h("p", {}, h("a", { href: assetsAddress({ batch: batch.batch_key, state: "failed" }) }, `All ${number(batch.failures_total)} failures`)),
    ],
    h("h3", {}, "Last runs"),
    batch.runs.length === 0 ? h("p", { class: "hint" }, "No run of it has ended yet.") : table("Last runs", RUN_COLUMNS, batch.runs));
}

const FAILURE_COLUMNS = [
  { title: "Asset", cell: ({ cmms_asset_id: id }) => h("a", { href: assetAddress(id) }, foreign(id, "id")) },
  { title: "Why", cell: ({ error_class: name, message }) => [classWord(name), message && h("span", { class: "hint block" }, foreign(message))] },
  { title: "Since", cell: (failure) => when(failure.failed_since, "clock", "–") },
  { title: "Tried", cell: (failure) => when(failure.last_attempt_at) },
  { title: "Due again", cell: (failure) => when(failure.next_due_at, "due", "–") },
];

const RUN_COLUMNS = [
  { title: "Ended", cell: (run) => when(run.synced_at) },
  { title: "Outcome", cell: (run) => [badge(run.status), run.reason && h("span", { class: "hint block" }, foreign(run.reason))] },
  { title: "Synced", isNumber: true, cell: (run) => number(run.assets_synced ?? 0) },
  { title: "Unchanged", isNumber: true, cell: (run) => number(run.unchanged ?? 0) },
  { title: "Failed", isNumber: true, cell: (run) => number(run.failed ?? 0) },
  { title: "Took", isNumber: true, cell: (run) => (run.duration_ms === null ? "–" : duration(run.duration_ms / 1000)) },
  { title: "Run", cell: ({ run_url: url, run_id: id }) => (url ? h("a", { href: url, target: "_blank", rel: "noopener", "aria-label": `Run ${id} in Dagster` }, "Dagster ↗") : h("span", { class: "hint" }, (id ?? "–").slice(0, 8))) },
];
