// Elements from data. Text always becomes text nodes: what was read off a picture can never become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element: its attributes (`onclick` and the like are listeners, null is left out), then its children, which
 * are texts or nodes.
 */
export const el = (tag, attributes = {}, ...children) => made(document.createElement(tag), attributes, children);

/** An SVG element, made as `el` makes one. */
export const svg = (tag, attributes = {}, ...children) =>
  made(document.createElementNS(SVG, tag), attributes, children);

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Say something to screen readers, after what was said before. */
export function announce(text) {
  const live = document.getElementById("live");
  live.append(el("p", {}, text));
  while (live.childElementCount > 30) live.firstElementChild.remove();
}
