/** Where the viewer is, kept in the fragment of the address: the back button works, and a view can be linked to. */

const FILTERS = ["query", "state", "error_class", "batch"];

/** Return `{name, …}` of a fragment; what is unknown is the overview. */
export function parseRoute(hash) {
  const [path, parameters = ""] = hash.replace(/^#/, "").split("?");
  const [, name, encoded] = path.match(/^\/(batch|assets|asset)(?:\/(.*))?$/) ?? [];
  if (name === "assets") {
    const given = new URLSearchParams(parameters);
    return { name, filters: Object.fromEntries(FILTERS.filter((filter) => given.get(filter)).map((filter) => [filter, given.get(filter)])) };
  }
  const id = decode(encoded ?? "");
  return name && id ? { name, id } : { name: "overview" };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function batchAddress(key) {
  return `#/batch/${encodeURIComponent(key)}`;
}

export function assetAddress(id) {
  return `#/asset/${encodeURIComponent(id)}`;
}

export function assetsAddress(filters) {
  return `#/assets?${new URLSearchParams(filters)}`;
}
