
"use strict";
// What all pages share: which class is explained, in one row or in all of them, and the map over the picture.
function setUp({ rows, rankOf, show, after = () => {}, overlay = () => {} }) {
  const radios = [...document.querySelectorAll("input[name=rank]")];
  const button = document.getElementById("overlay");

  function choose(chosen, rank) {
    chosen.forEach((row) => show(row, rank));
    const ranks = new Set(rows.map(rankOf));
    radios.forEach((radio) => {
      radio.checked = ranks.size === 1 && ranks.has(radio.value);
    });
    after();
  }

  function turn() {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    overlay(on);
  }

  radios.forEach((radio) => radio.addEventListener("change", () => choose(rows, radio.value)));
  button?.addEventListener("click", turn);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select, textarea")) return;
    if (button && event.key.toLowerCase() === "o") turn();
    if (event.key >= "1" && event.key <= String(radios.length) && event.key.length === 1) {
      const row = rows.find((one) => one.contains(document.activeElement));
      choose(row ? [row] : rows, String(Number(event.key) - 1));
    }
  });
  document.querySelectorAll(".controls :disabled, main button:disabled, main select:disabled").forEach((control) => {
    control.disabled = false;
  });
  return choose;
}
