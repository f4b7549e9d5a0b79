// The page of this node: what it is, its settings, what a check finds, and its models.

import { get, post } from "./api.js";
import { el, pool, say } from "./dom.js";
import { info } from "./header.js";
import "./settings.js";

const byId = (id) => document.getElementById(id);

async function start() {
  byId("check").addEventListener("click", check);
  byId("reload").addEventListener("click", reload);
  const about = await info;
  showAbout(about);
  const models = await get("models");
  byId("models").append(...models.map(modelCard));
  if (!about.web?.daemon) return;
  byId("settings").hidden = false;
  byId("reload").disabled = !about.web.writes;
  const labels = models.find((model) => model.name === about.model?.name)?.labels
    ?? models.find((model) => model.default)?.labels ?? [];
  for (const [name, features] of Object.entries(await get("cameras"))) {
    const settings = el("camera-settings", { name });
    byId("cameras").append(settings);
    settings.show(features, labels, about.web.writes);
  }
}

/** All plain values of `info`; what is nested is shown with its path. */
function showAbout(about) {
  const { web, schema, ...rest } = about;
  const pairs = [...flat(rest, [])];
  pool(byId("about"), pairs.length, () => el("div", {}, el("dt"), el("dd"))).forEach((row, index) => {
    pairs[index].forEach((text, part) => say(row.children[part], text));
  });
}

function* flat(value, path) {
  if (value === null || value === undefined) return;
  if (Array.isArray(value)) yield [path.join(" "), value.map(String).join(", ") || "none"];
  else if (typeof value === "object") for (const [key, each] of Object.entries(value)) yield* flat(each, [...path, key.replaceAll("_", " ")]);
  else yield [path.join(" "), String(value)];
}

async function check() {
  const button = byId("check");
  button.disabled = true;
  say(byId("checked"), "being checked");
  try {
    const { checks, status } = await get("doctor", 120);
    byId("findings").replaceChildren(...checks.map(finding));
    const counts = ["fail", "warn", "ok"].map((kind) => `${checks.filter((each) => each.status === kind).length} ${kind}`);
    say(byId("checked"), `${{ ok: "Nothing is wrong", warn: "Something is worth a look", fail: "Something is wrong" }[status]}: ${counts.join(", ")}`);
  } catch (error) {
    say(byId("checked"), error.message);
  }
  button.disabled = false;
}

function finding({ name, status, detail, fix }) {
  return el("li", { class: `finding ${status}` },
    el("strong", {}, `${name}: ${status}`), el("p", {}, detail), fix ? el("p", { class: "fix" }, `What to do: ${fix}`) : null);
}

async function reload() {
  try {
    const { applied, restart } = await post("reload", {});
    const parts = [applied.length ? `applied: ${applied.join(", ")}` : "nothing has changed"];
    if (restart.length) parts.push(`needs a restart: ${restart.join(", ")}`);
    say(byId("reloaded"), parts.join("; "));
  } catch (error) {
    say(byId("reloaded"), error.message);
  }
}

function modelCard({ name, default: chosen, labels, points, input, figures, protocol, limits, intended_use: use, licence }) {
  const columns = ["Data", "Precision", "Operating point", "Faces", "Accuracy", "95 % interval", "Macro F1", "Calibration error"];
  const rows = figures.map((each) => [
    each.split, each.precision, each.point ?? points[0], each.n, percent1(each.accuracy),
    each.interval ? each.interval.map(percent1).join(" to ") : "-", decimals(each.macro_f1), decimals(each.ece),
  ]);
  return el("article", { class: "model" },
    el("h3", {}, name, chosen ? " (used unless another is chosen)" : ""),
    el("p", {}, `Labels: ${labels.join(", ")}. Operating points: ${points.join(", ")}. Input: ${input}. Licence: ${licence}.`),
    use ? el("p", {}, `For: ${use}`) : null,
    el("p", {}, `Limits: ${limits}`),
    el("details", {}, el("summary", {}, `Figures${protocol ? ` (${protocol})` : ""}`),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Figures of ${name}` }, el("table", {},
        el("thead", {}, el("tr", {}, ...columns.map((text) => el("th", { scope: "col" }, text)))),
        el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((text) => el("td", {}, String(text ?? "-"))))))))));
}

const decimals = (value) => value?.toFixed(3) ?? "-";
const percent1 = (value) => value === null || value === undefined ? "-" : `${(value * 100).toFixed(1)} %`;

start().catch((error) => say(byId("message"), error.message));
