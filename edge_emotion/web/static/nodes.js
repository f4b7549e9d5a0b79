// The page of all nodes that the broker knows; asked for again every few seconds.

import { get } from "./api.js";
import { el, percent, pool, say } from "./dom.js";

const EVERY = 3000;
const message = document.getElementById("message");
const list = document.getElementById("nodes");

class NodeCard extends HTMLElement {
  connectedCallback() {
    if (this.heading) return;
    this.heading = el("h2");
    this.about = el("p", { class: "note" });
    this.rows = el("tbody");
    this.last = el("p");
    const head = ["Camera", "State", "Faces", "Expression of the largest"].map((text) => el("th", { scope: "col" }, text));
    this.append(el("section", { class: "camera" }, this.heading, this.about,
      el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...head)), this.rows)), this.last));
  }

  show({ node, available, info, cameras, last_event: event, gaps }) {
    const heading = `${node}: ${availability(available)}`;
    say(this.heading, heading);
    this.heading.className = available ? "on" : "off";
    say(this.about, [...program(info), `events that were missed: ${gaps}`].join("; "));
    const names = Object.keys(cameras);
    pool(this.rows, names.length, () => el("tr", {}, el("th", { scope: "row" }), el("td"), el("td"), el("td"))).forEach((row, index) => {
      const { available: online, state } = cameras[names[index]];
      const seen = state?.emotion ? `${state.emotion} ${percent(state.confidence)}` : "-";
      [names[index], availability(online), state ? String(state.faces) : "-", seen].forEach((text, cell) => say(row.children[cell], text));
    });
    say(this.last, event ? `Last event: ${new Date(event.ts).toLocaleString()}, ${event.camera}, ${event.type}, ${event.emotion}` : "No event yet.");
  }
}

/** What a node tells about itself; a broker may not let the page read it. */
function program(info) {
  if (!info) return [];
  const { version, model, backend, host } = info;
  return [
    version && `edge-emotion ${version}`,
    model?.name && `model ${[model.name, model.version, model.precision].filter(Boolean).join(" ")}`,
    backend && `interpreter ${backend}`,
    host?.machine && `${host.system ?? ""} ${host.machine}`.trim(),
  ].filter(Boolean);
}

function availability(online) {
  return online === null || online === undefined ? "unknown" : online ? "online" : "offline";
}

let nodes = [];

function show() {
  pool(list, nodes.length, () => el("node-card")).forEach((card, index) => card.show(nodes[index]));
}

/** What is no longer known when no answer comes. */
function unknown(node) {
  const cameras = Object.entries(node.cameras).map(([name, camera]) => [name, { ...camera, available: null, state: null }]);
  return { ...node, available: null, cameras: Object.fromEntries(cameras) };
}

async function refresh() {
  if (document.hidden) return setTimeout(refresh, EVERY);
  try {
    nodes = await get("nodes");
    show();
    say(message, nodes.length ? "" : "No node has been seen yet.");
  } catch (error) {
    say(message, error.message);
    nodes = nodes.map(unknown);
    show();
    if (error.status === 404) return null;
  }
  return setTimeout(refresh, EVERY);
}

customElements.define("node-card", NodeCard);
refresh();
