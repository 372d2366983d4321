// Regions as the page keeps them: {name, label, score, box: [x1, y1, x2, y2]}, in pixels of the upright picture; and
// `polygons`, [x1, y1, x2, y2, …] each, where they have masks, and a `point` [x, y] where it was asked where to click.

const SURE = 0.25; // from this probability on a region is shown before anything was asked
const SAME_THING = 0.3; // IoU; two boxes with one label that overlap more than this show one thing
const SAME_PLACE = 0.7; // IoU; two boxes that overlap more than this are one to the eye, whatever they are called
const MOST = 40; // so many are shown before anything was asked

/** The name that people see, `r3`, of a region id, `img_3fa9c1d2/r3`. */
export const shortName = (id) => id.slice(id.lastIndexOf("/") + 1);

/** A region out of any JSON of the server: id long or short, box as object or array. */
export function regionFrom(json) {
  const { box } = json;
  return {
    name: shortName(json.id),
    label: json.label ?? null,
    score: json.score ?? 0,
    box: Array.isArray(box) ? box : [box.x1, box.y1, box.x2, box.y2],
  };
}

/** The region that a name like `b10_20_110_220` says all about; null for other names. */
export function regionFromName(name) {
  const match = /^b(\d+)_(\d+)_(\d+)_(\d+)$/.exec(name);
  return match && { name, label: null, score: 0, box: match.slice(1).map(Number) };
}

/** What a tag says: `r3 bus .94`, as in drawn pictures; for a box without a number only what it shows. */
export function tagText(region) {
  const label = region.label && region.label.length > 24 ? `${region.label.slice(0, 23)}…` : region.label;
  if (!region.name.startsWith("r")) return label || "box";
  return [region.name, label, region.score.toFixed(2).replace(/^0/, "")].filter(Boolean).join(" ");
}

/** What a screen reader says of a region. */
export function spoken(region) {
  if (!region.name.startsWith("r")) return region.label ? `box, ${region.label}` : "box";
  return `${region.name}, ${region.label ?? "not named"}, ${Math.round(region.score * 100)} percent`;
}

export const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);

/** Each thing once, the sure ones, best first: what is shown of a picture's many proposals before anything is asked. */
export function distinct(regions) {
  const kept = [];
  for (const region of [...regions].sort((a, b) => b.score - a.score)) {
    if (region.score < SURE || kept.length === MOST) break;
    const known = kept.some((other) => iou(region, other) > (other.label === region.label ? SAME_THING : SAME_PLACE));
    if (!known) kept.push(region);
  }
  return kept;
}

/** The regions at a point, best first, each label once. */
export function regionsAt(regions, x, y) {
  const here = regions
    .filter(({ box: [x1, y1, x2, y2] }) => x1 <= x && x <= x2 && y1 <= y && y <= y2)
    .sort((a, b) => b.score - a.score);
  const labels = new Set();
  return here.filter(({ label, name }) => !labels.has(label ?? name) && labels.add(label ?? name));
}

function iou(a, b) {
  const width = Math.min(a.box[2], b.box[2]) - Math.max(a.box[0], b.box[0]);
  const height = Math.min(a.box[3], b.box[3]) - Math.max(a.box[1], b.box[1]);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (area(a) + area(b) - width * height);
}
