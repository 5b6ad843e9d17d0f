/** Pausing, resuming and the refresh interval, and what became of the last change. */

import { post } from "./service.js";
import { announce } from "./dom.js";
import { duration } from "./times.js";

/** What the controls show of the last change. */
export const settings = { isBusy: false, isWrong: false, message: null };

/** Pause or resume; `onSettled` is called before and after. */
export function pause(isWanted, onSettled) {
  const path = `/api/admin/cmms/${isWanted ? "pause" : "resume"}`;
  const done = isWanted ? "Paused: continuous sync launches nothing more; runs under way end as usual." : "Resumed: continuous sync goes on.";
  return change(() => post(path), done, onSettled);
}

/** Store the refresh interval of a form. */
export function saveInterval(event, onSettled) {
  event.preventDefault();
  const minutes = Number(event.target.elements.namedItem("interval").value);
  return change(() => post("/api/admin/sync/frequency", { intervalMinutes: minutes }), `Saved: every asset is refreshed after ${duration(minutes * 60)}.`, onSettled);
}

async function change(ask, done, onSettled) {
  if (settings.isBusy) return;
  Object.assign(settings, { isBusy: true, isWrong: false, message: null });
  onSettled();
  try {
    await ask();
    settings.message = done;
    announce(done);
  } catch (error) {
    Object.assign(settings, { isWrong: true, message: error.message });
  }
  settings.isBusy = false;
  onSettled();
}
