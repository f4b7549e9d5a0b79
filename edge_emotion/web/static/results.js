// Answers of several pictures as files: JSON as they came, and CSV with one row for each face. Pure.

const PLAIN = ["file", "face", "x", "y", "width", "height", "emotion", "confidence", "quality", "score", "reason", "model", "version"];

/** `results` are {file, answer}; a picture without a face gets one row without values. */
export function asCsv(results) {
  const labels = [...new Set(results.flatMap(({ answer }) => answer.faces.flatMap((face) => Object.keys(face.probabilities))))];
  const rows = results.flatMap(({ file, answer }) => (answer.faces.length ? answer.faces : [null]).map((face, index) => [
    file,
    ...(face ? [index + 1, ...face.box, face.emotion, face.confidence, face.quality, face.score, face.reason] : Array(10).fill(null)),
    answer.model.name,
    answer.model.version,
    ...labels.map((label) => face?.probabilities[label]),
  ]));
  return [[...PLAIN, ...labels], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

export function asJson(results) {
  return `${JSON.stringify(results.map(({ file, answer }) => ({ file, ...answer })), null, 2)}\n`;
}

/** One cell after RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
