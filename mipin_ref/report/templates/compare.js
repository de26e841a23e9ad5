
"use strict";
(() => {
  const LEVELS = 127;
  const factor = Number(document.querySelector("table.maps").dataset.factor);
  const readout = document.getElementById("readout");
  const rows = [...document.querySelectorAll("table.maps tbody tr")];
  const radios = [...document.querySelectorAll("input[name=rank]")];
  const selectOf = (row) => row.querySelector("select");
  const visible = (row) => [...row.querySelectorAll("figure:not([hidden]) button")];

  // A map's levels, -127 to 127, from its colours: red and blue stay full on one side of zero, green fades on both.
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
        const level = Math.round(((255 - rgba[4 * i + 1]) / 255) * LEVELS);
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
    const image = button.querySelector("img");
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
    const where = `row ${y * factor}, column ${x * factor}` + (factor > 1 ? ` (mean of ${factor}×${factor})` : "");
    const what = scale > 0 ? `${level > 0 ? "+" : ""}${number(value)} of ±${number(scale)}` : "0, the map is zero everywhere";
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
    const image = button.querySelector("img");
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
    const button = event.target.closest?.("button");
    if (button) read(button, under(event, button));
  };
  table.addEventListener("pointermove", point);
  table.addEventListener("pointerdown", point);
  table.addEventListener("focusin", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const same = current && current.row === button.closest("tr");
    read(button, same ? { x: current.x, y: current.y } : null);
  });
  table.addEventListener("keydown", (event) => {
    const button = event.target.closest("button");
    const step = STEPS[event.key];
    if (!button || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const image = button.querySelector("img");
    const far = event.shiftKey ? 10 : 1;
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    const from = current ?? { x: 0, y: 0 };
    read(button, {
      x: within(from.x + far * step[0], image.naturalWidth),
      y: within(from.y + far * step[1], image.naturalHeight),
    });
  });

  function show(row, rank) {
    selectOf(row).value = rank;
    row.querySelectorAll("figure").forEach((figure) => {
      figure.hidden = figure.dataset.rank !== rank;
    });
  }

  function shown() {
    const ranks = new Set(rows.map((row) => selectOf(row).value));
    radios.forEach((radio) => {
      radio.checked = ranks.size === 1 && ranks.has(radio.value);
    });
    if (!current) return;
    const button = visible(current.row).find((one) => one.closest("td").cellIndex === current.column);
    read(button, { x: current.x, y: current.y });
  }

  radios.forEach((radio) =>
    radio.addEventListener("change", () => {
      rows.forEach((row) => show(row, radio.value));
      shown();
    }),
  );
  rows.forEach((row) =>
    selectOf(row).addEventListener("change", (event) => {
      show(row, event.target.value);
      shown();
    }),
  );
  document.querySelectorAll(".ranks, table.maps select").forEach((control) => {
    control.disabled = false;
  });
})();
