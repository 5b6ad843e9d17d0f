/** The admin service: requests and what went wrong with them. */

const TIMEOUT_MS = 20_000;

/** The service refused, or could not be reached (`status` 0). The message says what to do. */
export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  get isUnreachable() {
    return this.status === 0;
  }
}

export function get(path) {
  return ask("GET", path);
}

/** Ask for work or a change; work is answered at once with the address of its outcome, that on one asset when it is done. */
export function post(path, body = {}, timeoutMs = TIMEOUT_MS) {
  return ask("POST", path, body, timeoutMs);
}

export function remove(path) {
  return ask("DELETE", path, {});
}

async function ask(method, path, body, timeoutMs = TIMEOUT_MS) {
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json", Prefer: "respond-async" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await answer.text();
  } catch {
    throw new ServiceError(0, "The service cannot be reached.");
  }
  const content = parse(text);
  if (!answer.ok) {
    throw new ServiceError(answer.status, content?.error ?? `The service answers ${answer.status} without a reason.`);
  }
  return content;
}

function parse(text) {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
