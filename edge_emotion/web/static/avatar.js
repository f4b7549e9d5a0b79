// The avatar: a line drawing of a face, computed from its box, its six landmarks and its probabilities.
// Pure geometry: numbers in, numbers and SVG path texts out. No picture takes part.

/**
 * How far each expression moves the parts of the face from neutral, after the action units that the Facial Action
 * Coding System names for it: lip corners up (12) or down (15), jaw open (26), lips stretched (20) or rounded, brows
 * up (1, 2) or down (4), inner brows up (1), eyes wide (5) or narrow (6, 7), one corner up (14).
 */
export const SHAPES = {
  neutral: { smile: 0, open: 0, round: 0, brow: 0, tilt: 0, eye: 0, skew: 0 },
  happiness: { smile: 1, open: 0.3, round: -0.25, brow: 0.1, tilt: 0, eye: -0.3, skew: 0 },
  surprise: { smile: 0, open: 1, round: 0.45, brow: 1, tilt: 0.1, eye: 0.8, skew: 0 },
  sadness: { smile: -0.8, open: 0, round: 0.1, brow: 0.1, tilt: 1, eye: -0.25, skew: 0 },
  anger: { smile: -0.4, open: 0, round: 0.15, brow: -0.7, tilt: -1, eye: -0.25, skew: 0 },
  disgust: { smile: -0.5, open: 0.2, round: 0.1, brow: -0.5, tilt: -0.3, eye: -0.55, skew: 0.3 },
  fear: { smile: -0.3, open: 0.5, round: -0.15, brow: 0.8, tilt: 0.8, eye: 0.7, skew: 0 },
  contempt: { smile: 0.1, open: 0, round: 0, brow: 0, tilt: 0, eye: -0.15, skew: 1 },
};

/** Where a face without landmarks has them, in fractions of its box: eyes, nose, mouth, ears. */
const USUAL = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.5, 0.78], [0.02, 0.45], [0.98, 0.45]];

/** The shapes weighted by `probabilities`; labels that are not among them count as neutral. */
export function blend(probabilities) {
  const sum = { ...SHAPES.neutral };
  for (const [label, probability] of Object.entries(probabilities ?? {})) {
    for (const [part, value] of Object.entries(SHAPES[label] ?? {})) sum[part] += value * probability;
  }
  return sum;
}

/** Angle of the line through the eyes in radians, clockwise; 0 where they coincide. */
export function roll(landmarks) {
  const [[leftX, leftY], [rightX, rightY]] = landmarks;
  return Math.atan2(rightY - leftY, rightX - leftX);
}

/**
 * The lines of one face in a frame of `width` x `height` units.
 *
 * `face` has `box` and `landmarks` as fractions of the frame, and `probabilities`.
 * Returns {angle, outline: {cx, cy, rx, ry}, eyes: [{cx, cy, rx, ry}, ...], brows: [path, ...], nose: path,
 * mouth: path}: ellipses, to be turned by `angle` degrees about their centres, and texts for SVG's `d`.
 */
export function drawing(face, width, height) {
  const [x, y, w, h] = [face.box[0] * width, face.box[1] * height, face.box[2] * width, face.box[3] * height];
  const points = face.landmarks?.length >= 4
    ? face.landmarks.map(([px, py]) => [px * width, py * height])
    : USUAL.map(([fx, fy]) => [x + fx * w, y + fy * h]);
  const angle = roll(points);
  const unit = Math.max(Math.hypot(points[1][0] - points[0][0], points[1][1] - points[0][1]), w * 0.12, 1e-6);
  const shape = blend(face.probabilities);
  const place = placer(angle, unit);
  const [centreX, centreY] = place([x + w / 2, y + h / 2], 0, -0.06 * h / unit);
  return {
    angle: angle * 180 / Math.PI,
    outline: { cx: centreX, cy: centreY, rx: w * 0.5, ry: h * 0.6 },
    eyes: [points[0], points[1]].map(([cx, cy]) => ({ cx, cy, rx: 0.17 * unit, ry: 0.1 * unit * (1 + 0.75 * shape.eye) })),
    brows: [brow(place, points[0], -1, shape), brow(place, points[1], 1, shape)],
    nose: line(place(points[2], -0.1, -0.08), place(points[2], 0, 0.06), place(points[2], 0.1, -0.08)),
    mouth: mouth(place, points[3], shape),
  };
}

/** A function that moves a point by multiples of the eyes' distance along and across the line of the eyes. */
function placer(angle, unit) {
  const [cos, sin] = [Math.cos(angle) * unit, Math.sin(angle) * unit];
  return ([x, y], along, across) => [x + along * cos - across * sin, y + along * sin + across * cos];
}

function brow(place, eye, side, { brow: raised, tilt }) {
  const base = -0.26 - 0.12 * raised;
  const inner = base - 0.11 * tilt;
  const outer = base + 0.07 * tilt;
  return line(place(eye, -side * 0.2, inner), place(eye, 0, (inner + outer) / 2 - 0.08), place(eye, side * 0.24, outer));
}

function mouth(place, at, { smile, open, round, skew }) {
  const half = 0.36 * (1 - 0.8 * round);
  const corner = -0.13 * smile;
  const left = place(at, -half, corner);
  const right = place(at, half, corner - 0.16 * skew);
  const upper = place(at, 0, 0.1 * smile - 0.26 * open);
  const lower = place(at, 0, 0.17 * smile + 0.75 * open);
  return `M${text(left)}Q${text(upper)} ${text(right)}Q${text(lower)} ${text(left)}Z`;
}

function line(from, bend, to) {
  return `M${text(from)}Q${text(bend)} ${text(to)}`;
}

function text([x, y]) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
