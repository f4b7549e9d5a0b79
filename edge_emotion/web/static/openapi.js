// The page "API": each operation of openapi.json with its parameters, body and answers, and a line for curl.

import { description } from "./api.js";
import { el, say } from "./dom.js";
import { info } from "./header.js";

const byId = (id) => document.getElementById(id);
let schemas = {};

async function start() {
  const [{ paths, components }, { web }] = await Promise.all([description(), info]);
  schemas = components.schemas;
  say(byId("access"), web?.login
    ? "TOKEN stands for the content of the file web.token_file."
    : "No password and no token is set: whoever reaches this page can use the API. Commands give the page's Origin instead.");
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      byId("operations").append(section(method.toUpperCase(), path, operation, Boolean(web?.login)));
    }
  }
}

function section(method, path, { summary, parameters = [], requestBody, responses }, login) {
  const title = `${method} ${path}`;
  const [problems, results] = [[], []];
  for (const [status, answer] of Object.entries(responses)) (status < "400" ? results : problems).push([status, answer]);
  return el("section", { class: "operation", "aria-label": title },
    el("h2", {}, el("code", {}, title)), el("p", {}, summary),
    command(curl(method, path, requestBody, responses, login), title),
    parameters.length ? part("Parameters", el("ul", { class: "fields" }, ...parameters.map(parameter))) : null,
    requestBody ? part("Body", ...media(requestBody)) : null,
    ...results.map(([status, answer]) => part(`Answer ${status}`, ...media(answer))),
    part(`Errors ${problems.map(([status]) => status).join(", ")}`,
      el("ul", { class: "fields" }, ...problems.map(([status, answer]) => el("li", {}, `${status}: ${answer.description}`))),
      ...media(problems[0][1])));
}

function part(title, ...children) {
  return el("details", {}, el("summary", {}, title), ...children);
}

function parameter({ name, in: place, required, schema }) {
  return field(name, schema, required, place === "path" ? "part of the path" : "");
}

/** Each media type of a body or an answer with its schema. */
function media({ content }) {
  return Object.entries(content).map(([type, { schema }]) => el("div", {},
    el("p", {}, el("code", {}, type), `: ${kind(schema)}`), ...(schema.$ref ? inside(schemas[last(schema.$ref)]) : [])));
}

/** A named value: its type, meaning, and the schemas that its type names. */
function field(name, schema, required, place = "") {
  const text = [place, kind(schema), required ? "" : "optional"].filter(Boolean).join(", ");
  const about = schema.description ? `: ${plain(schema.description)}` : "";
  return el("li", {}, el("code", {}, name), ` ${text}${about}`, ...references(schema));
}

/** A schema that is filled when it is opened: schemas name each other. */
function schemaView(name) {
  const view = part(name);
  view.addEventListener("toggle", () => {
    if (view.children.length === 1) view.append(...inside(schemas[name]));
  });
  return view;
}

function inside({ description: about, properties, required = [], ...schema }) {
  const fields = Object.entries(properties ?? {}).map(([name, each]) => field(name, each, required.includes(name)));
  return [
    about ? el("p", {}, plain(about)) : "",
    fields.length ? el("ul", { class: "fields" }, ...fields) : el("p", {}, properties ? "No fields." : kind(schema)),
    ...references(schema),
  ];
}

const references = (schema) => [...new Set(names(schema))].map(schemaView);

/** Names of the schemas to which a type refers, without those inside of them. */
function* names({ $ref, anyOf = [], items, additionalProperties, prefixItems = [] }) {
  if ($ref) yield last($ref);
  for (const each of [...anyOf, ...prefixItems, items, additionalProperties]) if (each?.constructor === Object) yield* names(each);
}

/** The type of a value in words. */
function kind(schema) {
  const { $ref, anyOf, enum: values, type, items, prefixItems, additionalProperties: named } = schema;
  if ($ref) return last($ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (values) return values.map((each) => JSON.stringify(each)).join(" or ");
  if (anyOf) return anyOf.map(kind).join(" or ");
  if (prefixItems) return `array of ${prefixItems.length}: ${[...new Set(prefixItems.map(kind))].join(", ")}`;
  if (type === "array") return items ? `array of ${kind(items)}` : "array";
  if (type === "object") return named?.constructor === Object && Object.keys(named).length ? `object, each value: ${kind(named)}` : "object";
  if (schema.format === "binary") return "bytes";
  const range = [["minimum", "from"], ["maximum", "to"]].filter(([key]) => key in schema).map(([key, word]) => `${word} ${schema[key]}`);
  return [type ?? "any value", ...range].join(" ");
}

const last = (reference) => reference.split("/").pop();
const plain = (text) => text.replaceAll("``", "").replaceAll(/\s+/g, " ");

/** A line for a shell. With a login it has the place of the token, else writes have the page's Origin. */
function curl(method, path, requestBody, responses, login) {
  const words = ["curl"];
  const [type, body] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  if (login) words.push("-H", "Authorization: Bearer TOKEN");
  if (type === "application/json") {
    if (!login) words.push("-H", `Origin: ${location.origin}`);
    words.push("-H", `Content-Type: ${type}`, "-d", JSON.stringify(body.example ?? {}));
  } else if (type) words.push("-H", "Content-Type: image/jpeg", "--data-binary", "@picture.jpg");
  else if (method !== "GET") words.push("-X", method);
  const answer = Object.keys(responses["200"]?.content ?? {})[0] ?? "";
  if (answer.startsWith("text/event-stream")) words.push("-N");
  else if (answer && answer !== "application/json") words.push("-o", "pictures");
  const address = new URL(path.slice(1).replaceAll(/[{}]/g, ""), location.href).href;
  return [...words, address].map(quoted).join(" ");
}

/** A word as a shell reads it. */
function quoted(word) {
  return /^[\w@.\/:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The line with a button that copies it; without HTTPS a browser lets a page copy only what is selected. */
function command(line, title) {
  const code = el("code", {}, line);
  const copy = async () => {
    getSelection().selectAllChildren(code);
    const done = await navigator.clipboard?.writeText(line).then(() => true, () => false) || document.execCommand("copy");
    say(byId("copied"), "");
    say(byId("copied"), done ? `Copied: ${title}` : "Select the line and copy it.");
    say(button, done ? "Copied" : "Selected");
  };
  const button = el("button", { type: "button", class: "plain", "aria-label": `Copy the command for ${title}`, onclick: copy }, "Copy");
  return el("div", { class: "command" }, el("pre", {}, code), button);
}

start().catch((error) => say(byId("message"), error.message));
