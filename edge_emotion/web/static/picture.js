// One picture of the page "Try a picture": the user's own copy with what was found, or why there is no answer.

import { el, percent, pool, say } from "./dom.js";
import { verdict } from "./faces.js";

const WIDEST = 960;

class PictureResult extends HTMLElement {
  answer = null;
  #drawn = 0;

  connectedCallback() {
    if (this.status) return;
    this.status = el("p", { role: "status", class: "note" });
    this.canvas = el("canvas", { role: "img", hidden: true });
    this.cards = el("div", { class: "cards" });
    this.removal = el("button", { type: "button", class: "plain", "aria-label": `Remove ${this.file.name}`, onclick: () => {
      this.dispatchEvent(new Event("removed", { bubbles: true }));
    } }, "Remove");
    this.append(el("article", { class: "picture" },
      el("div", { class: "head" }, el("h2", {}, this.file.name), this.removal), this.status,
      el("div", { class: "now" }, el("div", {}, this.canvas), this.cards)));
  }

  waiting(text) {
    this.classList.remove("failed");
    say(this.status, text);
  }

  failed(message) {
    this.answer = null;
    this.classList.add("failed");
    this.canvas.hidden = true;
    this.cards.replaceChildren();
    say(this.status, message);
  }

  async answered(answer) {
    this.answer = answer;
    const { faces, model, ms } = answer;
    const found = faces.length === 0 ? "no face was found" : faces.length === 1 ? "1 face" : `${faces.length} faces`;
    const summary = faces.map((face, index) => `face ${index + 1}: ${verdict(face)}`).join("; ");
    pool(this.cards, faces.length, () => el("face-card")).forEach((card, index) => {
      card.show(`Face ${index + 1}`, faces[index]);
    });
    this.canvas.setAttribute("aria-label", `${this.file.name}: ${summary || found}`);
    const shown = await this.#draw(faces);
    const note = shown ? "" : "; this browser cannot show this kind of picture";
    say(this.status, `${found}; ${model.name} ${model.version}; ${Math.round(ms)} ms${note}`);
  }

  /** The picture upright, with boxes and labels. Whether the browser can read it. */
  async #draw(faces) {
    const turn = ++this.#drawn;
    let picture;
    try {
      picture = await createImageBitmap(this.file);
    } catch {
      this.canvas.hidden = true;
      return false;
    }
    if (turn === this.#drawn) this.#paint(picture, faces);
    picture.close();
    return true;
  }

  #paint(picture, faces) {
    const scale = Math.min(1, WIDEST / Math.max(picture.width, picture.height));
    const canvas = this.canvas;
    [canvas.width, canvas.height] = [picture.width * scale, picture.height * scale].map((side) => Math.max(1, Math.round(side)));
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    faces.forEach((face, index) => box(context, face, `${index + 1} ${face.emotion} ${percent(face.confidence)}`));
    canvas.hidden = false;
  }
}

/** A box that can be seen on any picture: dark around light; the label stays inside the picture. */
function box(context, face, label) {
  const { width, height } = context.canvas;
  const [x, y, w, h] = [face.box[0] * width, face.box[1] * height, face.box[2] * width, face.box[3] * height];
  const line = Math.max(2, Math.round(width / 300));
  const size = Math.max(12, Math.round(width / 40));
  for (const [stroke, thick] of [["#000", line + 2], ["#fff", line]]) {
    context.strokeStyle = stroke;
    context.lineWidth = thick;
    context.strokeRect(x, y, w, h);
  }
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  const wide = context.measureText(label).width + size * 0.6;
  const left = Math.min(Math.max(x, 0), Math.max(0, width - wide));
  const top = y - size * 1.4 > 0 ? y - size * 1.4 : Math.min(y + h, height - size * 1.4);
  context.fillStyle = "#000";
  context.fillRect(left, top, wide, size * 1.4);
  context.fillStyle = "#fff";
  context.fillText(label, left + size * 0.3, top + size * 0.2);
}

customElements.define("picture-result", PictureResult);
