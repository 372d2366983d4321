// What can be done with one region: say what it is, read it, find more like it, ask about it.

import { callTool } from "./api.js";
import { announce, el } from "./dom.js";
import { pin } from "./light.js";
import { regionFrom } from "./regions.js";
import { chip, fullName } from "./words.js";

const UNNAMED = "A part of the picture";

/**
 * @param {HTMLElement} card is filled with it
 * @param {object} stage where the regions are
 * @param {(action: () => Promise, wait: (text: string) => void, signal: AbortSignal) => Promise} attempt runs an action
 *     again when the server was busy, forgot the picture or wants a token
 * @param {() => string} picture the handle of the picture
 */
export function makePanel(card, stage, attempt, picture) {
  let current = null;
  let opener = null; // where the focus goes back to
  let work = null; // AbortController of what is running

  function open(name, others = []) {
    const region = stage.find(name);
    if (!region) return;
    if (!card.contains(document.activeElement)) opener = document.activeElement;
    work?.abort();
    current = region;
    pin([name]);
    card.hidden = false;
    card.replaceChildren(...content(region, others));
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  function close() {
    if (!current) return;
    work?.abort();
    current = null;
    pin([]);
    if (card.contains(document.activeElement)) goBack();
    card.hidden = true;
    card.replaceChildren();
  }

  /** Put the focus where it was; a box on the picture may have been drawn anew meanwhile. */
  function goBack() {
    const name = opener?.closest(".region")?.dataset.regions;
    const again = opener?.isConnected || !name ? opener : document.querySelector(`.region[data-regions="${name}"]`);
    again?.focus({ preventScroll: true });
  }

  function content(region, others) {
    const result = el("div", { class: "result" });
    const button = (label, tool, args, shown) =>
      el("button", { type: "button", onclick: () => act(label, tool, args, shown, result) }, label);
    const at = { region: region.name };
    const question = el("input", { name: "question", "aria-label": `Ask about ${region.name}`, autocomplete: "off" });
    question.placeholder = "Ask about this region…";
    question.maxLength = 1000;
    const form = el("form", { class: "ask" }, question, el("button", { class: "primary" }, "Ask"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = question.value.trim();
      if (text) act(text, "inspect", { ...at, question: text }, said, result);
    });
    const [x1, y1, x2, y2] = region.box.map(Math.round);
    const sure = region.label ? `${Math.round(region.score * 100)} % sure` : "not named";
    return [
      el(
        "header",
        {},
        cut(region, stage.image, stage.width()),
        el(
          "div",
          {},
          el("h2", { id: "panel-title" }, chip(region.name, tagName(region), null), " ", region.label ?? UNNAMED),
          el("p", { class: "dim" }, `${sure} · ${x2 - x1} × ${y2 - y1} pixels`),
        ),
        el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: close }, "×"),
      ),
      el(
        "div",
        { class: "actions" },
        button("What is this?", "describe", at, described),
        button("Read it", "read", at, read),
        button("More like this", "ground", { like: region.name }, alike),
      ),
      form,
      result,
      others.length
        ? el(
            "p",
            { class: "dim also" },
            "Also here: ",
            ...others.slice(0, 5).map((other) => chip(other.name, fullName(other), (one) => open(one))),
          )
        : null,
    ].filter(Boolean);
  }

  /** Call a tool and put what it found below the question; a failure too. */
  async function act(label, tool, args, shown, result) {
    work?.abort();
    work = new AbortController();
    const { signal } = work;
    const asked = el("p", { class: "dim" }, label);
    const wait = (text) => result.replaceChildren(asked, el("p", { class: "waiting" }, text));
    wait("Looking…");
    try {
      const told = await attempt(() => callTool(tool, { image: picture(), ...args }, signal), wait, signal);
      result.replaceChildren(asked, ...shown(told));
      announce(result.innerText);
    } catch (error) {
      if (error.name === "AbortError") return;
      result.replaceChildren(asked, el("p", { class: error.hopeless ? "" : "problem" }, error.message));
      const again = () => act(label, tool, args, shown, result);
      if (!error.hopeless) result.append(el("button", { type: "button", onclick: again }, "Try again"));
      announce(error.message);
    }
  }

  // ---- what the tools found, as nodes ----

  function described({ text, label, score, source }) {
    if (!text && !label) return [el("p", {}, "Nothing it is sure of.")];
    const sure = label && score !== null && source === "labels" ? ` (${Math.round(score * 100)} %)` : "";
    return [el("p", { class: "said" }, `${text || label}${sure}`)];
  }

  const said = ({ text }) => [el("p", { class: "said" }, text || "It has no answer to that.")];

  const read = ({ text }) => [
    text ? el("p", { class: "said" }, `“${text}”`) : el("p", {}, "No text that it can read."),
  ];

  function alike({ regions, note }) {
    const found = regions.map(regionFrom);
    pin([current.name, ...found.map(({ name }) => name)]);
    if (!found.length) return [el("p", {}, note || "Nothing else like it.")];
    const many = found.length === 1 ? "1 more like it:" : `${found.length} more like it:`;
    const chips = found.map(({ name }) => chip(name, name, (one) => open(one)));
    return [el("p", {}, many), el("p", { class: "actions" }, ...chips)];
  }

  return { open, close, isOpen: () => current !== null };
}

const tagName = (region) => (region.name.startsWith("r") ? region.name : "box");

/** The region, cut out of the picture; for the eye only. */
function cut({ box: [x1, y1, x2, y2] }, image, width) {
  const side = 144;
  const scale = Math.min(side / (x2 - x1), side / (y2 - y1));
  const canvas = el("canvas", { "aria-hidden": "true" });
  canvas.width = Math.max(1, Math.round((x2 - x1) * scale));
  canvas.height = Math.max(1, Math.round((y2 - y1) * scale));
  const pen = canvas.getContext("2d");
  // The picture that is shown may be smaller than the one that was looked at.
  const unit = image.naturalWidth / width;
  const from = [x1 * unit, y1 * unit, (x2 - x1) * unit, (y2 - y1) * unit];
  pen.drawImage(image, ...from, 0, 0, canvas.width, canvas.height);
  return canvas;
}
