/** Maximo beside the rest of the page: a card for each structure, and reading one or all of them. */

import { badge, learnWords } from "./badges.js";
import { announce, fill, h } from "./dom.js";
import { Poller } from "./polling.js";
import { get, post } from "./service.js";
import { mayBeSignedIn, watchSession } from "./session.js";
import { ago, number } from "./times.js";

const WAITS_MS = { running: 5000, idle: 30_000, ...globalThis.innomaintPageWaitsMs };
const TITLES = {
  domain: "Domains", peruser: "Persons and groups", locations: "Locations",
  assets: "Assets", inventory: "Inventory", wodetail: "Work orders",
};
const TONES = { success: "complete", in_progress: "running", pending: "never", partial: "partial", error: "failed" };
const ENDED = ["completed", "failed"];
const place = document.getElementById("maximo");
/** The tasks that were asked for here, by structure: what `/api/sync-task-status` says of each. */
const tasks = new Map();
let refusal = "";
let isBusy = false;
const poller = new Poller(look, () => (isBusy ? WAITS_MS.running : WAITS_MS.idle));

async function look() {
  let status = null;
  if (mayBeSignedIn()) {
    try {
      await learnWords();
      status = await get("/api/sync-status");
      for (const [endpoint, task] of tasks) {
        if (!ENDED.includes(task.status)) tasks.set(endpoint, { ...task, ...(await get(`/api/sync-task-status/${task.id}`)) });
      }
    } catch (error) {
      if (error.status === undefined) throw error;
    }
  }
  render(status);
  isBusy = status?.in_progress.length > 0 || [...tasks.values()].some(({ status: word }) => !ENDED.includes(word));
}

async function start(endpoint) {
  refusal = "";
  try {
    const { task_id: id } = await post(`/api/sync/${endpoint}`);
    tasks.set(endpoint, { id, status: "pending", progress: 0, messages: [] });
    announce(`Reading ${endpoint === "all" ? "all of Maximo" : TITLES[endpoint]} was asked for.`);
  } catch (error) {
    if (error.status === undefined) throw error;
    refusal = error.message;
  }
  await poller.soon();
}

/** Show nothing where Maximo is not read: no site is known, and nothing was ever read. */
function isShown(status) {
  return status !== null && (status.sites.length > 0 || Object.values(status.status).some(({ last_sync: last }) => last !== null));
}

function render(status) {
  const isHidden = !isShown(status);
  if (place.hidden !== isHidden) place.hidden = isHidden;
  if (isHidden) return;
  fill(place,
    h("div", { class: "title-line" },
      h("h2", { id: "maximo-title" }, "Maximo"),
      h("p", {}, `${number(status.status.ALL.record_count)} records, `, badge(status.health), " ", button("all", "Sync all"))),
    refusal !== "" && h("p", { class: "warn", role: "alert" }, refusal),
    describeTask("all"),
    h("ul", { class: "maximo-cards" }, Object.keys(TITLES).map((endpoint) => buildCard(endpoint, status))));
}

function buildCard(endpoint, { status, in_progress: underWay }) {
  const row = status[endpoint];
  const reads = underWay.filter(({ resource }) => resource.split("/")[0] === endpoint);
  return h("li", { class: "card", key: endpoint, id: `maximo-${endpoint}` },
    h("h3", {}, TITLES[endpoint]),
    h("p", {}, h("span", { class: `swatch tone-${TONES[row.status]}`, "aria-hidden": "true" }), " ",
      h("strong", {}, row.status.replace("_", " ")), ` · ${number(row.record_count)} records · `,
      row.last_sync === null ? "never read" : ago(row.last_sync)),
    reads.map(({ resource, done, total }) => h("p", { class: "hint", key: resource }, `${resource}: ${number(done)} of ${number(total)} rows`)),
    row.message && h("p", { class: row.status === "success" ? "hint" : "warn" }, row.message),
    describeTask(endpoint),
    button(endpoint, "Sync"));
}

function describeTask(endpoint) {
  const task = tasks.get(endpoint);
  if (!task) return null;
  return h("div", { class: "maximo-task" },
    h("p", { class: "hint" }, `${task.status.replace("_", " ")}, ${task.progress} %`),
    task.messages.map(({ level, text }) => h("p", { class: level === "info" ? "hint" : "warn" }, text)));
}

function button(endpoint, words) {
  const isBusy = tasks.has(endpoint) && !ENDED.includes(tasks.get(endpoint).status);
  const name = endpoint === "all" ? "Sync all of Maximo" : `Sync ${TITLES[endpoint]}`;
  return h("button", { type: "button", id: `maximo-sync-${endpoint}`, "aria-label": name, disabled: isBusy, onclick: () => start(endpoint) }, words);
}

watchSession(() => poller.soon());
poller.start();
