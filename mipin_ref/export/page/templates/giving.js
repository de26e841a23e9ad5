// How a picture comes into the page: drawn, chosen, dropped, pasted, or an example.
let pad = null; // the area to draw on, where the page has one
const LARGEST = 100e6; // pixels: a canvas of more is empty in some browsers

// A picture as it is stored, [height, width] and colours; turned upright as it says itself.
async function decoded(file, channels) {
  const options = { colorSpaceConversion: "none", imageOrientation: input.exif ? "from-image" : "none" };
  const bitmap = await createImageBitmap(file, options);
  const { width, height } = bitmap;
  if (width * height > LARGEST) throw new Error("too many pixels");
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return ofCanvas(context.getImageData(0, 0, width, height).data, height, width, channels);
}

async function giveFile(file) {
  const name = file.name || "The pasted picture";
  let picture;
  try {
    picture = await decoded(file, input.channels);
  } catch {
    return fail(`${name} is no picture that this browser can read.`);
  }
  if (pad) pad.clear();
  shown.source = covering(picture, input.height, input.width);
  return giveTurned(name);
}

// The last picture that came from a file, dark on light turned to light on dark where that is asked for.
function giveTurned(name) {
  const turn = view.turn && view.turn.checked;
  if (view.turn) view.turn.onchange = () => giveTurned(name);
  return give(turn ? inverted(shown.source) : shown.source, name);
}

// Show the first example; null where there is none.
function firstExample() {
  const button = document.querySelector(".example");
  return button && giveExample(button);
}

// An example is stored as the network's own pixels.
async function giveExample(button) {
  const image = button.querySelector("img");
  await image.decode();
  const { width, height } = input;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const picture = ofCanvas(context.getImageData(0, 0, width, height).data, height, width, input.channels);
  if (pad) pad.clear();
  return give(picture, image.alt);
}

function startDrawing() {
  if (!view.pad) return;
  const drawn = (quiet) => give(centred(pad.picture(), input.height, input.width), "Your drawing", quiet);
  let asked = false;
  pad = startPad(
    view.pad,
    () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        drawn(true);
      });
    },
    () => drawn(false),
  );
  view.clear.addEventListener("click", () => {
    pad.clear();
    drawn(false);
  });
}

function startDropping() {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.documentElement.classList.add("over");
  });
  const away = () => document.documentElement.classList.remove("over");
  addEventListener("dragleave", (event) => event.relatedTarget || away());
  addEventListener("drop", (event) => {
    event.preventDefault();
    away();
    const [file] = event.dataTransfer.files;
    if (file) giveFile(file);
    else fail("What was dropped is no file; save the picture first, or copy and paste it.");
  });
}

function startGiving() {
  startDrawing();
  startDropping();
  startNames(choose);
  view.bars.addEventListener("keydown", moveAmongBars);
  view.file.addEventListener("change", () => view.file.files[0] && giveFile(view.file.files[0]));
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) giveFile(file);
  });
  document.querySelectorAll(".example").forEach((one) => one.addEventListener("click", () => giveExample(one)));
}
