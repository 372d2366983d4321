// The small tags of boxes: they cover neither each other nor, if there is room beside it, the thing that they name.

import { inkOn, regionColor } from "./colors.js";
import { svg } from "./dom.js";
import { tagText } from "./regions.js";

const TEXT = 12; // CSS pixels; so are the next three
const HEIGHT = 20;
const PAD = 5;
const OFF = 3; // from the box
const MANY = 14; // with more strong ones than this, tags say only which

/** @param {SVGElement} layer is filled with the tags */
export function makeTags(layer) {
  let resting = new Map(); // region's name → the corner of its tag while nothing is lit

  /**
   * @param {object[]} strong regions that get a tag in their colour
   * @param {object[]} faint regions that get a dark one, where there is room
   * @param {{width: number, height: number}} size of the picture, pixels
   * @param {number} one pixels of the picture in a CSS pixel
   * @param {boolean} lit the strong ones are only pointed at
   */
  function draw(strong, faint, size, one, lit) {
    const taken = [];
    const now = new Map();
    layer.replaceChildren();
    const put = (region, text, colors, kind) => {
      const label = svg("text", { "font-size": TEXT * one, "dominant-baseline": "central", fill: colors?.ink }, text);
      const back = svg("rect", { rx: 4 * one, height: HEIGHT * one, fill: colors?.back });
      const tag = svg("g", { class: `tag ${kind}`, "data-regions": region.name }, back, label);
      layer.append(tag);
      const tagSize = { width: label.getComputedTextLength() + 2 * PAD * one, height: HEIGHT * one };
      // A tag that grows while it is pointed at stays under the pointer.
      const before = lit ? resting.get(region.name) : undefined;
      const place = placeFor(region, tagSize, size, OFF * one, taken, strong, before, kind === "faint");
      if (!place) return tag.remove();
      taken.push(place);
      now.set(region.name, place);
      back.setAttribute("x", place[0]);
      back.setAttribute("y", place[1]);
      back.setAttribute("width", tagSize.width);
      label.setAttribute("x", place[0] + PAD * one);
      label.setAttribute("y", place[1] + tagSize.height / 2);
    };
    for (const region of strong) {
      const back = regionColor(region.name);
      put(region, strong.length > MANY ? region.name : tagText(region), { back, ink: inkOn(back) }, "strong");
    }
    for (const region of faint) put(region, region.label ?? region.name, null, "faint");
    if (!lit) resting = now;
  }

  return { draw };
}

/** Where a tag goes, xyxy; null for a faint one without room. */
function placeFor(region, { width, height }, size, off, taken, strong, before, faint) {
  const [x1, y1, x2, y2] = region.box;
  const fit = (value, most) => Math.min(Math.max(value, 0), Math.max(0, most));
  const at = (x, y) => {
    const left = fit(x, size.width - width);
    return [left, y, left + width, y + height];
  };
  const free = (place) => taken.every((other) => overlap(place, other) === 0);
  if (before && free(at(before[0], before[1]))) return at(before[0], before[1]);

  const middle = (x1 + x2 - width) / 2;
  const beside = [x1, x2 - width, middle];
  const inside = [x1 + off, x2 - width - off, middle];
  const rows = [
    [y1 - height - off, beside],
    [y2 + off, beside],
    [y1 + off, inside],
    [y2 - height - off, inside],
  ];
  let best = null;
  for (const [row, [y, columns]] of rows.entries()) {
    if (y < 0 || y + height > size.height) continue;
    for (const place of columns.map((x) => at(x, y)).filter(free)) {
      const hidden = strong.reduce((sum, other) => sum + (other === region ? 0 : overlap(place, other.box)), 0);
      const cost = hidden / (width * height) + row * 0.1;
      if (!best || cost < best.cost) best = { cost, place };
    }
  }
  if (best || faint) return best?.place ?? null;
  return at(x1, fit(y1 - height - off, size.height - height));
}

/** The area that two boxes share. */
function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return width > 0 && height > 0 ? width * height : 0;
}
