// One question as the page shows it: what was asked, the answer, and the steps that led there.

import { announce, el } from "./dom.js";
import { regionFrom, shortName } from "./regions.js";
import { chip, fullName, linked, openWords } from "./words.js";

/** Whether a step goes by the pixels of things, so that the server has their masks, if it has a segmenter. */
const goesByPixels = ({ tool, args }) =>
  ["segment", "point"].includes(tool) ||
  ["area", "share"].includes(args.quantity) ||
  ["largest", "smallest"].includes(args.by);

/**
 * @param {string} question
 * @param {object} stage where its regions are
 * @param {{onOpen: (name: string) => void, onAsk: (question: string) => void,
 *     onMasks: (names: string[], made: boolean) => Promise}} actions a region or another question was chosen; or a
 *     question was answered: gives the masks of its evidence, those too that the answer made
 */
export function makeTurn(question, stage, { onOpen, onAsk, onMasks }) {
  const answer = el("p", { class: "answer waiting" }, "Looking…");
  const open = el("p", { class: "open dim", hidden: true }); // what could not be judged
  const extra = el("div", { class: "actions" });
  const steps = el("ol", { class: "steps" });
  const summary = el("summary", {}, "Steps");
  const details = el("details", { class: "how", open: true, hidden: true }, summary, steps);
  const article = el("article", { class: "turn" }, el("h2", {}, question), answer, open, extra, details);
  const rows = new Map(); // step number → its row
  let shown = { evidence: [], candidates: [] };

  /** An event of the stream. */
  function tell(type, event) {
    if (type === "plan" && event.revision > 0) steps.append(el("li", { class: "step dim" }, "A new plan"));
    else if (type === "step_start") startStep(event);
    else if (type === "step_end") endStep(event);
    else if (type === "partial") answer.replaceChildren(event.text);
    else if (type === "answer") finish(event.answer);
  }

  function startStep({ number, tool, args }) {
    details.hidden = false;
    const asked = [args.phrase, args.question].find((value) => typeof value === "string") ?? "";
    const row = el("li", { class: "step running", tabindex: "0" }, ...cells(number, tool, asked && `“${asked}”`));
    rows.get(number)?.remove();
    rows.set(number, row);
    steps.append(row);
  }

  function endStep({ number, step }) {
    details.hidden = false;
    const names = step.regions.map(shortName);
    const failed = Boolean(step.error);
    const said = step.asked
      ? [el("span", { class: "asked" }, ...marked(step.asked)), " ", ...marked(step.gave)]
      : marked(step.gave);
    const row = el(
      "li",
      { class: failed ? "step failed" : "step", tabindex: "0", "data-regions": names.join(" ") },
      ...cells(number, step.tool, ...said),
    );
    const before = rows.get(number);
    rows.set(number, row);
    if (before) before.replaceWith(row);
    else steps.append(row);
    announce(`Step ${number}: ${step.tool} ${step.text}`);
  }

  const cells = (number, tool, ...said) => [
    el("span", { class: "number" }, String(number)),
    el("span", { class: "tool" }, tool),
    el("span", { class: "said" }, ...said),
  ];

  /** A step's text, its region names as chips. */
  const marked = (text) =>
    text.split(/(?<!\w)(r\d+)(?!\w)/).map((piece, index) => (index % 2 ? chip(piece, piece, onOpen) : piece));

  function finish(told) {
    const all = new Map(told.regions.map((json) => [json.id, regionFrom(json)]));
    const evidence = new Set(told.evidence);
    shown = {
      evidence: told.evidence.map((id) => all.get(id)).filter(Boolean),
      candidates: [...all].filter(([id]) => !evidence.has(id)).map(([, region]) => region),
    };
    for (const { regions, points = [] } of told.steps)
      for (const [at, point] of points.entries()) if (all.has(regions[at])) all.get(regions[at]).point = point;
    stage.show(shown.evidence, shown.candidates);
    if (shown.evidence.length) addMasks(shown, told.steps.some(goesByPixels));
    article.classList.toggle("abstained", told.abstained);
    answer.classList.remove("waiting");
    answer.replaceChildren(...linked(told.text, meant(), onOpen));
    const unjudged = openWords(told);
    open.replaceChildren(unjudged);
    open.hidden = !unjudged;
    extra.replaceChildren();
    if (shown.evidence.length) extra.append(el("span", { class: "dim" }, "Rests on"), ...evidenceChips());
    const suggested = told.abstained && /“([^”…]+\?)”/.exec(told.text)?.[1];
    if (suggested) extra.append(el("button", { type: "button", onclick: () => onAsk(suggested) }, `Ask: ${suggested}`));
    const seconds = told.steps.reduce((sum, step) => sum + step.seconds, 0);
    const many = told.steps.length === 1 ? "1 step" : `${told.steps.length} steps`;
    summary.replaceChildren(`${many} · ${seconds < 0.1 ? "under 0.1" : seconds.toFixed(1)} s`);
    announce(`Answer: ${told.text} ${unjudged}`.trim());
  }

  /** Give the evidence its masks, and draw it anew if it is still what is shown. */
  async function addMasks(of, made) {
    const masks = await onMasks(of.evidence.map(({ name }) => name), made);
    const masked = of.evidence.filter(({ name }) => masks.has(name));
    for (const region of masked) region.polygons = masks.get(region.name);
    if (masked.length && shown === of) stage.show(shown.evidence, shown.candidates);
  }

  /** What the names in the answer may mean: the evidence, and for what is not among it the candidates. */
  function meant() {
    const named = new Set(shown.evidence.map(({ label }) => label));
    return [...shown.evidence, ...shown.candidates.filter(({ label }) => !named.has(label))];
  }

  const evidenceChips = () =>
    shown.evidence.slice(0, 12).map((region) => chip(region.name, fullName(region), onOpen));

  /** Say in place of the answer what is being waited for. */
  function wait(text) {
    answer.classList.add("waiting");
    answer.replaceChildren(text);
  }

  /** It came to nothing: say why, and offer to try again. */
  function fail(message, actions) {
    article.classList.add("failed");
    answer.classList.remove("waiting");
    answer.replaceChildren(message);
    extra.replaceChildren(...actions);
    for (const row of steps.querySelectorAll(".running")) row.remove();
    details.hidden = !steps.childElementCount;
    announce(message);
  }

  return {
    article,
    question,
    tell,
    wait,
    fail,
    show: () => stage.show(shown.evidence, shown.candidates),
    fold: () => (details.open = false),
  };
}
