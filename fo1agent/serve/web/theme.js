// Light or dark: the system's choice until the button is used, then the reader's, which this browser remembers.

import { remembered } from "./storage.js";

const choice = remembered("localStorage", "fo1agent.theme");

/** @param {HTMLButtonElement} button pressed means dark */
export function startTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (choice.get() ?? (system.matches ? "dark" : "light")) === "dark";
  const apply = () => {
    if (choice.get()) document.documentElement.dataset.theme = choice.get();
    button.setAttribute("aria-pressed", String(isDark()));
  };
  button.addEventListener("click", () => {
    choice.set(isDark() ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
