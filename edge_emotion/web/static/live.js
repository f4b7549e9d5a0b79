// The live page: all cameras of this node, fed by one stream.

import { get } from "./api.js";
import "./camera.js";
import { duration, el, number, pool, say } from "./dom.js";
import { info } from "./header.js";
import { NodeClock } from "./history.js";
import { Stream } from "./stream.js";

const HISTORY = 300;
const clock = new NodeClock();
const views = new Map();
const cameras = document.getElementById("cameras");
const connection = document.getElementById("connection");
const machine = document.getElementById("machine");
const missed = document.getElementById("missed");

async function start() {
  const { web } = await info;
  if (web && !web.daemon) {
    connection.replaceChildren("No camera: this server runs without a daemon. ", el("a", { href: "try" }, "Try a picture"),
      web.broker ? " or look at all " : "", web.broker ? el("a", { href: "nodes" }, "nodes") : "", ".");
    connection.className = "";
    return;
  }
  const { events } = await get(`events?limit=${HISTORY}`);
  await refresh();
  events.forEach(onEvent);
  new Stream(events.at(-1), handlers, { onState, onRestart: () => location.reload() });
  setInterval(tick, 1000);
}

/** What is retained: cameras, their states, and the figures of the node. */
async function refresh() {
  const [known, states, stats] = await Promise.all([get("cameras"), get("state"), get("stats").catch(noneYet)]);
  for (const name of views.keys()) if (!(name in known)) remove(name);
  for (const [name, { available }] of Object.entries(known)) view(name).available(available);
  for (const [name, state] of Object.entries(states)) if (state?.counts) view(name).state(state);
  if (stats?.machine) onStats(stats);
}

/** In its first minute a node has no figures. */
function noneYet(error) {
  if (error.status !== 404) throw error;
  return null;
}

function view(name) {
  if (!views.has(name)) {
    views.set(name, el("camera-view", { name }));
    cameras.append(views.get(name));
    info.then(({ web }) => web?.preview && offerPreview(views.get(name), name));
  }
  return views.get(name);
}

function remove(name) {
  views.get(name).remove();
  views.delete(name);
}

function offerPreview(camera, name) {
  const button = el("button", { type: "button", "aria-pressed": "false" }, "Show the real picture");
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!shown));
    if (shown) camera.preview.lastElementChild.remove();
    else camera.preview.append(el("img", { src: `api/v1/preview/${encodeURIComponent(name)}`, alt: `Real picture of ${name}` }));
  });
  camera.preview.append(button);
}

function onEvent(event) {
  view(event.camera).event(event);
}

function onStats(stats) {
  const { machine: host, outbox, uptime } = stats;
  const values = {
    ...(host.temperature_c === null ? {} : { Temperature: number(host.temperature_c, 1, "°C") }),
    Processor: number(host.cpu_percent, 0, "%"),
    Memory: number(host.rss_mb, 0, "MB"),
    ...(outbox ? { "Events that wait": number(outbox.depth) } : {}),
    Running: duration(uptime),
    ...(host.throttling?.length ? { "Slowed down": host.throttling.join(", ") } : {}),
  };
  pool(machine, Object.keys(values).length, () => el("div", {}, el("dt"), el("dd"))).forEach((row, index) => {
    Object.entries(values)[index].forEach((text, part) => say(row.children[part], text));
  });
}

const handlers = {
  event: onEvent,
  frame(frame) {
    clock.take(frame.ts);
    view(frame.camera).frame(frame);
  },
  state({ camera, state, ...rest }) {
    view(camera).state(state ?? rest);
  },
  availability: ({ camera, available }) => view(camera).available(available),
  stats: onStats,
  gap({ from, to }) {
    views.forEach((each) => each.gap());
    say(missed, `Events ${from} to ${to} are no longer kept by the device; the timelines begin after them.`);
  },
};

let lost = false;

function onState(state, reason = "No connection to the device") {
  say(connection, state === "open" ? "Connected" : `${reason}; trying again`);
  connection.className = `badge ${state === "open" ? "good" : "bad"}`;
  if (state === "open" && lost) refresh().catch(() => null);
  lost = state !== "open";
  if (lost) views.forEach((each) => each.available(null));
}

function tick() {
  if (document.hidden) return;
  const now = clock.now();
  views.forEach((each) => each.tick(now));
}

start().catch((error) => {
  say(connection, error.message);
  connection.className = "badge bad";
  setTimeout(() => location.reload(), 10_000);
});
