// The page: a photo is chosen and sent, questions are asked, answers and regions shown. The parts know how to show;
// this knows when.

import { ApiError, ask, callTool, pixels, token, upload } from "./api.js";
import { announce, el } from "./dom.js";
import { pin, startLight } from "./light.js";
import { makePanel } from "./panel.js";
import { distinct, regionFrom } from "./regions.js";
import { makeStage } from "./stage.js";
import { startTheme } from "./theme.js";
import { makeTurn } from "./turns.js";
import { chip, fullName, plural } from "./words.js";

const byId = (id) => document.getElementById(id);
const MOST_TRIES = 8; // at a busy server
const MOST_TURNS = 20;
const FIRST_CHIPS = 12; // so many of the things found are named before “and 7 more” is pressed
const FIRST_QUESTIONS = {
  "cat.jpg": ["How many remotes are to the right of the cat, and is there a dog?", "What is next to the cat?"],
  "bus.jpg": ["What is written on the bus?", "How many cars are to the left of the bus?"],
};

let photo = null; // {file, id, url, width, height, regions, model, note, masks} of the picture that is asked about
let segments = true; // as far as is known, the server has a segmenter
let opening = null; // AbortController of a picture on its way
let asking = null; // AbortController of a question on its way
let turns = [];

const stage = makeStage(byId("frame"), (region, others) => panel.open(region.name, others));
const panel = makePanel(byId("panel"), stage, attempt, () => photo.id);
startLight(document.body);
startTheme(byId("theme"));

function setState(state) {
  document.body.dataset.state = state;
  byId("start").hidden = state !== "empty";
  byId("work").hidden = state === "empty";
  byId("another").hidden = state === "empty";
  byId("question").disabled = byId("submit").disabled = isOpening();
  nameButton();
}

/** While a question is worked on, the button stops it, unless another one has been typed. */
function nameButton() {
  byId("submit").textContent = asking && !byId("question").value.trim() ? "Stop" : "Ask";
}

// ---- a photo ----

async function open(file) {
  opening?.abort();
  asking?.abort();
  opening = new AbortController();
  const { signal } = opening;
  quiet();
  panel.close();
  setState("uploading");
  byId("all").hidden = true;
  byId("examples").replaceChildren();
  byId("found").replaceChildren();
  stage.setRegions([]);
  const url = URL.createObjectURL(file);
  preview(url);
  try {
    const told = await attempt(() => sent(file, signal), status, signal);
    const upright = URL.createObjectURL(await pixels(told.image, signal));
    if (photo) URL.revokeObjectURL(photo.url);
    photo = { ...told, file, id: told.image, url: upright, regions: told.regions.map(regionFrom), masks: new Map() };
    turns = [];
    byId("turns").replaceChildren();
    showPhoto();
    announce(byId("status").textContent);
    if (isFine()) byId("question").focus();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (photo) showPhoto();
    else setState("empty");
    turns[0]?.show();
    complain(error, () => open(file));
  } finally {
    URL.revokeObjectURL(url);
  }
}

function sent(file, signal) {
  setState("uploading");
  status("Uploading…");
  return upload(file, {
    signal,
    onProgress(share) {
      byId("frame").style.setProperty("--share", share);
      if (share < 1) return;
      setState("encoding");
      status("Finding what is in it…");
    },
  });
}

/** Show the file itself until the server gives the upright picture back. */
function preview(url) {
  byId("frame").style.setProperty("--share", 0);
  const probe = new Image();
  // Not every browser can show what a camera wrote, such as HEIC; then nothing is shown until the server is ready.
  probe.onload = () => {
    if (isOpening()) stage.setPicture(url, probe.naturalWidth, probe.naturalHeight);
  };
  probe.src = url;
}

function showPhoto() {
  const { url, width, height, regions, model, note } = photo;
  setState("ready");
  stage.setPicture(url, width, height);
  stage.setRegions(regions);
  const things = distinct(regions);
  const many = things.length === 1 ? "1 thing" : `${things.length} things`;
  const found = [`${many} found`, model, note].filter(Boolean).join(" · ");
  byId("status").replaceChildren(found, el("span", { class: "pixels" }, ` · ${width} × ${height}`));
  byId("all").hidden = regions.length <= things.length;
  showEverything(false);
  showFound(things, FIRST_CHIPS);
  suggest(photo.file.name, things);
}

