// Elements and texts. Everything that comes from outside is set as text, never as HTML.

/** An element with attributes (`on...` functions are listeners, `false` and `null` leave one out) and children. */
export function el(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set the text of an element only where it changes: a screen reader reports every setting. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make `parent` have `count` children, made by `make`, and return them. */
export function pool(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make());
  return [...parent.children];
}

export function percent(fraction) {
  return fraction === null || fraction === undefined ? "-" : `${Math.round(fraction * 100)} %`;
}

export function number(value, digits = 0, unit = "") {
  return value === null || value === undefined ? "-" : `${value.toFixed(digits)}${unit && `\u00a0${unit}`}`;
}

/** Hours, minutes and, with a `length` of 8, seconds where the reader is, of seconds since 1970. */
export function clock(seconds, length = 8) {
  return new Date(seconds * 1000).toTimeString().slice(0, length);
}

export function duration(seconds) {
  const whole = Math.round(seconds);
  const [d, h, m] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${whole % 60} s` : `${whole} s`;
}

/** Why the picture of a face is not relied on, as in an event's `reason`. */
export function reasonText(reason) {
  const known = {
    dark: "too dark",
    blurred: "blurred",
    turned: "turned away",
    hidden: "eyes or mouth hidden",
    small: "too small",
    interrupted: "the program was interrupted",
  };
  return known[reason] ?? reason;
}
