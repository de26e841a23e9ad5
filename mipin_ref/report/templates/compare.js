(() => {
  const LEVELS = 127;
  const { factor: side, part, names: told } = document.querySelector("table.maps").dataset;
  const factor = Number(side);
  const names = JSON.parse(told);
  const readout = document.getElementById("readout");
  const rows = [...document.querySelectorAll("table.maps tbody tr")];
  const selectOf = (row) => row.querySelector("select");
  const visible = (row) => [...row.querySelectorAll("figure:not([hidden]) .spot")];
  const imageOf = (button) => button.querySelector(".map");

  // A map's levels, -127 to 127: as opaque as they are large, red or blue by their sign.
  const known = new WeakMap();
  function levels(image) {
    if (!known.has(image)) {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
      const signed = new Int8Array(rgba.length / 4);
      for (let i = 0; i < signed.length; i++) {
        const level = Math.round((rgba[4 * i + 3] / 255) * LEVELS);
        signed[i] = rgba[4 * i] < rgba[4 * i + 2] ? -level : level;
      }
      known.set(image, signed);
    }
    return known.get(image);
  }

  const number = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

  let current = null; // the row, the column and the pixel that are read

  function place(row, x, y, width, height) {
    const spots = [...visible(row), row.querySelector(".input")];
    document.querySelectorAll(".mark").forEach((mark) => {
      if (!spots.includes(mark.parentElement)) mark.remove();
    });
    for (const spot of spots) {
      let mark = spot.querySelector(".mark");
      if (!mark) {
        mark = document.createElement("span");
        mark.className = "mark";
        spot.append(mark);
      }
      mark.style.left = `${(100 * (x + 0.5)) / width}%`;
      mark.style.top = `${(100 * (y + 0.5)) / height}%`;
      mark.style.width = `${100 / width}%`;
      mark.style.height = `${100 / height}%`;
    }
  }

  function read(button, pixel) {
    const image = imageOf(button);
    if (!image.complete) {
      image.decode().then(() => read(button, pixel));
      return;
    }
    const values = levels(image);
    const width = image.naturalWidth;
    const height = image.naturalHeight;
    const { x, y } = pixel ?? strongest(values, width);
    const row = button.closest("tr");
    current = { row, column: button.closest("td").cellIndex, x, y };
    place(row, x, y, width, height);
    const scale = Number(button.dataset.scale);
    const level = values[y * width + x];
    const value = (level / LEVELS) * scale;
    // Beyond its scale a map is cut: of what lies there no more is known than that, and the largest.
    const cut = Math.abs(level) === LEVELS && Number(button.dataset.largest) > scale;
    const cell = `row ${y * factor}, column ${x * factor}` + (factor > 1 ? ` (mean of ${factor}×${factor})` : "");
    const where = part === "pixel" ? cell : `${part} ${names[x] ?? x}`;
    const told = `${level > 0 ? "+" : ""}${number(value)}${cut ? " or beyond" : ""} of ±${number(scale)}`;
    const what = scale > 0 ? told : "0, the map is zero everywhere";
    const text = `${button.dataset.what}: ${where}: ${what}`;
    if (readout.textContent !== text) readout.textContent = text; // else it would be spoken again
  }

  function strongest(values, width) {
    let best = 0;
    values.forEach((level, i) => {
      if (Math.abs(level) > Math.abs(values[best])) best = i;
    });
    return { x: best % width, y: Math.floor(best / width) };
  }

  function under(event, button) {
    const image = imageOf(button);
    const box = image.getBoundingClientRect();
    const at = (offset, length, count) => Math.min(count - 1, Math.max(0, Math.floor((offset / length) * count)));
    return {
      x: at(event.clientX - box.left, box.width, image.naturalWidth),
      y: at(event.clientY - box.top, box.height, image.naturalHeight),
    };
  }

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  const table = document.querySelector("table.maps");
  const point = (event) => {
    const button = event.target.closest?.(".spot");
    if (button) read(button, under(event, button));
  };
  table.addEventListener("pointermove", point);
  table.addEventListener("pointerdown", point);
  table.addEventListener("focusin", (event) => {
    const button = event.target.closest(".spot");
    if (!button) return;
    const same = current && current.row === button.closest("tr");
    read(button, same ? { x: current.x, y: current.y } : null);
  });
  table.addEventListener("keydown", (event) => {
    const button = event.target.closest(".spot");
    const step = STEPS[event.key];
    if (!button || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const image = imageOf(button);
    const far = event.shiftKey ? 10 : 1;
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    const from = current ?? { x: 0, y: 0 };
    read(button, {
      x: within(from.x + far * step[0], image.naturalWidth),
      y: within(from.y + far * step[1], image.naturalHeight),
    });
  });

  let over = false; // whether maps lie over the picture, in lightened gray

  function ground(row) {
    if (!over) return;
    for (const button of visible(row)) {
      if (button.querySelector(".ground")) continue;
      const picture = row.querySelector(".input img").cloneNode();
      picture.alt = "";
      picture.className = "ground";
      button.prepend(picture);
    }
  }

  function show(row, rank) {
    if (![...selectOf(row).options].some((option) => option.value === rank)) return;
    selectOf(row).value = rank;
    row.querySelectorAll("figure").forEach((figure) => {
      figure.hidden = figure.dataset.rank !== rank;
    });
    ground(row);
  }

  const choose = setUp({
    rows,
    rankOf: (row) => selectOf(row).value,
    show,
    after: () => {
      if (!current) return;
      const button = visible(current.row).find((one) => one.closest("td").cellIndex === current.column);
      read(button, { x: current.x, y: current.y });
    },
    overlay: (on) => {
      over = on;
      document.documentElement.classList.toggle("over", on);
      if (on) rows.forEach(ground);
      else document.querySelectorAll(".ground").forEach((picture) => picture.remove());
    },
  });
  rows.forEach((row) => selectOf(row).addEventListener("change", (event) => choose([row], event.target.value)));

  // One scale for all maps of a row: a map whose own is smaller fades by as much.
  const oneScale = document.getElementById("one-scale");
  function rescale() {
    const on = oneScale.getAttribute("aria-pressed") !== "true";
    oneScale.setAttribute("aria-pressed", on);
    rows.forEach((row) => {
      const buttons = [...row.querySelectorAll(".spot")];
      const largest = Math.max(...buttons.map((button) => Number(button.dataset.scale)));
      buttons.forEach((button) => {
        const part = on && largest > 0 ? Number(button.dataset.scale) / largest : 1;
        button.style.setProperty("--part", part);
      });
      const told = row.querySelector(".common");
      told.hidden = !on;
      told.textContent = `full colour at ±${number(largest)} in all maps of the row`;
    });
  }
  oneScale.addEventListener("click", rescale);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select")) return;
    if (event.key.toLowerCase() === "s") rescale();
  });
})();
