/** The page: what is loaded when, and which view shows it. */

import { followFlights, hasOpenFlights, offerKept, watchActions } from "./actions.js";
import { buildAsset, buildAssets } from "./assets.js";
import { setWords } from "./badges.js";
import { buildBatchPanel, buildBatches } from "./batches.js";
import { buildCharts } from "./charts.js";
import { buildData } from "./data.js";
import { announce, fill, h } from "./dom.js";
import { buildFailures } from "./failures.js";
import { buildControls, buildHealth, buildPace, buildProgress, describeTrouble, showBanner } from "./overview.js";
import { Poller } from "./polling.js";
import { assetsAddress, parseRoute } from "./routes.js";
import { get } from "./service.js";
import { describeRefusal, forgetSession, mayBeSignedIn, showSignIn, signIn, signOut, takeTokenFromAddress } from "./session.js";
import { pause, saveInterval, settings } from "./settings.js";
import { counted, now, number, refreshAges, setClock, when } from "./times.js";

// Tests shorten the waits, with a script that runs before this one.
const WAITS_MS = { running: 5000, idle: 8000, ages: 5000, ...globalThis.innomaintPageWaitsMs };
const ASSETS_AT_ONCE = 50;
const place = (id) => document.getElementById(id);

const page = {
  isSignedIn: false, overview: null, trouble: null, lastSeen: null,
  hasWords: false,
  batches: null, failures: null, history: null, historyAt: 0, hours: 24, batchChoice: {},
  /** The data of the view that the route names: `{address, data, error}`. */
  view: null, viewLimit: ASSETS_AT_ONCE,
};
let route = parseRoute(location.hash);
const poller = new Poller(look, () => (page.trouble || page.overview?.running || hasOpenFlights() ? WAITS_MS.running : WAITS_MS.idle));

// Loading

async function look() {
  try {
    await followFlights();
    const overview = await get("/api/sync/overview");
    setClock(overview.generated_at);
    noticeEnd(page.overview, overview);
    page.overview = overview;
    page.isSignedIn = true;
    if (!page.hasWords || page.trouble) await loadWords();
    await loadParts(overview);
    page.trouble = null;
    offerKept();
  } catch (error) {
    if (error.status === 401) return leave(page.isSignedIn ? "The session has ended. Sign in again." : "");
    if (error.status === undefined) throw error;
    page.trouble = { message: error.message, isUnreachable: error.isUnreachable, since: page.trouble?.since ?? new Date(now()).toISOString() };
  }
  render();
}

/** Load the words for states and classes; again after each trouble, for a service that was started anew may have others. */
async function loadWords() {
  setWords(await get("/api/sync/words"));
  page.hasWords = true;
}

/** Load what the route shows, unless nothing has changed since the last time, nor can have by the clock alone. */
async function loadParts(overview) {
  const seen = JSON.stringify([overview.changed_at, overview.running?.batches.map(({ batch_key: key }) => key)]);
  // What is due moves with the clock, from the moment at which the first asset is.
  const isDue = Date.parse(overview.status.next_due_at) <= now();
  const isChanged = seen !== page.lastSeen || isDue || overview.running !== null || hasOpenFlights();
  const loads = [];
  if (isChanged || !page.batches) {
    loads.push(get("/api/sync/batches").then((answer) => { page.batches = answer.batches; }),
      get("/api/sync/failures").then((answer) => { page.failures = answer.groups; }));
  }
  if (isChanged || !page.history || isOutOfDate()) loads.push(loadHistory());
  if (viewAddress() && (isChanged || page.view?.address !== viewAddress() || page.view.error)) loads.push(loadView());
  await Promise.all(loads);
  page.lastSeen = seen;
}

async function loadHistory() {
  page.history = await get(`/api/sync/history?hours=${page.hours}`);
  page.historyAt = now();
}

/** Tell whether the charts' "now" is so long ago that one would see it. */
function isOutOfDate() {
  return now() - page.historyAt > (page.hours * 3_600_000) / 100;
}

function viewAddress() {
  if (route.name === "batch") return `/api/sync/batches/${encodeURIComponent(route.id)}`;
  if (route.name === "asset") return `/api/sync/assets/${encodeURIComponent(route.id)}`;
  if (route.name === "assets") return `/api/sync/assets?${new URLSearchParams({ ...route.filters, limit: page.viewLimit })}`;
  return null;
}

async function loadView() {
  const address = viewAddress();
  try {
    page.view = { address, data: await get(address), error: null };
  } catch (error) {
    if (error.isUnreachable || error.status === 401 || error.status >= 500) throw error;
    page.view = { address, data: null, error: error.message };
  }
}

function noticeEnd(before, after) {
  if (!before?.running || after.running) return;
  const { synced_assets: synced, failed_assets: failed, total_assets: total } = after.status;
  announce(`The sync has ended: ${number(synced)} of ${counted(total, "asset")} synced, ${number(failed)} failed.`);
}

// Showing

function render() {
  const { overview, trouble, isSignedIn } = page;
  place("search").hidden = !isSignedIn;
  fill(place("notice"), trouble && h("div", { class: "notice" }, h("p", {}, describeTrouble(trouble, overview?.generated_at))));
  document.body.classList.toggle("is-old", trouble !== null);
  if (!isSignedIn || !overview || !page.batches) return;
  place("loading")?.remove();
  fill(place("source"), overview.source && h("span", { class: `source source-${overview.source}` }, overview.source === "live" ? "live" : "simulated"));
  fill(place("links"), overview.dagster_url && h("a", { href: overview.dagster_url, target: "_blank", rel: "noopener" }, "Dagster ↗"),
    h("button", { type: "button", class: "quiet", id: "sign-out", onclick: leaveForGood }, "Sign out"));
  showBanner(place("banner"), trouble ? null : overview.running);
  showView(overview);
  fill(place("foot"), h("p", {}, "Numbers of ", when(overview.generated_at, "moment"), ". ", overview.running ? "Looked at every 5 s." : "Looked at every 8 s, every 5 s while a sync runs."));
}

