// Requests to the server. All addresses are relative: the pages may be served under a prefix.

/** An answer that is an error: `status` is that of HTTP, 0 without an answer; the message is one line for people. */
export class Problem extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The JSON value of GET api/v1/`path`. Raises Problem; without login it goes to the login page. */
export function get(path, seconds = 20) {
  return request(`api/v1/${path}`, {}, seconds);
}

/** The content of openapi.json. */
export function description() {
  return request("openapi.json", {}, 20);
}

/** Why GET api/v1/`path` is refused, as a Problem; null if it is not. The answer itself is not read. */
export function refusal(path, seconds = 20) {
  return send(`api/v1/${path}`, {}, seconds).then((answer) => {
    answer.body.cancel();
    return null;
  }, (error) => error);
}

/** POST `value` as JSON to api/v1/`path`. */
export function post(path, value, seconds = 30) {
  return request(`api/v1/${path}`, json(value), seconds);
}

/** POST a picture's bytes to be classified; `query` holds model, point and classes. */
export function classify(file, query) {
  const type = file.type.startsWith("image/") ? file.type : "image/*";
  return request(`api/v1/classify?${query}`, { method: "POST", headers: { "Content-Type": type }, body: file }, 60);
}

/** POST to `login` or `logout`, which are beside the pages. */
export function session(path, value) {
  return request(path, json(value), 30, false);
}

function json(value) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}

async function request(address, options, seconds, login = true) {
  const body = await (await send(address, options, seconds, login)).text();
  return body ? JSON.parse(body) : null;
}

/** Whether the login page has been asked for: a second time it would be loaded anew, and lose what was typed meanwhile. */
let leaving = false;
addEventListener("pageshow", () => { leaving = false; });  // a page that the browser has kept starts again

/** The answer, whose body is still to be read. Raises Problem for an error. */
async function send(address, options, seconds, login = true) {
  let answer;
  try {
    answer = await fetch(address, { ...options, credentials: "same-origin", signal: AbortSignal.timeout(seconds * 1000) });
  } catch (error) {
    throw new Problem(0, error.name === "TimeoutError"
      ? `no answer from the device within ${seconds} s`
      : "the device does not answer: is it on, and is the daemon running?");
  }
  if (answer.status === 401 && login && !leaving) {
    leaving = true;
    location.assign(`login?next=${location.pathname.split("/").pop()}`);
  }
  if (!answer.ok) throw await problem(answer);
  return answer;
}

async function problem(answer) {
  let detail = null;
  try {
    const body = await answer.json();
    detail = body.detail || body.title;
  } catch {
    // No JSON: from a proxy in between.
  }
  return new Problem(answer.status, detail || `the answer was HTTP ${answer.status}`, answer.headers.get("Retry-After"));
}
