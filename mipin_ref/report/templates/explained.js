(() => {
  const rows = [...document.querySelectorAll(".row")];
  const buttons = (row) => [...row.querySelectorAll(".class")];
  const checked = (row) => row.querySelector(".class[aria-checked=true]");

  function show(row, rank) {
    const chosen = buttons(row).find((button) => button.dataset.rank === rank);
    if (!chosen) return; // this row has fewer classes
    const focused = row.contains(document.activeElement);
    buttons(row).forEach((button) => {
      button.setAttribute("aria-checked", button === chosen);
      button.tabIndex = button === chosen ? 0 : -1;
    });
    row.dataset.rank = rank;
    row.querySelectorAll("figure[data-rank]").forEach((figure) => {
      figure.hidden = figure.dataset.rank !== rank;
    });
    const veil = row.querySelector(".veil");
    if (veil) {
      const what = row.querySelector("h2").textContent;
      veil.src = row.querySelector("figure:not([hidden]) .alone").src;
      veil.alt = `${what}, what speaks for ${chosen.querySelector("bdi").textContent}, over the input`;
    }
    if (focused) chosen.focus({ preventScroll: true });
  }

  const choose = setUp({
    rows,
    rankOf: (row) => row.dataset.rank,
    show,
    overlay: (on) => document.documentElement.classList.toggle("plain", !on),
  });

  rows.forEach((row) =>
    buttons(row).forEach((button) => button.addEventListener("click", () => choose([row], button.dataset.rank))),
  );

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input")) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const to = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
      checked(to).focus({ preventScroll: true });
      to.scrollIntoView({ block: "nearest" });
    }
    const turn = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (turn && at >= 0 && event.target.matches(".class")) {
      event.preventDefault();
      const count = buttons(rows[at]).length;
      choose([rows[at]], String((Number(rows[at].dataset.rank) + turn + count) % count));
    }
  });
})();
