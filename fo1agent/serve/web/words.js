// Makes the words of a text that speak of regions into buttons that light them: r3, and the names of what was found.

import { inkOn, regionColor } from "./colors.js";
import { el } from "./dom.js";

const IRREGULAR = {
  person: "people",
  man: "men",
  woman: "women",
  child: "children",
  mouse: "mice",
  knife: "knives",
  sheep: "sheep",
  foot: "feet",
  tooth: "teeth",
  leaf: "leaves",
  shelf: "shelves",
};

/** The plural of what a phrase names: its last word's. */
export function plural(phrase) {
  const start = phrase.lastIndexOf(" ") + 1;
  const noun = phrase.slice(start);
  if (IRREGULAR[noun]) return phrase.slice(0, start) + IRREGULAR[noun];
  if (/[^aeiou]y$/.test(noun)) return `${phrase.slice(0, -1)}ies`;
  return phrase + (/(s|x|z|ch|sh)$/.test(noun) ? "es" : "s");
}

/**
 * A text as nodes: plain text, and a button for every word that speaks of a region.
 *
 * @param {string} text
 * @param {object[]} regions what names in it may mean; those of one name that come first are meant
 * @param {(name: string) => void} onOpen a button was clicked that means one region
 */
export function linked(text, regions, onOpen) {
  const meant = new Map();
  for (const { name, label } of regions) {
    for (const word of label ? [label, plural(label)] : []) {
      const key = word.toLowerCase();
      meant.set(key, [...(meant.get(key) ?? []), name]);
    }
  }
  const words = [...meant.keys()].sort((a, b) => b.length - a.length).map(escaped);
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(${["r\\d+", ...words].join("|")})(?![\\p{L}\\p{N}_])`, "giu");
  return text.split(pattern).map((piece, index) => {
    if (index % 2 === 0) return piece;
    const isName = /^r\d+$/.test(piece);
    if (!isName && !meant.has(piece.toLowerCase())) return piece;
    const names = isName ? [piece] : meant.get(piece.toLowerCase());
    return isName ? chip(piece, piece, onOpen) : word(piece, names, onOpen);
  });
}

/**
 * What of a question could not be judged, and what is known of the numbers that hang on it: `Not judged: “dead” · 0 to
 * 1`; empty where all was. An older server says neither.
 */
export function openWords({ not_judged: words = [], bounds = null }) {
  if (!words.length) return "";
  const known = [bounds].flat().filter(Boolean);
  const ranges = known.map(({ at_least: least, at_most: most }) =>
    most === null ? `${least ?? 0} or more` : `${least ?? 0} to ${most}`,
  );
  return [`Not judged: ${words.map((word) => `“${word}”`).join(", ")}`, ...ranges].join(" · ");
}

/** `r3 bus`; only the first without a label. */
export const fullName = ({ name, label }) => (label ? `${name} ${label}` : name);

/** A small button in a region's colour; without `onOpen` only a mark. */
export function chip(name, text, onOpen) {
  const attributes = { class: "chip", "data-regions": name };
  const made = onOpen
    ? el("button", { ...attributes, type: "button", onclick: () => onOpen(name) }, text)
    : el("span", attributes, text);
  const color = regionColor(name);
  made.style.setProperty("--region", color);
  made.style.setProperty("--region-ink", inkOn(color));
  return made;
}

function word(text, names, onOpen) {
  const button = el("button", { type: "button", class: "word", "data-regions": names.join(" ") }, text);
  button.style.setProperty("--region", regionColor(names[0]));
  if (names.length === 1) button.addEventListener("click", () => onOpen(names[0]));
  return button;
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
