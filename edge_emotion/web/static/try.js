// The page "Try a picture": pictures are sent one after the other; nothing is stored, neither here nor on the device.

import { classify, get } from "./api.js";
import { takePicture } from "./browser-camera.js";
import { el, pool, say } from "./dom.js";
import { info } from "./header.js";
import "./picture.js";
import { asCsv, asJson } from "./results.js";

const MOST = 30;
const TRIES = 20;
const byId = (id) => document.getElementById(id);
const [model, point, classes] = ["model", "point", "classes"].map(byId);
const [progress, full, pictures] = ["progress", "full", "pictures"].map(byId);
const queue = [];
let models = [];
let limit = Infinity;
let working = false;

async function start() {
  byId("files").addEventListener("change", ({ target }) => {
    add(target.files);
    target.value = "";
  });
  document.addEventListener("paste", ({ clipboardData }) => add(clipboardData.files));
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  document.addEventListener("drop", ({ dataTransfer }) => add(dataTransfer.files));
  takePicture(byId("camera"), (file) => add([file]));
  byId("json").addEventListener("click", () => download("emotions.json", "application/json", asJson(results())));
  byId("csv").addEventListener("click", () => download("emotions.csv", "text/csv", asCsv(results())));
  byId("clear").addEventListener("click", () => [...pictures.children].forEach(remove));
  pictures.addEventListener("removed", ({ target }) => remove(target));
  limit = (await info).web?.max_picture_bytes ?? Infinity;
  models = await get("models");
  model.append(...models.map(({ name, default: chosen }) => el("option", { value: name, selected: chosen }, name)));
  model.addEventListener("change", () => {
    offer();
    again();
  });
  for (const choice of [point, classes]) choice.addEventListener("change", again);
  offer();
}

const chosen = () => models.find(({ name }) => name === model.value);

/** Operating points and classes of the chosen model. */
function offer() {
  const { points, labels } = chosen();
  point.replaceChildren(...points.map((name) => el("option", { value: name }, name)));
  pool(classes, 0);
  classes.append(...labels.map((label) =>
    el("label", {}, el("input", { type: "checkbox", value: label, checked: true }), label)));
}

/** The query of a request; null if too few classes are chosen. */
function query() {
  const boxes = [...classes.querySelectorAll("input")];
  const wanted = boxes.filter((box) => box.checked).map((box) => box.value);
  if (boxes.length && wanted.length < 2) return null;
  const parts = new URLSearchParams(models.length ? { model: model.value, point: point.value } : {});
  if (wanted.length < boxes.length) parts.set("classes", wanted.join(","));
  return parts;
}

/** The new pictures before those that are there. */
function add(files) {
  const room = MOST - pictures.children.length;
  const results = [...files].slice(0, room).map((file) => Object.assign(el("picture-result"), { file }));
  pictures.prepend(...results);
  results.forEach(enqueue);
  say(full, files.length > room ? `At most ${MOST} pictures are shown at a time: remove some first.` : "");
  work();
}

function again() {
  [...pictures.children].forEach(enqueue);
  work();
}

function enqueue(result) {
  if (!queue.includes(result)) queue.push(result);
  result.waiting("waiting");
}

function remove(result) {
  result.remove();
  if (queue.includes(result)) queue.splice(queue.indexOf(result), 1);
  if (!pictures.children.length) byId("files").focus();
  finish();
}

async function work() {
  if (working) return;
  working = true;
  while (queue.length) {
    say(progress, `${queue.length} ${queue.length === 1 ? "picture is" : "pictures are"} waiting`);
    const result = queue.shift();
    await one(result);
  }
  working = false;
  finish();
}

function finish() {
  const count = results().length;
  for (const id of ["json", "csv"]) byId(id).disabled = count === 0;
  byId("clear").disabled = pictures.children.length === 0;
  if (!working) say(progress, pictures.children.length ? `${count} of ${pictures.children.length} pictures have an answer` : "");
}

async function one(result) {
  const parts = query();
  if (!parts) return result.failed("Choose at least two classes.");
  if (result.file.size > limit) {
    return result.failed(`The file has ${(result.file.size / 1e6).toFixed(1)} MB; at most ${limit / 1e6} MB are accepted.`);
  }
  result.waiting("being classified");
  try {
    await result.answered(await patiently(result.file, parts));
  } catch (error) {
    result.failed(error.message);
  }
}

/** The answer; the device takes one picture at a time, perhaps that of somebody else. */
async function patiently(file, parts) {
  for (let left = TRIES; ; left--) {
    try {
      return await classify(file, parts);
    } catch (error) {
      if (left === 1 || error.retryAfter === null || error.retryAfter === undefined) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(Number(error.retryAfter) || 1, 10) * 1000));
    }
  }
}

function results() {
  return [...pictures.children].filter(({ answer }) => answer).map(({ file, answer }) => ({ file: file.name, answer }));
}

function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

start().catch((error) => say(progress, error.message));