/** A chip for each of the first things, and a button for the others. */
function showFound(things, most) {
  const chips = things.slice(0, most).map((region) => chip(region.name, fullName(region), openNamed));
  const left = things.length - chips.length;
  const more = el("button", { type: "button", onclick: () => showFound(things, things.length) }, `and ${left} more`);
  byId("found").replaceChildren(...chips, ...(left ? [more] : []));
}

function status(text) {
  byId("status").textContent = text;
}

function showEverything(on) {
  byId("all").setAttribute("aria-pressed", String(on));
  byId("all").textContent = on ? "Show each thing once" : `Show all ${photo.regions.length} regions`;
  stage.showEverything(on);
}

/** Questions to start with, made of what was found. */
function suggest(name, things) {
  const sure = things.filter(({ label, score }) => label && score > 0.4).map(({ label }) => label);
  const labels = [...new Set(sure)];
  // “The bus” is said only where there is one.
  const single = labels.filter((label) => sure.filter((other) => other === label).length === 1);
  const several = labels.find((label) => !single.includes(label));
  const [one, other] = single;
  const made = [
    labels[0] && `How many ${plural(several ?? labels[0])} are there?`,
    one && other && `Is the ${other} to the left of the ${one}?`,
    one && !other && several && `How many ${plural(several)} are to the left of the ${one}?`,
    !one && several && `Which ${several} is the largest?`,
    "What text is in the picture?",
  ];
  const questions = FIRST_QUESTIONS[name] ?? made.filter(Boolean);
  byId("examples").replaceChildren(
    ...questions.map((text) => el("button", { type: "button", onclick: () => submit(text) }, text)),
  );
}

// ---- a question ----

async function submit(question) {
  if (!photo || isOpening()) return;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  quiet();
  panel.close();
  pin([]);
  byId("question").value = "";
  if (!isFine()) byId("question").blur(); // puts the keyboard of a phone away
  for (const example of [...byId("examples").children]) if (example.textContent === question) example.remove();
  for (const old of turns) old.fold();
  const before = turns.map((old) => old.question).reverse(); // what "it" and "they" may go back to
  const turn = makeTurn(question, stage, { onOpen: openNamed, onAsk: submit, onMasks: masksOf });
  turns = [turn, ...turns].slice(0, MOST_TURNS);
  byId("turns").replaceChildren(...turns.map(({ article }) => article));
  setState("asking");
  // The button that was pressed may be gone now.
  if (isFine() && document.activeElement === document.body) byId("question").focus();
  announce(`Asked: ${question}`);
  try {
    await attempt(() => ask(photo.id, question, before, turn.tell, signal), turn.wait, signal);
  } catch (error) {
    const stopped = error.name === "AbortError";
    const again = el("button", { type: "button", onclick: () => retry(turn, question) }, "Try again");
    turn.fail(stopped ? "Stopped." : error.message, error.hopeless ? [] : [again]);
    if (!stopped && !(error instanceof ApiError)) throw error;
  } finally {
    if (asking?.signal === signal) {
      asking = null;
      if (document.body.dataset.state === "asking") setState("ready");
    }
  }
}

/**
 * The outlines that are known: name → polygons. An answer without them is one all the same.
 *
 * @param {string[]} names of regions
 * @param {boolean} made whether the server has segmented them, so that it can be asked for those that are not known here
 */
async function masksOf(names, made) {
  const { id, masks } = photo;
  const missing = names.filter((name) => !masks.has(name));
  if (!made || !segments || !missing.length) return masks;
  try {
    const told = await callTool("segment", { image: id, regions: missing });
    for (const { region, polygons } of told.masks) masks.set(region, polygons);
  } catch (error) {
    if (error.hopeless) segments = false;
  }
  return masks;
}

