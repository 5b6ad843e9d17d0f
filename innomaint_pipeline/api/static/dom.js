/**
 * Builds and patches the document.
 *
 * A view is built anew from its data each time and patched onto what is shown: only what differs is touched, so
 * that focus, scroll position, typed text and a screen reader's place survive a poll. Text goes in as text nodes;
 * nothing here parses HTML.
 */

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onsubmit", "onchange", "oninput"];

/** Build an HTML element. Attributes: functions are handlers, `key` tells siblings apart, `vars` sets CSS variables. */
export function h(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** Build an SVG element. */
export function s(tag, attributes, ...children) {
  return build(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "key") element.pageKey = value;
    else if (typeof value === "function") element[name] = value;
    else if (name === "vars") for (const [variable, text] of Object.entries(value)) element.style.setProperty(variable, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...toNodes(children));
  return element;
}

function toNodes(children) {
  return children.flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Make the children of an element equal to these, touching only what differs. */
export function fill(parent, ...children) {
  const wanted = toNodes(children);
  const keys = new Set(wanted.map((node) => node.pageKey));
  const keyed = new Map([...parent.childNodes].filter((node) => node.pageKey !== undefined).map((node) => [node.pageKey, node]));
  let at = parent.firstChild;
  for (const node of wanted) {
    // What is gone is removed first: what follows then stays in place, with its focus.
    while (at && at.pageKey !== undefined && !keys.has(at.pageKey)) at = removeAndStep(at);
    const old = node.pageKey === undefined ? (at?.pageKey === undefined ? at : null) : keyed.get(node.pageKey);
    if (!old || old.nodeName !== node.nodeName) {
      parent.insertBefore(node, at);
      continue;
    }
    if (old === at) at = at.nextSibling;
    else parent.insertBefore(old, at);
    patch(old, node);
  }
  while (at) at = removeAndStep(at);
}

function removeAndStep(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function patch(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name) && !isTheViewers(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    // A style attribute would be refused by the content security policy; its object is not.
    if (name === "style") {
      if (old.style.cssText !== node.style.cssText) old.style.cssText = node.style.cssText;
    } else if (old.getAttribute(name) !== value && !isTheViewers(old, name)) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) if (old[name] !== node[name]) old[name] = node[name];
  fill(old, ...node.childNodes);
}

/** Tell whether the viewer decides on an attribute: what is unfolded stays so. */
function isTheViewers(element, name) {
  return name === "open" && (element.nodeName === "DETAILS" || element.nodeName === "DIALOG");
}

/** Show text written by other people: no direction mark in it reaches beyond it. */
export function foreign(text, className = "foreign") {
  return h("bdi", { class: className }, text);
}

/**
 * Build a table. `columns` are `{title, cell, isNumber}`, `cell` makes a row's content. On a phone each row becomes a
 * block, so the roles are written down: a changed `display` would take them away.
 */
export function table(caption, columns, rows, { isCaptionSeen = false } = {}) {
  return h("table", { role: "table" },
    h("caption", { class: isCaptionSeen ? null : "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      columns.map(({ title, isNumber }) => h("th", { scope: "col", role: "columnheader", class: isNumber && "number" }, title)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" },
      columns.map(({ title, cell, isNumber }) => h("td", { role: "cell", "data-title": title, class: isNumber && "number" }, cell(row)))))));
}

/** Say something to a screen reader, once; what was said a moment ago is not cut off. */
export function announce(text) {
  const place = document.getElementById("announcements");
  place.append(h("p", {}, text));
  while (place.children.length > 3) place.firstElementChild.remove();
}