function showView(overview) {
  const { data = null, error = null } = page.view?.address === viewAddress() ? page.view : {};
  const main = place("content");
  const layout = route.name === "batch" ? "overview" : route.name;
  if (main.dataset.view !== layout) main.dataset.view = layout;
  if (route.name === "asset") fill(main, buildAsset(route.id, data, error));
  else if (route.name === "assets") fill(main, buildAssets(route.filters, data ?? keptList(), error, showMore));
  else fill(main, buildOverview(overview));
  showPanel(data, error);
}

/** While more of the same list is loaded, what is there stays. */
function keptList() {
  return page.view?.address?.startsWith("/api/sync/assets?") && page.viewLimit > ASSETS_AT_ONCE ? page.view.data : null;
}

function showMore() {
  page.viewLimit += ASSETS_AT_ONCE;
  poller.soon();
}

function buildOverview(overview) {
  const again = () => { render(); if (!settings.isBusy) poller.soon(); };
  return [
    h("h1", { key: "title", class: "unseen", id: "view-title", tabindex: -1 }, "State of the sync"),
    h("div", { key: "head", class: "area-head" }, buildProgress(overview), buildPace(overview)),
    h("div", { key: "side", class: "area-side" }, buildHealth(overview), buildControls(overview, {
      settings, pause: (isWanted) => pause(isWanted, again), saveInterval: (event) => saveInterval(event, again),
    })),
    h("div", { key: "body", class: "area-body" }, buildFailures(page.failures),
      buildBatches(page.batches, page.batchChoice, (choice) => { page.batchChoice = choice; render(); })),
    h("div", { key: "wide", class: "area-wide" },
      buildCharts(page.history, { hours: page.hours, end: page.historyAt, width: chartWidth(), chooseHours }), buildData(overview)),
  ];
}

/** Three charts share a row where there is room, as the style sheet says. */
function chartWidth() {
  const room = Math.min(document.documentElement.clientWidth, 1360) - 82;
  return room >= 980 ? Math.floor((room - 48) / 3) : room;
}

async function chooseHours(hours) {
  page.hours = hours;
  page.lastSeen = null;
  await poller.soon();
}

/** Open, change or close the panel; whatever opened it gets the focus back. */
function showPanel(data, error) {
  const panel = place("panel");
  if (route.name !== "batch") {
    if (!panel.open) return;
    panel.close();
    if (route.name === "overview") focusTile(panel.dataset.batchKey);
    return;
  }
  panel.dataset.batchKey = route.id;
  fill(panel, buildBatchPanel(route.id, data, error));
  if (!panel.open) panel.showModal();
}

function focusTile(key) {
  document.querySelector(`[data-batch="${CSS.escape(key)}"]`)?.focus();
}

// Coming, going, moving about

function leave(message) {
  poller.stop();
  forgetSession();
  Object.assign(page, { isSignedIn: false, overview: null, batches: null, view: null, lastSeen: null, trouble: null });
  for (const id of ["source", "links", "banner", "foot"]) fill(place(id));
  if (place("panel").open) place("panel").close();
  render();
  delete place("content").dataset.view;
  showSignIn(place("content"), { message, onSignedIn: enter });
}

async function leaveForGood() {
  try {
    await signOut();
    leave("");
    announce("Signed out.");
  } catch (error) {
    if (error.status === 401) return leave("");
    page.trouble = { message: error.message, isUnreachable: error.isUnreachable, since: new Date(now()).toISOString() };
    render();
  }
}

function enter() {
  fill(place("content"), h("p", { id: "loading" }, "Loading…"));
  poller.start();
}

function move() {
  if (/^#token=/.test(location.hash)) return enterByLink();
  const before = route;
  route = parseRoute(location.hash);
  if (!page.isSignedIn) return;
  page.viewLimit = ASSETS_AT_ONCE;
  render();
  poller.soon();
  const isPanel = route.name === "batch" || (before.name === "batch" && route.name === "overview");
  document.title = route.id ? `${route.id.slice(0, 60)} – ${place("home").textContent}` : place("home").textContent;
  if (isPanel) return;
  scrollTo(0, 0);
  place("view-title")?.focus({ preventScroll: true });
}

async function enterByLink() {
  const token = takeTokenFromAddress();
  route = parseRoute(location.hash);
  try {
    await signIn(token);
    enter();
  } catch (error) {
    leave(describeRefusal(error));
  }
}

addEventListener("hashchange", move);
addEventListener("resize", () => { if (page.overview) render(); });
place("panel").addEventListener("close", () => {
  if (parseRoute(location.hash).name !== "batch") return;
  location.hash = "#/";
  focusTile(route.id);
});
place("panel").addEventListener("click", (event) => { if (event.target === place("panel")) place("panel").close(); });
place("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = place("query").value.trim();
  location.hash = assetsAddress(query ? { query } : {});
});
place("skip").addEventListener("click", (event) => {
  event.preventDefault();
  place("content").focus();
});
watchActions(() => { render(); poller.soon(); });
setInterval(() => { if (!document.hidden) refreshAges(); }, WAITS_MS.ages);

if (location.hash.startsWith("#token=")) enterByLink();
else if (mayBeSignedIn()) poller.start();
else leave("");
