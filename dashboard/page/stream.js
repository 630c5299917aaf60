// Requests to the admin listener, with the token if there is one.

const key = "fulcrum-token";

/** token is the token that was given in this tab, "" if none was. */
export const token = {
  get: () => sessionStorage.getItem(key) ?? "",
  set: (text) => sessionStorage.setItem(key, text),
  clear: () => sessionStorage.removeItem(key),
};

/** A Refused is an answer other than 2xx, with what it says in words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(method, path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: options.body === undefined ? undefined : JSON.stringify(options.body),
    signal: options.signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  });
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = `status ${answer.status}`;
  try {
    message = JSON.parse(text).error || message;
  } catch {
    // not an answer of the admin listener: the status has to do
  }
  throw new Refused(answer.status, message);
}

/** change makes a change and returns what the balancer answers. */
export async function change(method, path, body, headers) {
  const answer = await request(method, path, { body, headers, signal: AbortSignal.timeout(15000) });
  return answer.json();
}

/**
 * look asks for what would be changed, without changing it (a POST with dry_run), or for
 * what there is, and returns it with its entity tag.
 */
export async function look(method, path) {
  const answer = await request(method, path, { signal: AbortSignal.timeout(15000) });
  return { etag: answer.headers.get("ETag"), body: await answer.json() };
}

/** poolPath returns the path of a pool under /v1. */
export function poolPath(pool, rest = "") {
  return `/v1/pools/${encodeURIComponent(pool)}${rest}`;
}

/** serverPath returns the path of a server under /v1. */
export function serverPath(pool, address, rest = "") {
  return poolPath(pool, `/servers/${encodeURIComponent(address)}${rest}`);
}

const longestLine = 32 << 20;

/**
 * Stream reads server-sent events, each of one line of JSON, and goes on after a break,
 * ever later up to half a minute. It calls
 *   onOpen(answer)        when it is answered,
 *   onMessage(message)    with each message,
 *   onLost(error, delay)  when it breaks, with the milliseconds until it tries again;
 *                         false: it is not to.
 */
export class Stream {
  constructor(path, { onOpen, onMessage, onLost, silence }) {
    Object.assign(this, { path, onOpen, onMessage, onLost, silence, failed: 0, id: "" });
  }

  start() {
    this.stop();
    this.controller = new AbortController();
    this.run(this.controller);
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.controller?.abort();
    this.controller = null;
  }

  async run(controller) {
    let problem = new Error("the balancer has ended the connection");
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.id) headers["Last-Event-ID"] = this.id;
      this.watch(controller);
      const answer = await request("GET", this.path, { headers, signal: controller.signal });
      this.onOpen(answer);
      await this.read(answer.body.getReader(), controller);
    } catch (error) {
      problem = error;
    }
    clearTimeout(this.watchdog);
    if (this.controller !== controller) return;
    this.controller.abort();
    const delay = Math.min(1000 * 2 ** this.failed, 30000);
    this.failed++;
    if (this.onLost(problem, delay) === false) return;
    this.timer = setTimeout(() => this.start(), delay);
  }

  // watch breaks a connection on which nothing comes.
  watch(controller) {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => controller.abort(new Error("nothing has come for a while")), this.silence);
  }

  async read(reader, controller) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || this.controller !== controller) return;
      this.watch(controller);
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop();
      if (rest.length > longestLine) throw new Error("a message is too long");
      for (const line of lines) this.take(line);
    }
  }

  take(line) {
    if (line.startsWith("id: ")) this.id = line.slice(4);
    if (!line.startsWith("data: ")) return;
    this.failed = 0;
    this.onMessage(JSON.parse(line.slice(6)));
  }
}
