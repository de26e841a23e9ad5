// The page itself: what a visitor gives is explained, and shown.
const settings = JSON.parse(document.getElementById("settings").textContent);
const { input } = settings;
const view = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const targets = new Set(settings.targets);

const shown = { picture: null, source: null, given: "", target: settings.targets[0], follow: true };
let explainer = null;
let wanted = false;
let busy = false;

// Explain what is shown. What comes while that is computed is explained afterwards, the last of it alone.
// quiet: whether the line for screen readers stays as it is, as long as a stroke is being drawn.
async function explain(quiet = false) {
  wanted = { quiet };
  if (busy || !explainer || !shown.picture) return;
  busy = true;
  while (wanted) {
    const { quiet: silent } = wanted;
    wanted = false;
    try {
      const made = await explained();
      show(made, silent);
      document.dispatchEvent(new CustomEvent("explained", { detail: made }));
    } catch (error) {
      fail(`The explainer failed: ${error.message || error}.`);
    }
  }
  busy = false;
}

async function explained() {
  const values = explainerValues(shown.picture, input);
  let made = await explainer(values, shown.target);
  const predicted = predictedOf(made.logits.values);
  if (shown.follow && predicted !== null && predicted !== shown.target) {
    shown.target = predicted;
    made = await explainer(values, predicted);
  }
  return { ...made, input: values, shares: sharesOf(made.logits.values, settings.probability) };
}

// The class of the highest logit among those that can be explained.
function predictedOf(logits) {
  return settings.targets.reduce((best, one) => (best === null || logits[one] > logits[best] ? one : best), null);
}

function show(made, quiet) {
  showBars(made, (target) => choose(target));
  showPictures(made);
  if (!quiet) say(sentenceOf(made));
}

function sentenceOf({ target, shares, logits, milliseconds }) {
  const best = shares.indexOf(Math.max(...shares));
  const sure = settings.probability ? ` (${percent(shares[best])})` : "";
  const other = best === target ? "" : ` Shown is what speaks for ${nameOf(target)}.`;
  const why = best === target || targets.has(best) ? "" : " This page cannot explain that class.";
  const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
  return `${shown.given}: taken for ${nameOf(best)}${sure}.${why}${other} Logit ${rounded(logits.values[target])}, explained in ${time} ms.`;
}

function showPictures(made) {
  const name = nameOf(made.target);
  paintPicture(view.input, shown.picture);
  paintPicture(view.ground, shown.picture);
  const map = signedMap(made, settings.tensor);
  paintMap(view.map, map);
  paintMap(view.veil, map);
  const { inner, tensor } = settings;
  paintPicture(view.source, rangedPicture(made.source.values, tensor, { inner, bgr: input.bgr }));
  const range = rangeOf(map.values);
  view.mapText.textContent = `A ⊙ X, ${range}`;
  describe(view.input, `Input: ${shown.given}`);
  describe(view.map, `Map of what speaks for ${name}, ${range}`);
  describe(view.veil, `What speaks for ${name}, over the input`);
  describe(view.source, `Source signal of ${name}`);
}

function describe(canvas, text) {
  canvas.setAttribute("aria-label", text);
}

function choose(target) {
  shown.target = target;
  shown.follow = false;
  explain();
}

// Show another picture of the network's size, for the class it is taken for.
function give(picture, given, quiet = false) {
  Object.assign(shown, { picture, given, follow: true });
  return explain(quiet);
}

function say(text, wrong = false) {
  view.status.classList.toggle("wrong", wrong);
  view.status.textContent = text;
}

function fail(text) {
  say(text, true);
}

async function main() {
  const missing = whatIsMissing();
  if (missing) return fail(missing);
  try {
    explainer = await startExplainer(input);
  } catch (error) {
    return fail(`This browser could not start the explainer: ${error.message || error}.`);
  }
  document.documentElement.classList.add("ready");
  if (shown.picture) return explain();
  return firstExample() || say(view.pad ? "Ready: draw, or give a picture." : "Ready: give a picture.");
}

startGiving();
main();
