// Recomputes a golden case in plain JavaScript: node recompute.mjs CASE CANDIDATE
// CASE: a folder with manifest.json and arrays.safetensors; CANDIDATE: the .safetensors file to write, for `mipin golden verify`.
// It knows what an MLP and a two-dimensional CNN are made of, with one branch a step, and refuses the rest.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { predict, solveStep } from "./inverse.mjs";
import { forward, maxPool, pullBack, zeros } from "./layers.mjs";
import { readArrays, writeArrays } from "./safetensors.mjs";

const [folder, output] = process.argv.slice(2);
if (!folder || !output) {
  console.error("usage: node recompute.mjs CASE CANDIDATE");
  process.exit(2);
}

const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
if (manifest.format !== "mipin-golden" || manifest.version !== 1) throw new Error("not a golden case of version 1");
const arrays = readArrays(join(folder, "arrays.safetensors"));
const { layers, steps, options, logits } = manifest;

const stored = new Map(manifest.given.map((entry) => [entry.name, entry.array]));
for (const stage of manifest.stages) for (const tensor of stage.tensors) stored.set(tensor.name, tensor.array);
const golden = (name) => arrays.get(stored.get(name));
const goldenValue = (tensor) => golden(tensor === manifest.input ? "x" : `forward/value/${tensor}`);
const used = golden("rows").data;

const candidate = new Map();
const pools = layers.filter((layer) => layer.kind === "MaxPool");

/** The layer of a step's only branch. */
function above(step) {
  if (step.branches.length !== 1 || step.branches[0].layers.length !== 1) {
    throw new Error(`${step.tensor} has several branches, which are not written here`);
  }
  return layers[step.branches[0].layers[0]];
}

const fired = (step) => (step.positive ? (value) => value > 0 : (value) => value !== 0);
const mask = (x, step) => ({ shape: x.shape, data: Uint8Array.from(x.data, (value) => (fired(step)(value) ? 1 : 0)) });
const masked = (signal, kept) => ({ shape: signal.shape, data: signal.data.map((value, at) => value * kept.data[at]) });

/** y_c at class c, 0 elsewhere. */
function start(values) {
  const top = zeros(values.shape);
  const classes = values.shape[1];
  for (let at = options.target; at < top.data.length; at += classes) top.data[at] = values.data[at];
  return top;
}

/** All signals from the logits down; weightsOf(step, source) are those of a fitted step. */
function descend(valueOf, placeOf, weightsOf) {
  const top = start(valueOf(logits));
  const [sources, attributions] = [new Map([[logits, top]]), new Map([[logits, top]])];
  for (const step of steps) {
    const layer = above(step);
    const weights = step.fitted ? weightsOf(step, sources.get(layer.output)) : null;
    for (const signals of [sources, attributions]) {
      const signal = signals.get(layer.output);
      const linear = signals === sources ? weights : { ...weights, intercept: null };
      const found = step.fitted
        ? predict(step, layer, linear, signal, options.target)
        : pullBack(layer, signal, placeOf(layer.output));
      signals.set(step.tensor, step.mask ? masked(found, mask(valueOf(step.tensor), step)) : found);
    }
  }
  return { sources, attributions };
}

// forward
const values = new Map([[manifest.input, golden("x")]]);
for (const layer of layers) {
  const parameter = (name) => arrays.get(layer.parameters[name]);
  values.set(layer.output, forward(layer, values.get(layer.inputs[0]), parameter));
  candidate.set(`forward/value/${layer.output}`, values.get(layer.output));
}
for (const layer of pools) {
  candidate.set(`forward/switch/${layer.output}`, maxPool(layer, goldenValue(layer.inputs[0])).place);
}
for (const step of steps) if (step.mask) candidate.set(`forward/mask/${step.tensor}`, mask(goldenValue(step.tensor), step));

// solve
for (const step of steps.filter((one) => one.fitted)) {
  const [layer, name] = [above(step), step.tensor];
  const source = golden(`propagate/S/${layer.output}`);
  const weights = solveStep(step, layer, goldenValue(name), source, used, options);
  candidate.set(`solve/weight/${name}/0`, weights.weight);
  if (weights.intercept) candidate.set(`solve/intercept/${name}`, weights.intercept);
  candidate.set(`solve/prediction/${name}`, predict(step, layer, weights, source, options.target));
  const attribution = golden(`propagate/A/${layer.output}`);
  const linear = { ...weights, intercept: null };
  candidate.set(`solve/linear/${name}`, predict(step, layer, linear, attribution, options.target));
}

// propagate
const goldenWeights = (step) => ({
  weight: golden(`solve/weight/${step.tensor}/0`),
  intercept: step.intercept ? golden(`solve/intercept/${step.tensor}`) : null,
});
const given = descend(goldenValue, (pool) => golden(`forward/switch/${pool}`), goldenWeights);
for (const [name, signal] of given.sources) candidate.set(`propagate/S/${name}`, signal);
for (const [name, signal] of given.attributions) candidate.set(`propagate/A/${name}`, signal);

// end to end
const places = new Map(pools.map((layer) => [layer.output, maxPool(layer, values.get(layer.inputs[0])).place]));
const own = descend(
  (name) => values.get(name),
  (pool) => places.get(pool),
  (step, source) => solveStep(step, above(step), values.get(step.tensor), source, used, options),
);
const classes = values.get(logits).shape[1];
const outputs = values.get(logits).data.filter((_, at) => at % classes === options.target);
candidate.set("end/output", { shape: [outputs.length], data: outputs });
candidate.set("end/S", own.sources.get(manifest.explained));
candidate.set("end/A", own.attributions.get(manifest.explained));

writeArrays(output, candidate);
