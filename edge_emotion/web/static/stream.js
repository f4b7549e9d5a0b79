// The one stream of a page: server-sent events. The browser connects again by itself, with the number of the last
// event as Last-Event-ID; what it gives up, or what is silent for too long, is opened anew here.

import { get, refusal } from "./api.js";

const SILENT = 45_000;
const HIDDEN = 30_000;

export class Stream {
  #source = null;
  #id = "";
  #pause = 1000;
  #last = 0;
  #hidden = null;

  /**
   * `last` is the newest event that is known, if any; `handlers` are by the kind of message. `onState` is called with
   * "open" or "lost" and the device's reason, if it gives one, `onRestart` where the node has begun to count anew.
   */
  constructor(last, handlers, { onState, onRestart }) {
    this.seq = last?.seq ?? 0;
    this.#id = last?.id ?? "";
    this.handlers = handlers;
    this.onState = onState;
    this.onRestart = onRestart;
    this.#open();
    setInterval(() => this.#check(), 15_000);
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    this.close();
    const source = new EventSource(`api/v1/stream?since=${this.seq}`);
    this.#source = source;
    this.#last = Date.now();
    source.onopen = () => {
      this.#pause = 1000;
      this.#last = Date.now();
      this.onState("open");
    };
    source.onerror = () => this.#failed(source);
    for (const [kind, handle] of Object.entries(this.handlers)) {
      source.addEventListener(kind, (message) => {
        this.#last = Date.now();
        const value = JSON.parse(message.data);
        if (kind !== "event" || this.#isNew(value)) handle(value);
      });
    }
  }

  /** Whether an event has not come before. A later one with a lower number is of a node that counts anew. */
  #isNew({ seq, id }) {
    if (seq <= this.seq) {
      if (id > this.#id) this.onRestart();
      return false;
    }
    [this.seq, this.#id] = [seq, id];
    return true;
  }

  #failed(source) {
    if (source !== this.#source) return;
    if (source.readyState === EventSource.CLOSED) {
      this.close();
      this.#explain();
    } else this.onState("lost");  // The browser tries again by itself.
  }

  /** A browser does not tell a script why a stream was refused; a plain request does, and leads to the login page. */
  async #explain() {
    const problem = await refusal(`stream?since=${this.seq}`);
    this.onState("lost", problem?.status === 503 ? problem.message : undefined);
    setTimeout(() => this.#source || this.#hidden === "closed" || this.#open(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, 5_000);
  }

  /** The answer to a plain request leads to the login page where that is needed. */
  async #again() {
    if (this.#source || this.#hidden === "closed") return;
    await get("info").catch(() => null);
    if (!this.#source) this.#open();
  }

  #check() {
    if (!this.#source || Date.now() - this.#last < SILENT) return;
    this.close();
    this.#again();
  }

  /** Nobody looks at a hidden page: after a while it costs the device nothing, and fills its gap when shown again. */
  #visibility() {
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#hidden = "closed";
        this.close();
      }, HIDDEN);
    } else {
      if (this.#hidden !== "closed") clearTimeout(this.#hidden);
      const closed = this.#hidden === "closed";
      this.#hidden = null;
      if (closed) this.#again();
    }
  }
}