function retry(turn, question) {
  turns = turns.filter((other) => other !== turn);
  submit(question);
}

function openNamed(name) {
  panel.open(name);
}

// ---- what can go wrong ----

/**
 * Run an action; again when the server is busy, has forgotten the picture, or wants a token.
 *
 * @param {() => Promise} action
 * @param {(text: string) => void} wait shows what is being waited for
 */
async function attempt(action, wait, signal) {
  let forgotten = false;
  for (let tries = 1; ; tries += 1) {
    try {
      return await action();
    } catch (error) {
      const { status } = error;
      const busy = status === 429 || (status === 503 && error.retryAfter > 0);
      if (status === 401) await askForToken(signal);
      else if (busy && tries < MOST_TRIES) await countDown(error.retryAfter || 2 ** tries, wait, signal);
      else if (status === 404 && photo && !isOpening() && !forgotten) {
        forgotten = true;
        wait("The server has forgotten the photo. Sending it again…");
        photo.id = (await upload(photo.file, { signal, onProgress() {} })).image;
      } else throw error;
      wait("Looking…");
    }
  }
}

/** Whether there is a mouse, and so most likely a keyboard that covers nothing. */
const isFine = () => matchMedia("(pointer: fine)").matches;

const isOpening = () => ["uploading", "encoding"].includes(document.body.dataset.state);

async function countDown(seconds, wait, signal) {
  announce(`The server is busy. Trying again in ${seconds} seconds.`);
  for (let left = seconds; left > 0; left -= 1) {
    wait(`The server is busy. Trying again in ${left} s…`);
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, 1000);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(new DOMException("Stopped.", "AbortError"));
      });
    });
  }
}

/** Show the field for the token, and go on when one was given. */
function askForToken(signal) {
  const form = byId("token");
  const wrong = Boolean(token.get());
  byId("token-title").textContent = wrong
    ? "The server does not take this token. Try another."
    : "This server wants a token. It is kept until this tab is closed.";
  form.hidden = false;
  byId("token-field").value = "";
  byId("token-field").focus();
  return new Promise((resolve, reject) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      token.set(byId("token-field").value.trim());
      form.hidden = true;
      resolve();
    };
    signal.addEventListener("abort", () => {
      form.hidden = true;
      reject(new DOMException("Stopped.", "AbortError"));
    });
  });
}

/** A photo could not be opened: say why, above everything. */
function complain(error, again) {
  if (!(error instanceof ApiError)) throw error;
  const lead = error.status === 413 ? "This photo is too large. " : "";
  byId("notice").replaceChildren(el("p", {}, lead + error.message));
  if (!error.hopeless) byId("notice").append(el("button", { type: "button", onclick: again }, "Try again"));
  byId("notice").hidden = false;
}

function quiet() {
  byId("notice").hidden = true;
}

// ---- what people do ----

for (const id of ["file", "camera"]) {
  byId(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) open(file);
  });
}
byId("another").addEventListener("click", () => byId("file").click());
byId("all").addEventListener("click", () => showEverything(byId("all").getAttribute("aria-pressed") !== "true"));
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = byId("question").value.trim();
  if (question) submit(question);
  else if (asking) asking.abort();
  else byId("question").focus();
});
byId("question").addEventListener("input", nameButton);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") panel.close();
});

document.addEventListener("dragover", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (!file) return;
  event.preventDefault();
  open(file);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
  if (file) open(file);
});

for (const button of document.querySelectorAll("[data-demo]")) {
  const picture = button.querySelector("img");
  const offer = () => (byId("demos").hidden = false);
  // A server that has no examples to offer: then none are shown.
  picture.addEventListener("error", () => button.remove());
  if (picture.complete && picture.naturalWidth) offer();
  else picture.addEventListener("load", offer);
  button.addEventListener("click", async () => {
    const response = await fetch(picture.src);
    open(new File([await response.blob()], button.dataset.demo, { type: "image/jpeg" }));
  });
}

const offline = () => (byId("offline").hidden = navigator.onLine);
addEventListener("online", offline);
addEventListener("offline", offline);
offline();
setState("empty");
