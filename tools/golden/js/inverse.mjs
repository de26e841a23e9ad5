// One step of the inverse: the weights that reconstruct a tensor from the signal above it, and what they predict.
import { ridge } from "./fit.mjs";
import { adjoint, eachLink, maps, size, zeros } from "./layers.mjs";

/** The regressors of a Dense: its output's signal, or y_c alone where that is the logits. */
function denseRows(step, signal, target) {
  const [samples, outputs] = signal.shape;
  const rows = Array.from({ length: samples }, (_, n) => signal.data.subarray(n * outputs, (n + 1) * outputs));
  return step.column ? rows.map((row) => [row[target]]) : rows;
}

/** The weights of a step with one branch: { weight, intercept }, in the shapes of the manifest. */
export function solveStep(step, layer, x, signal, used, { target, ridge: lambda }) {
  const samples = [...used.keys()].filter((n) => used[n]);
  if (layer.kind === "Dense") {
    const all = denseRows(step, signal, target);
    const features = x.shape[1];
    const wanted = samples.map((n) => x.data.subarray(n * features, (n + 1) * features));
    const found = ridge(samples.map((n) => all[n]), wanted, lambda, step.intercept);
    const data = Float64Array.from(found.weights.flatMap((row) => [...row]));
    const weight = { shape: [features, found.weights[0].length], data };
    return { weight, intercept: step.intercept ? column(found.intercepts) : null };
  }
  return convWeights(step, layer, x, signal, samples, lambda);
}

const column = (values) => ({ shape: [values.length], data: Float64Array.from(values) });

/** A row a sample and location; regressor (o, u) is the signal of output channel o that tap u connects to the location. */
function convWeights(step, layer, x, signal, samples, lambda) {
  const [inMap, outMap] = maps(layer);
  const [inSize, outSize, taps] = [size(inMap), size(outMap), size(layer.window.kernel)];
  const [inputs, outputs] = [layer.in_shapes[0][0], layer.out_shape[0]];
  const [mine, yours] = [inputs / layer.groups, outputs / layer.groups];
  const weight = zeros([outputs, mine, ...layer.window.kernel]);
  const intercept = zeros([inputs]);
  for (let group = 0; group < layer.groups; group++) {
    const rows = Array.from({ length: samples.length * inSize }, () => new Float64Array(yours * taps));
    const wanted = rows.map(() => new Float64Array(mine));
    samples.forEach((n, place) => {
      for (let o = 0; o < yours; o++) {
        const from = (n * outputs + group * yours + o) * outSize;
        eachLink(layer.window, inMap, outMap, (j, i, u) => {
          rows[place * inSize + i][o * taps + u] = signal.data[from + j];
        });
      }
      for (let m = 0; m < mine; m++) {
        const from = (n * inputs + group * mine + m) * inSize;
        for (let i = 0; i < inSize; i++) wanted[place * inSize + i][m] = x.data[from + i];
      }
    });
    const found = ridge(rows, wanted, lambda, step.intercept);
    for (let m = 0; m < mine; m++) {
      intercept.data[group * mine + m] = found.intercepts[m];
      for (let o = 0; o < yours; o++) {
        const to = ((group * yours + o) * mine + m) * taps;
        weight.data.set(found.weights[m].subarray(o * taps, (o + 1) * taps), to);
      }
    }
  }
  return { weight, intercept: step.intercept ? intercept : null };
}

/** X̂ [n, *shape] from the signal above; without intercept where it is null. */
export function predict(step, layer, { weight, intercept }, signal, target) {
  const samples = signal.shape[0];
  const found = layer.kind === "Dense" ? zeros([samples, ...step.shape]) : adjoint(layer, weight.data, signal);
  if (layer.kind === "Dense") {
    const [features, unknowns] = weight.shape;
    denseRows(step, signal, target).forEach((row, n) => {
      for (let m = 0; m < features; m++) {
        for (let o = 0; o < unknowns; o++) found.data[n * features + m] += weight.data[m * unknowns + o] * row[o];
      }
    });
  }
  const locations = size(step.shape) / step.shape[0];
  if (intercept) found.data.forEach((_, at) => (found.data[at] += intercept.data[Math.floor(at / locations) % step.shape[0]]));
  return found;
}
