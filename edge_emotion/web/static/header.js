// The head of every page: navigation, the node's name, the sign for the preview, and logging out.

import { get, session } from "./api.js";
import { el } from "./dom.js";

/** Address, relative to the pages, and name of each. */
export const PAGES = [["./", "Live"], ["try", "Try a picture"], ["node", "Node"], ["nodes", "Nodes"], ["api", "API"]];

/** The content of api/v1/info, asked for once; a failure is an empty one. */
export const info = document.querySelector("page-header[alone]")
  ? Promise.resolve({})
  : get("info").catch(() => ({}));

class PageHeader extends HTMLElement {
  async connectedCallback() {
    const current = this.getAttribute("current");
    this.links = PAGES.map(([address, name]) =>
      el("a", { href: address, "aria-current": name === current && "page" }, name));
    this.name = el("span", { class: "node" });
    const nav = el("nav", { "aria-label": "Pages" }, ...this.links);
    this.append(el("header", { class: "top" }, el("span", { class: "brand" }, "edge-emotion"), this.name,
      this.hasAttribute("alone") ? null : nav));
    this.show(await info, nav);
  }

  show({ node, web }, nav) {
    this.name.textContent = node ?? "";
    if (!web) return;
    if (!web.broker) this.links.find((link) => link.getAttribute("href") === "nodes").remove();
    if (web.login) nav.append(el("button", { type: "button", class: "plain", onclick: logOut }, "Log out"));
    if (web.preview) this.append(sign());
  }
}

async function logOut() {
  await session("logout", {}).catch(() => null);
  location.assign("login");
}

function sign() {
  return el("p", { class: "preview-sign", role: "alert" },
    el("strong", {}, "Preview is on. "),
    "This device shows the real picture of its cameras to everybody who can open this page. ",
    "To end this, set web.preview to false.");
}

class PageFooter extends HTMLElement {
  connectedCallback() {
    this.append(el("footer", {}, el("p", {},
      "An expression is not a feeling. These pages show which expression a face most resembles, and how probable a ",
      "model finds that. They do not show what a person feels, and are not for decisions about people.")));
  }
}

customElements.define("page-header", PageHeader);
customElements.define("page-footer", PageFooter);
