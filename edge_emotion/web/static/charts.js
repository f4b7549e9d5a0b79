// The charts of one camera, drawn by uPlot: what was seen in the last minutes, and how fast it was computed.

import { clock } from "./dom.js";

const LANE = 26;
const AXIS = 28;
const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  const style = getComputedStyle(document.documentElement);
  return style.getPropertyValue(`--${name}`).trim() || style.getPropertyValue("--e-other").trim();
}

function axis(more) {
  return { stroke: () => colour("quiet"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false }, ...more };
}

function timeAxis() {
  return axis({
    size: AXIS,
    gap: 6,
    space: 50,
    values: (_, ticks) => ticks.map((tick) => clock(tick, 5)),
    incrs: [60, 120, 300],
  });
}

/** One uPlot in `parent` as wide as that; `data` gives what to draw when it is asked to. */
class Chart {
  constructor(parent, height, options, data) {
    this.parent = parent;
    this.height = height;
    this.data = data;
    const common = { width: parent.clientWidth || 300, height: height(), legend: { show: false }, cursor: { show: false } };
    this.plot = new uPlot({ ...common, ...options }, data(), parent);
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(parent);
    this.redraw = () => this.plot.redraw();
    dark.addEventListener("change", this.redraw);
  }

  fit() {
    const [width, height] = [this.parent.clientWidth, this.height()];
    if (width && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
  }

  show(from, to) {
    this.fit();
    this.plot.batch(() => {
      this.plot.setData(this.data(), false);
      this.plot.setScale("x", { min: from, max: to });
    });
  }

  close() {
    this.watch.disconnect();
    dark.removeEventListener("change", this.redraw);
    this.plot.destroy();
  }
}

/** Bands and marks of a History. */
export function timelineChart(parent, history) {
  return new Chart(parent, () => 6 + AXIS + LANE * history.lanes, {
    padding: [6, 8, 0, 8],
    scales: { x: { time: true, auto: false }, y: { range: [0, 1] } },
    axes: [timeAxis(), { show: false }],
    series: [{}, { show: false }],
    hooks: { draw: [(plot) => drawHistory(plot, history)] },
  }, () => [[0, 1], [null, null]]);
}

function drawHistory(plot, history) {
  const { ctx, bbox } = plot;
  const ratio = uPlot.pxRatio;
  const right = bbox.left + bbox.width;
  const at = (seconds) => Math.min(Math.max(plot.valToPos(seconds, "x", true), bbox.left), right);
  const top = (lane) => bbox.top + lane * LANE * ratio;
  ctx.save();
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  for (const { emotion, from, to, lane } of history.bands) {
    const [begin, end] = [at(from), to === null ? right : at(to)];
    ctx.fillStyle = colour(`e-${emotion}`);
    ctx.fillRect(begin, top(lane) + 3 * ratio, Math.max(end - begin, ratio), (LANE - 6) * ratio);
    if (ctx.measureText(emotion).width + 10 * ratio > end - begin) continue;
    ctx.fillStyle = colour("on-emotion");
    ctx.fillText(emotion, begin + 6 * ratio, top(lane) + LANE * ratio / 2);
  }
  ctx.fillStyle = colour("text");
  for (const mark of history.marks) {
    if (mark.at >= plot.scales.x.min) drawMark(ctx, at(mark.at), top(mark.lane), ratio, mark.event.type);
  }
  ctx.restore();
}

/** A triangle that points to the right for a start, to the left for an end, and a line for a change. */
function drawMark(ctx, x, y, ratio, type) {
  if (type === "change") return ctx.fillRect(x - ratio, y, 2 * ratio, LANE * ratio);
  const tip = (type === "start" ? 6 : -6) * ratio;
  ctx.beginPath();
  ctx.moveTo(x, y + 7 * ratio);
  ctx.lineTo(x + tip, y + 13 * ratio);
  ctx.lineTo(x, y + 19 * ratio);
  ctx.fill();
}

/** Frames per second and latency of a Series. */
export function speedChart(parent, series) {
  return new Chart(parent, () => 120, {
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: true, auto: false },
      fps: { range: (_, low, high) => [0, Math.max(1, (high ?? 1) * 1.1)] },
      ms: { range: (_, low, high) => [0, Math.max(1, (high ?? 1) * 1.1)] },
    },
    axes: [timeAxis(), axis({ scale: "fps", size: 40 }), axis({ scale: "ms", side: 1, size: 44, grid: { show: false } })],
    series: [
      {},
      { scale: "fps", stroke: () => colour("accent"), width: 2, points: { show: false } },
      { scale: "ms", stroke: () => colour("second"), width: 2, dash: [6, 4], points: { show: false } },
    ],
  }, () => series.data);
}
