// The settings of one camera that can be changed while the daemon runs: enabled, threshold, classes.

import { post } from "./api.js";
import { el, say } from "./dom.js";

class CameraSettings extends HTMLElement {
  show({ enabled, threshold, classes }, labels, writes) {
    const name = this.getAttribute("name");
    const all = [...new Set([...labels, ...(classes ?? [])])];
    this.answer = el("p", { role: "status", class: "note" });
    this.enabled = el("input", { type: "checkbox", role: "switch", onchange: () => this.set("enabled", this.enabled.checked) });
    this.threshold = el("input", { type: "number", min: 0, max: 1, step: "any", inputmode: "decimal", required: true });
    this.boxes = all.map((label) => el("input", { type: "checkbox", value: label }));
    this.replaceChildren(el("fieldset", { class: "settings", disabled: !writes },
      el("legend", {}, name),
      el("label", { class: "row" }, this.enabled, "Camera switched on"),
      el("form", { class: "row", onsubmit: (event) => this.submit(event, "threshold", () => this.threshold.valueAsNumber) },
        el("label", {}, "Lowest confidence of an emotion (0 to 1) ", this.threshold),
        el("button", {}, "Set"), this.reset("threshold")),
      el("form", { onsubmit: (event) => this.submit(event, "classes", () => this.chosen()) },
        el("fieldset", {}, el("legend", {}, "Classes"),
          el("div", { class: "checks" }, ...this.boxes.map((box) => el("label", {}, box, box.value)))),
        el("button", {}, "Set"), " ", this.reset("classes")),
      this.answer));
    this.apply("enabled", enabled);
    this.apply("threshold", threshold);
    this.apply("classes", classes);
  }

  chosen() {
    return this.boxes.filter((box) => box.checked).map((box) => box.value);
  }

  reset(feature) {
    return el("button", { type: "button", class: "plain", onclick: () => this.set(feature, null),
      "aria-label": `${feature} as in the configuration file` }, "As configured");
  }

  submit(event, feature, value) {
    event.preventDefault();
    this.set(feature, value());
  }

  async set(feature, value) {
    try {
      const answer = await post("set", { camera: this.getAttribute("name"), feature, value });
      this.apply(feature, answer.value);
      say(this.answer, `${feature} is now ${text(answer.value)}`);
    } catch (error) {
      say(this.answer, error.message);
      if (feature === "enabled") this.enabled.checked = !this.enabled.checked;
    }
  }

  apply(feature, value) {
    if (feature === "enabled") this.enabled.checked = value;
    else if (feature === "threshold") this.threshold.value = value ?? "";
    else for (const box of this.boxes) box.checked = !value?.length || value.includes(box.value);
  }
}

function text(value) {
  return value === true ? "on" : value === false ? "off" : Array.isArray(value) ? value.join(", ") : String(value);
}

customElements.define("camera-settings", CameraSettings);
