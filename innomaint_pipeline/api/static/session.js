/** Signing in and out. The token is sent once and kept nowhere: what remains is a cookie no script can read. */

import { announce, fill, h } from "./dom.js";
import { post, remove } from "./service.js";

const ADDRESS = "/sync/session";
/** Remembers that there may be a session, so that a page without one does not ask in vain. It holds no secret. */
const HINT = "innomaint-signed-in";
const CHANGED = "innomaint-session";

/** Take the token out of the address, so that neither the history nor a screenshot keeps it. */
export function takeTokenFromAddress() {
  const token = location.hash.match(/^#token=(.*)$/)?.[1];
  if (token === undefined) return null;
  history.replaceState(null, "", `${location.pathname}${location.search}#/`);
  try {
    return decodeURIComponent(token);
  } catch {
    return token;
  }
}

export function mayBeSignedIn() {
  return localStorage.getItem(HINT) !== null;
}

export function forgetSession() {
  localStorage.removeItem(HINT);
  document.dispatchEvent(new Event(CHANGED));
}

export async function signIn(token) {
  await post(ADDRESS, { token });
  localStorage.setItem(HINT, "yes");
  document.dispatchEvent(new Event(CHANGED));
}

/** Call `look` at each coming and going: what looks seldom must not wait for its next turn. */
export function watchSession(look) {
  document.addEventListener(CHANGED, look);
}

export function signOut() {
  return remove(ADDRESS);
}

/** Show the form; `message` says why. `onSignedIn` is called once the token was right. */
export function showSignIn(place, { message, onSignedIn }) {
  if (document.getElementById("sign-in") && message === null) return;
  fill(place, h("section", { class: "card sign-in", key: "sign-in" },
    h("h1", {}, "Sign in"),
    h("form", { id: "sign-in", onsubmit: (event) => submit(event, place, onSignedIn) },
      // Password managers look for a name; there is but one.
      h("input", { class: "unseen", type: "text", autocomplete: "username", value: "admin", tabindex: -1, "aria-hidden": "true", readonly: true }),
      h("label", { for: "token" }, "Admin token"),
      h("input", { id: "token", name: "token", type: "password", required: true, autocomplete: "current-password", spellcheck: "false", "aria-describedby": "token-help" }),
      h("p", { id: "token-help", class: "hint" },
        "It is the value of ", h("code", {}, "INNOMAINT_ADMIN_TOKEN"), ". Where none is set, ", h("code", {}, "innomaint up"), " and ",
        h("code", {}, "innomaint serve"), " print a link that signs in."),
      h("p", { role: "alert", class: "wrong", id: "sign-in-message" }, message),
      h("button", { type: "submit", class: "primary" }, "Sign in"))));
  document.getElementById("token").focus();
}

async function submit(event, place, onSignedIn) {
  event.preventDefault();
  const form = event.target;
  const input = form.elements.namedItem("token");
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await signIn(input.value.trim());
    announce("Signed in.");
    onSignedIn();
  } catch (error) {
    showSignIn(place, { message: describeRefusal(error), onSignedIn });
    input.value = "";
    input.focus();
  } finally {
    button.disabled = false;
  }
}

/** Say why a sign-in failed. */
export function describeRefusal(error) {
  if (error.status === 401) return "This token is not the right one. Copy it again, or use the printed link.";
  return error.message;
}
