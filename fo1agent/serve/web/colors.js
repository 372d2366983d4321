// A region's colour comes from its name alone, so it is the same here, in the terminal, the picture and the report.
// The palette and both rules are those of fo1agent/drawing.py; a test compares them.

export const PALETTE = [
  "#e69f00", // orange
  "#56b4e9", // sky blue
  "#d55e00", // vermilion
  "#f0e442", // yellow
  "#009e73", // green
  "#cc79a7", // purple
  "#0072b2", // blue
  "#a6e3b0", // light green
  "#c9b6ff", // lilac
];

const TIERS = [
  ["#000000", 0], // the palette itself, then paler, then darker
  ["#ffffff", 0.5],
  ["#000000", 0.35],
];

/** The colour of a region, `#rrggbb`, from its short name (`r7`) or its id: 27 in all. */
export function regionColor(id) {
  const name = id.slice(id.lastIndexOf("/") + 1);
  const number = /^r\d+$/.test(name) ? Number(name.slice(1)) : crc32(name);
  const [toward, share] = TIERS[Math.floor(number / PALETTE.length) % TIERS.length];
  return mixed(PALETTE[number % PALETTE.length], toward, share);
}

function mixed(color, toward, share) {
  const channel = (text, start) => parseInt(text.slice(start, start + 2), 16);
  const made = [1, 3, 5].map((at) => Math.floor(channel(color, at) * (1 - share) + channel(toward, at) * share));
  return `#${made.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Dark or white, whichever reads better on `color` (`#rrggbb`). */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((start) => {
    const value = parseInt(color.slice(start, start + 2), 16);
    return value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.2 ? "#111111" : "#ffffff";
}

function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
