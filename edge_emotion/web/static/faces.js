// Elements for faces: the line drawing of a frame, and the probabilities of one face as bars.

import { drawing } from "./avatar.js";
import { el, percent, pool, reasonText, say } from "./dom.js";

const SIZE = 1000;
const MOST = 24;

/** The avatar of a whole frame. `show` takes faces with fractions, and the frame's size in pixels. */
class FaceAvatar extends HTMLElement {
  connectedCallback() {
    this.svg ??= this.appendChild(el("svg:svg", { role: "img", "aria-label": "Nobody is in view", viewBox: "0 0 1000 750" }));
  }

  show(faces, width, height, label) {
    const tall = Math.round(SIZE * height / width);
    if (this.tall !== tall) this.svg.setAttribute("viewBox", `0 0 ${SIZE} ${this.tall = tall}`);
    const drawn = faces.slice(0, MOST);
    pool(this.svg, drawn.length, figure).forEach((group, index) => {
      draw(group, drawn[index], drawing(drawn[index], SIZE, tall), label(drawn[index]), tall);
    });
  }

  /** The text alternative; to be set rarely, as a screen reader may report it. */
  describe(text) {
    if (this.svg.getAttribute("aria-label") !== text) this.svg.setAttribute("aria-label", text);
  }
}

function figure() {
  const parts = ["ellipse", "ellipse", "ellipse", "path", "path", "path", "path", "text"];
  return el("svg:g", {}, ...parts.map((tag) => el(`svg:${tag}`)));
}

function draw(group, face, lines, label, tall) {
  group.setAttribute("class", `face e-${face.emotion}`);
  const [outline, left, right, leftBrow, rightBrow, nose, mouth, text] = group.children;
  ellipse(outline, lines.outline, lines.angle);
  ellipse(left, lines.eyes[0], lines.angle);
  ellipse(right, lines.eyes[1], lines.angle);
  [[leftBrow, lines.brows[0]], [rightBrow, lines.brows[1]], [nose, lines.nose], [mouth, lines.mouth]]
    .forEach(([path, d]) => path.setAttribute("d", d));
  const below = lines.outline.cy + lines.outline.ry + 40;
  text.setAttribute("x", Math.min(Math.max(lines.outline.cx, 150), SIZE - 150));
  text.setAttribute("y", Math.min(below, tall - 12));
  say(text, label);
}

function ellipse(element, { cx, cy, rx, ry }, angle) {
  const values = { cx, cy, rx, ry };
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value.toFixed(1));
  element.setAttribute("transform", `rotate(${angle.toFixed(1)} ${cx.toFixed(1)} ${cy.toFixed(1)})`);
}

/** Bars of the probabilities of one face, each with its name and number as text. */
class ProbabilityBars extends HTMLElement {
  connectedCallback() {
    this.list ??= this.appendChild(el("ul", { class: "bars" }));
  }

  show(probabilities) {
    const pairs = Object.entries(probabilities);
    pool(this.list, pairs.length, bar).forEach((row, index) => {
      const [label, probability] = pairs[index];
      const [name, track, value] = row.children;
      say(name, label);
      say(value, percent(probability));
      track.firstElementChild.className = `fill e-${label}`;
      track.firstElementChild.style.width = `${(probability * 100).toFixed(1)}%`;
    });
  }
}

function bar() {
  return el("li", {}, el("span", { class: "name" }),
    el("span", { class: "track", "aria-hidden": "true" }, el("span")), el("span", { class: "value" }));
}

/** One face: heading, bars, and how good its picture is. */
class FaceCard extends HTMLElement {
  connectedCallback() {
    if (this.bars) return;
    this.heading = el("h3");
    this.bars = el("probability-bars");
    this.note = el("p", { class: "note" });
    this.append(this.heading, this.bars, this.note);
  }

  show(title, face) {
    say(this.heading, `${title}: ${verdict(face)}`);
    this.bars.show(face.probabilities);
    const reason = face.reason ? `; the picture of this face is not relied on: ${reasonText(face.reason)}` : "";
    say(this.note, `quality ${percent(face.quality)}, detected with a score of ${percent(face.score)}${reason}`);
  }
}

/** The emotion of a face with its confidence. */
export function verdict({ emotion, confidence }) {
  return emotion === null || emotion === undefined ? "not decided yet" : `${emotion} ${percent(confidence)}`;
}

customElements.define("face-avatar", FaceAvatar);
customElements.define("probability-bars", ProbabilityBars);
customElements.define("face-card", FaceCard);
