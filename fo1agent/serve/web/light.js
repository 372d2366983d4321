// One light for the whole page: whatever carries data-regions="r0 r2" lights these regions when it is pointed at or
// focused, and is itself marked when one of them is lit from elsewhere.

const listeners = [];
let pinned = [];
let lit = [];

/** Hear which regions are lit: an array of names, empty for none. */
export const onLight = (listener) => listeners.push(listener);

/** Light regions until something else is pointed at and left again; [] ends that. */
export function pin(names) {
  pinned = names;
  shine(names);
}

export const regionsOf = (element) => element.dataset.regions.split(" ").filter(Boolean);

export function startLight(root) {
  const holder = (target) => (target instanceof Element ? target.closest("[data-regions]") : null);
  const point = (event) => {
    const at = holder(event.target);
    if (at) shine(regionsOf(at), at);
    else shine(pinned);
  };
  const leave = (event) => {
    // A finger that is lifted has not left: what it touched stays lit until something else is touched.
    if (event.pointerType !== "touch" && !holder(event.relatedTarget)) shine(pinned);
  };
  root.addEventListener("pointerover", point);
  root.addEventListener("pointerout", leave);
  root.addEventListener("focusin", point);
  root.addEventListener("focusout", leave);
}

function shine(names, from = null) {
  for (const element of document.querySelectorAll("[data-regions]")) {
    const lit = element === from || (names.length > 0 && !from?.contains(element) && meets(element, names));
    element.classList.toggle("on", lit);
  }
  // What is drawn anew under a resting pointer is entered anew; nothing has changed then.
  if (names.join(" ") === lit.join(" ")) return;
  lit = names;
  for (const listener of listeners) listener(names);
}

/** A step is marked if all that is lit is its own; a word or a box if any of it is. */
function meets(element, names) {
  const own = regionsOf(element);
  return element.matches("li") ? names.every((name) => own.includes(name)) : names.some((name) => own.includes(name));
}
