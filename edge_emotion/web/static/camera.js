// One camera of the live page: its faces now, and its last minutes.

import { speedChart, timelineChart } from "./charts.js";
import { clock, el, number, percent, pool, reasonText, say } from "./dom.js";
import { verdict } from "./faces.js";
import { History, Series } from "./history.js";

const ROWS = 12;
const STALE = 3000;

class CameraView extends HTMLElement {
  history = new History();
  series = new Series(3, 300);
  #frame = null;
  #came = 0;
  #drawing = false;

  connectedCallback() {
    if (this.avatar) return;
    const name = this.getAttribute("name");
    this.avatar = el("face-avatar");
    this.status = el("span", { class: "badge" });
    this.verdict = el("p", { class: "verdict" });
    this.counts = el("p", { class: "counts" });
    this.cards = el("div", { class: "cards" });
    this.preview = el("div");
    this.figures = el("dl", { class: "figures" });
    this.spoken = el("p", { role: "status", class: "unseen" });
    const lanes = el("div", { class: "chart", role: "img", "aria-label": "Timeline of the last 5 minutes. Its events are in the table." });
    const speed = el("div", { class: "chart", role: "img", "aria-label": "Frames per second and latency in the last 5 minutes" });
    this.rows = el("tbody");
    this.append(el("section", { class: "camera", "aria-labelledby": `camera-${name}` },
      el("h2", { id: `camera-${name}` }, name, " ", this.status),
      el("div", { class: "now" },
        el("div", { class: "stage" }, this.avatar, this.preview, el("p", { class: "note" },
          "Drawn from six points and the probabilities. It is not a picture.")),
        el("div", {}, this.verdict, this.counts, this.spoken, this.cards)),
      el("h3", {}, "The last 5 minutes"), lanes, eventTable(name, this.rows),
      el("h3", {}, "Speed"), this.figures, speed,
      el("p", { class: "note" }, el("span", { class: "key fps" }), "frames per second (left) ",
        el("span", { class: "key ms" }), "latency in milliseconds (right)")));
    this.timeline = timelineChart(lanes, this.history);
    this.speed = speedChart(speed, this.series);
    this.available(false);
  }

  disconnectedCallback() {
    this.timeline.close();
    this.speed.close();
  }

  /** Whether the camera is online; null while the device does not answer, and what it sees is not known either. */
  available(online) {
    this.online = online;
    say(this.status, online === null ? "unknown" : online ? "online" : "offline");
    this.status.className = `badge ${online ? "good" : "bad"}`;
    if (online === null) for (const each of [this.verdict, this.counts]) say(each, "");
  }

  frame(frame) {
    if (this.online === null) this.available(true);
    this.#frame = frame;
    this.#came = Date.now();
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => this.#draw());
  }

  /** The state: what a screen reader is told, and what is known before the first frame. */
  state({ faces, emotion, confidence, counts }) {
    const each = Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");
    const text = faces === 0 ? "Nobody is in view" : `${faces} ${faces === 1 ? "face" : "faces"}: ${each}`;
    say(this.counts, faces === 0 ? "" : text);
    say(this.verdict, faces === 0 ? text : verdict({ emotion, confidence }));
    this.avatar.describe(faces === 0 ? text : `Line drawing of ${text}`);
    if (each !== this.told) say(this.spoken, `${this.getAttribute("name")}: ${text}`);
    this.told = each;
  }

  event(event) {
    this.history.add(event);
    this.#table();
  }

  /** To be called about once a second, with seconds of the node's clock. */
  tick(now) {
    const fresh = Date.now() - this.#came < STALE;
    this.classList.toggle("stale", !fresh);
    if (!fresh && this.#frame) this.#clear();
    const { fps, latency_ms: latency } = (fresh && this.#frame) || {};
    this.series.add(now, fps ?? null, latency ?? null);
    const values = { "Frames per second": number(fps, 1), Latency: number(latency, 0, "ms") };
    pool(this.figures, 2, () => el("div", {}, el("dt"), el("dd"))).forEach((row, index) => {
      Object.entries(values)[index].forEach((text, part) => say(row.children[part], text));
    });
    this.history.prune(now);
    this.timeline.show(now - this.history.seconds, now);
    this.speed.show(now - this.history.seconds, now);
  }

  gap() {
    this.history.clear();
    this.#table();
  }

  #clear() {
    this.#frame = { ...this.#frame, faces: [] };
    this.#draw();
    this.#frame = null;
  }

  #draw() {
    this.#drawing = false;
    if (!this.#frame) return;
    const { faces, width, height } = this.#frame;
    this.avatar.show(faces, width, height, (face) => this.#short(face));
    const known = faces.filter((face) => face.probabilities).slice(0, 6);
    pool(this.cards, known.length, () => el("face-card")).forEach((card, index) => {
      card.show(this.#title(known[index]), known[index]);
    });
  }

  #short({ track, emotion }) {
    return [track && this.history.number(track), emotion].filter(Boolean).join(" ");
  }

  #title({ track }) {
    return track ? `Face ${this.history.number(track)}` : "New face";
  }

  #table() {
    const marks = this.history.marks.slice(-ROWS).reverse();
    pool(this.rows, marks.length, () => el("tr", {}, el("td"), el("td"), el("td"), el("td"))).forEach((row, index) => {
      const { at, event } = marks[index];
      const before = event.type === "change" ? `${event.previous} to ` : "";
      const why = event.reason ? ` (${reasonText(event.reason)})` : "";
      const where = event.zone ? `, ${event.zone}` : "";
      const face = `${this.#title({ track: event.track.id })}: ${event.type}${where}`;
      [clock(at), face, `${before}${event.emotion}${why}`, percent(event.confidence)]
        .forEach((text, cell) => say(row.children[cell], text));
      row.dataset.seq = event.seq;
    });
  }
}

function eventTable(name, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Events of ${name}` },
    el("table", { class: "events" },
      el("thead", {}, el("tr", {}, ...["Time", "Event", "Expression", "Confidence"].map((text) => el("th", { scope: "col" }, text)))),
      rows));
}

customElements.define("camera-view", CameraView);
