// The picture and the boxes on it. Boxes are drawn in pixels of the picture; lines and tags keep their size on screen.

import { regionColor } from "./colors.js";
import { svg } from "./dom.js";
import { onLight } from "./light.js";
import { area, distinct, regionFromName, regionsAt, spoken } from "./regions.js";
import { makeTags } from "./tags.js";

const DRAG = 6; // CSS pixels; a press that moves further draws a box

/**
 * @param {HTMLElement} frame holds an <img> and an <svg> of the same size
 * @param {(region: object, others: object[]) => void} onOpen a region was clicked, or chosen with Enter; and what
 *     else lies at that point
 */
export function makeStage(frame, onOpen) {
  const image = frame.querySelector("img");
  const canvas = frame.querySelector("svg");
  const boxes = svg("g", { class: "boxes" });
  const tagLayer = svg("g", { "aria-hidden": "true" });
  const tags = makeTags(tagLayer);
  const rubber = svg("rect", { class: "rubber", visibility: "hidden" });
  canvas.append(boxes, tagLayer, rubber);

  let size = { width: 1, height: 1 };
  let all = []; // every region of the picture, in the server's order
  let known = new Map(); // name → region, as it was last called
  let kinds = new Map(); // name → "strong", "faint" or "idle": what is drawn, and how
  let everything = false;
  let lit = [];
  let order = []; // names of what is drawn, in the order that arrow keys follow

  const unit = () => size.width / (canvas.clientWidth || size.width); // picture pixels per CSS pixel

  /** Show another picture; the URL is of the upright one. */
  function setPicture(url, width, height) {
    size = { width, height };
    image.src = url;
    image.width = width;
    image.height = height;
    frame.style.setProperty("--ratio", width / height);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  /** What was found in the picture, before anything is asked. */
  function setRegions(regions) {
    all = regions;
    show([], []);
  }

  /** Draw these strong and those faint; without any, draw what was found in the picture, each thing once. */
  function show(evidence, candidates) {
    known = new Map([...all, ...candidates, ...evidence].map((region) => [region.name, region]));
    kinds = new Map(distinct(all).map(({ name }) => [name, evidence.length + candidates.length ? "idle" : "faint"]));
    for (const { name } of candidates) kinds.set(name, "faint");
    for (const { name } of evidence) kinds.set(name, "strong");
    draw();
  }

  /** Draw every proposal, also the unlikely ones, or each thing once. */
  function showEverything(on) {
    everything = on;
    draw();
  }

  /** A region by its name; a name that holds a box makes one. */
  function find(name) {
    const region = known.get(name) ?? regionFromName(name);
    if (region) known.set(name, region);
    return region;
  }

  function draw() {
    const focused = document.activeElement?.closest?.(".region")?.dataset.regions;
    const names = new Set([...kinds.keys(), ...lit, ...(everything ? all.map(({ name }) => name) : [])]);
    const shown = [...names].map(find).filter(Boolean);
    const rank = { strong: 2, faint: 1, idle: 0 };
    const level = ({ name }) => rank[kinds.get(name)] ?? -1;
    // Small ones last: what is drawn later lies on top and can be pointed at.
    shown.sort((a, b) => area(b) - area(a));
    boxes.replaceChildren(...shown.map(drawn));
    canvas.classList.toggle("looking", lit.length > 0);
    order = [...shown].sort((a, b) => level(b) - level(a) || b.score - a.score).map(({ name }) => name);
    setStop(order.includes(focused) ? focused : order[0]);
    if (order.includes(focused)) nodeOf(focused).focus();
    drawTags();
  }

  function drawn(region) {
    const [x1, y1, x2, y2] = region.box;
    const rect = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
    const kind = kinds.get(region.name) ?? (everything ? "faint" : "idle");
    return svg(
      "g",
      {
        class: `region ${kind}${lit.includes(region.name) ? " on" : ""}`,
        "data-regions": region.name,
        role: "button",
        tabindex: "-1",
        "aria-label": spoken(region),
      },
      ...(region.polygons ?? []).map((corners) =>
        svg("polygon", { class: "mask", points: corners.join(" "), fill: regionColor(region.name) }),
      ),
      svg("rect", { class: "seam", ...rect }),
      svg("rect", { class: "line", ...rect, stroke: regionColor(region.name) }),
      ...(region.point ? dot(region) : []),
    );
  }

  /** Where to click: the region's colour in a white ring and a dark one; lines without length, wide in CSS pixels. */
  const dot = ({ name, point: [x, y] }) =>
    [["#111", 18], ["#fff", 14], [regionColor(name), 9]].map(([stroke, width]) =>
      svg("path", { class: "dot", d: `M${x} ${y}h0`, stroke, "stroke-width": width }),
    );

  function drawTags() {
    const named = (kind) => order.filter((name) => kinds.get(name) === kind).map(find);
    if (lit.length) tags.draw(lit.map(find).filter(Boolean), [], size, unit(), true);
    else tags.draw(named("strong"), named("faint"), size, unit(), false);
  }

  // ---- keyboard: one tab stop; arrows go from region to region ----

  const nodeOf = (name) => [...boxes.children].find((node) => node.dataset.regions === name);

  function setStop(name) {
    for (const node of boxes.children) node.setAttribute("tabindex", node.dataset.regions === name ? "0" : "-1");
  }

  canvas.addEventListener("keydown", (event) => {
    const name = event.target.closest(".region")?.dataset.regions;
    const at = order.indexOf(name);
    const last = order.length - 1;
    const next = {
      ArrowRight: (at + 1) % order.length,
      ArrowDown: (at + 1) % order.length,
      ArrowLeft: at > 0 ? at - 1 : last,
      ArrowUp: at > 0 ? at - 1 : last,
      Home: 0,
      End: last,
    }[event.key];
    if (at < 0) return;
    if (event.key === "Enter" || event.key === " ") open(name);
    else if (next === undefined) return;
    else {
      setStop(order[next]);
      nodeOf(order[next]).focus();
    }
    event.preventDefault();
  });

  // ---- pointer: click a region, or draw a box ----

  let press = null;

  function pointOf(event) {
    const { left, top } = canvas.getBoundingClientRect();
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    return [inside((event.clientX - left) * unit(), size.width), inside((event.clientY - top) * unit(), size.height)];
  }

  function open(name, point) {
    const region = find(name);
    if (!region) return;
    const [x, y] = point ?? [(region.box[0] + region.box[2]) / 2, (region.box[1] + region.box[3]) / 2];
    onOpen(
      region,
      regionsAt(all, x, y).filter((other) => other.name !== name),
    );
  }

  canvas.addEventListener("pointerdown", (event) => {
    // A finger that moves scrolls the page.
    if (event.button === 0 && event.pointerType !== "touch") press = { from: pointOf(event), event, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (!press) return;
    press.moved ||= Math.hypot(event.clientX - press.event.clientX, event.clientY - press.event.clientY) > DRAG;
    if (!press.moved) return;
    const [x1, y1, x2, y2] = span(press.from, pointOf(event));
    for (const [name, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 }))
      rubber.setAttribute(name, value);
    rubber.setAttribute("visibility", "visible");
  });
  window.addEventListener("pointerup", (event) => {
    rubber.setAttribute("visibility", "hidden");
    if (press?.moved) {
      const box = span(press.from, pointOf(event)).map(Math.round);
      if (box[2] - box[0] > 1 && box[3] - box[1] > 1) open(`b${box.join("_")}`);
    }
    // The click that follows a drag is none.
    setTimeout(() => (press = null));
  });
  canvas.addEventListener("click", (event) => {
    const name = event.target.closest("[data-regions]")?.dataset.regions;
    if (name && !press?.moved) open(name, pointOf(event));
  });

  onLight((names) => {
    lit = names;
    // Names without a box of their own yet are drawn; all others only change how they look.
    if (names.some((name) => !nodeOf(name))) draw();
    else {
      canvas.classList.toggle("looking", names.length > 0);
      drawTags();
    }
  });
  new ResizeObserver(drawTags).observe(canvas);

  return { setPicture, setRegions, show, showEverything, find, image, width: () => size.width };
}

/** The box between two points. */
const span = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
