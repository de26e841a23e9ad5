// The area to draw on: by pointer, or by keys with a pen that is put down and lifted.
const PEN = 0.08; // of the area's side
const STEP = 0.035;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function startPad(canvas, changed, finished) {
  const side = canvas.width;
  const ink = document.createElement("canvas");
  ink.width = ink.height = side;
  const context = ink.getContext("2d", { willReadFrequently: true });
  const pen = { x: side / 2, y: side / 2, down: false, shown: false };
  let last = null;
  let empty = true;

  function draw(x, y) {
    const [fromX, fromY] = last || [x, y];
    Object.assign(context, { strokeStyle: "#fff", lineWidth: PEN * side, lineCap: "round" });
    context.beginPath();
    context.moveTo(fromX, fromY);
    // A line of no length is a dot only where it has one.
    context.lineTo(x + 0.01, y);
    context.stroke();
    last = [x, y];
    empty = false;
    show();
    changed();
  }

  function show() {
    const shown = canvas.getContext("2d");
    shown.drawImage(ink, 0, 0);
    if (empty && !pen.shown) {
      Object.assign(shown, { fillStyle: "#8c8c94", font: `${side / 16}px system-ui, sans-serif`, textAlign: "center" });
      shown.fillText("draw here", side / 2, side / 2);
    }
    if (!pen.shown) return;
    Object.assign(shown, { strokeStyle: pen.down ? "#ff7a00" : "#9cf", lineWidth: 3 });
    shown.beginPath();
    shown.arc(pen.x, pen.y, (PEN * side) / 2 + 2, 0, 2 * Math.PI);
    shown.stroke();
  }

  function clear() {
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    last = null;
    empty = true;
    show();
  }

  function placeOfEvent(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen.shown = pen.down = false;
    last = null;
    draw(...placeOfEvent(event));
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    // A fast hand is told of between two frames too.
    const between = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    (between.length ? between : [event]).forEach((one) => draw(...placeOfEvent(one)));
  });
  canvas.addEventListener("pointerup", () => {
    last = null;
    finished();
  });

  function press(event) {
    const arrow = ARROWS[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (arrow) {
      pen.x = Math.min(side, Math.max(0, pen.x + arrow[0] * STEP * side));
      pen.y = Math.min(side, Math.max(0, pen.y + arrow[1] * STEP * side));
      if (pen.down) draw(pen.x, pen.y);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      last = null;
      if (pen.down) draw(pen.x, pen.y);
      else finished();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
      changed();
    } else return;
    event.preventDefault();
    show();
  }

  canvas.addEventListener("keydown", press);
  canvas.addEventListener("keyup", () => {
    pen.shown = true;
    show();
  });
  canvas.addEventListener("blur", () => {
    if (pen.down) finished();
    pen.shown = pen.down = false;
    show();
  });
  clear();
  return { clear, picture: () => ofCanvas(context.getImageData(0, 0, side, side).data, side, side, 1) };
}
