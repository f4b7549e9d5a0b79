// The last minutes of one camera: a band for each stretch of time in which a track shows one expression, and a mark
// for each event. Pure and bounded: times are seconds of the node's clock.

const LANES = 8;

/** Bands and marks of the last `seconds`, at most `most` of each. */
export class History {
  constructor({ seconds = 300, most = 500 } = {}) {
    this.seconds = seconds;
    this.most = most;
    this.names = new Map();
    this.next = 1;
    this.clear();
  }

  /** Forget all bands and marks, as after a gap: what is open may have ended. */
  clear() {
    this.bands = [];
    this.marks = [];
    this.open = new Map();
  }

  /**
   * Take one event of the contract; events come in the order of their `seq`. Of a track whose `start` was missed
   * the band begins with the first event that is known.
   */
  add(event) {
    const at = Date.parse(event.ts) / 1000;
    const { id, started } = event.track;
    this.marks.push({ at, event, lane: this.#lane(id) });
    const band = this.open.get(id);
    if (band) band.to = at;
    if (event.type === "end") this.open.delete(id);
    else this.#begin(id, event.emotion, event.type === "start" ? Date.parse(started) / 1000 : at);
    this.prune(at);
  }

  /** The number under which the page shows the track `id`. */
  number(id) {
    if (!this.names.has(id)) this.names.set(id, this.next++);
    return this.names.get(id);
  }

  /** Drop what is older than the time that is shown, or more than may be kept. */
  prune(now) {
    const oldest = now - this.seconds;
    this.bands = this.bands.filter((band) => band.to === null || band.to >= oldest).slice(-this.most);
    this.marks = this.marks.filter((mark) => mark.at >= oldest).slice(-this.most);
    const kept = new Set(this.bands);
    for (const [id, band] of this.open) if (!kept.has(band)) this.open.delete(id);
    for (const id of this.names.keys()) {
      if (this.names.size <= this.most) break;
      this.names.delete(id);
    }
  }

  /** The number of lanes that are in use, at least 1. */
  get lanes() {
    return 1 + Math.max(0, ...this.bands.map((band) => band.lane));
  }

  #begin(id, emotion, from) {
    const band = { id, emotion, from, to: null, lane: this.#lane(id) };
    this.bands.push(band);
    this.open.set(id, band);
  }

  /** The lane of an open track, or the lowest one that no open track uses. */
  #lane(id) {
    if (this.open.has(id)) return this.open.get(id).lane;
    const used = new Set([...this.open.values()].map((band) => band.lane));
    for (let lane = 0; lane < LANES - 1; lane++) if (!used.has(lane)) return lane;
    return LANES - 1;
  }
}

/** The last `length` values of several series, with the time of each. */
export class Series {
  constructor(count, length) {
    this.length = length;
    this.data = Array.from({ length: count + 1 }, () => []);
  }

  add(at, ...values) {
    [at, ...values].forEach((value, index) => {
      this.data[index].push(value);
      if (this.data[index].length > this.length) this.data[index].shift();
    });
  }
}

/** The node's clock, estimated from the times in its messages: a device without a network may show another year. */
export class NodeClock {
  #behind = null;

  /** Take the time `ts` of a message that has just come, and the browser's time in milliseconds. */
  take(ts, now = Date.now()) {
    const behind = now - Date.parse(ts);
    if (Number.isNaN(behind)) return;
    if (this.#behind === null || behind < this.#behind || behind > this.#behind + 5000) this.#behind = behind;
  }

  /** Seconds of the node's clock now. */
  now(here = Date.now()) {
    return (here - (this.#behind ?? 0)) / 1000;
  }
}
