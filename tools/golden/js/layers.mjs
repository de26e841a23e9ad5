// The layers of an MLP and of a two-dimensional CNN: forward, and signals pulled back. A tensor is { shape, data }, samples in front.

export const size = (shape) => shape.reduce((product, length) => product * length, 1);
export const zeros = (shape) => ({ shape, data: new Float64Array(size(shape)) });

/**
 * Calls visit(output, input, tap) with the flat places of each pair of locations that a window connects:
 * tap u of output j meets input j · stride - begin + u · dilation, where that is inside the map.
 */
export function eachLink(window, [inRows, inColumns], [outRows, outColumns], visit) {
  const { kernel, strides, begin, dilations } = window;
  for (let r = 0; r < outRows; r++) {
    for (let c = 0; c < outColumns; c++) {
      for (let u = 0; u < kernel[0]; u++) {
        for (let v = 0; v < kernel[1]; v++) {
          const row = r * strides[0] - begin[0] + u * dilations[0];
          const column = c * strides[1] - begin[1] + v * dilations[1];
          if (row < 0 || row >= inRows || column < 0 || column >= inColumns) continue;
          visit(r * outColumns + c, row * inColumns + column, u * kernel[1] + v);
        }
      }
    }
  }
}

export const maps = (layer) => [layer.in_shapes[0].slice(1), layer.out_shape.slice(1)];

/** The value of a layer's output; parameter(name) is one of its arrays. */
export function forward(layer, x, parameter) {
  switch (layer.kind) {
    case "Dense":
      return dense(layer, x, parameter("weight").data, parameter("bias").data);
    case "Conv":
      return conv(layer, x, parameter("weight").data, parameter("bias").data);
    case "MaxPool":
      return maxPool(layer, x).value;
    case "Reshape":
      return { shape: [x.shape[0], ...layer.out_shape], data: x.data };
    case "Activation":
      if (layer.function === "Relu") return { shape: x.shape, data: x.data.map((value) => Math.max(value, 0)) };
  }
  throw new Error(`${[layer.kind, layer.function].filter(Boolean).join(" ")} is not written here`);
}

function dense(layer, x, weight, bias) {
  const [samples, inputs] = x.shape;
  const outputs = layer.out_shape[0];
  const found = zeros([samples, outputs]);
  for (let n = 0; n < samples; n++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += x.data[n * inputs + i] * weight[i * outputs + o];
      found.data[n * outputs + o] = sum;
    }
  }
  return found;
}

/** Calls visit(o, m, k) for each output channel o and each input channel m of its group; k is m's number in the group. */
export function eachChannelPair(layer, visit) {
  const [inputs, outputs] = [layer.in_shapes[0][0], layer.out_shape[0]];
  const [mine, yours] = [inputs / layer.groups, outputs / layer.groups];
  for (let o = 0; o < outputs; o++) {
    for (let k = 0; k < mine; k++) visit(o, Math.floor(o / yours) * mine + k, k);
  }
}

function conv(layer, x, weight, bias) {
  const samples = x.shape[0];
  const found = zeros([samples, ...layer.out_shape]);
  const [inMap, outMap] = maps(layer);
  const [inSize, outSize, taps] = [size(inMap), size(outMap), size(layer.window.kernel)];
  const [inputs, outputs] = [layer.in_shapes[0][0], layer.out_shape[0]];
  for (let place = 0; place < found.data.length; place++) found.data[place] = bias[Math.floor(place / outSize) % outputs];
  for (let n = 0; n < samples; n++) {
    eachChannelPair(layer, (o, m, k) => {
      const [to, from] = [(n * outputs + o) * outSize, (n * inputs + m) * inSize];
      const kernel = (o * (inputs / layer.groups) + k) * taps;
      eachLink(layer.window, inMap, outMap, (j, i, u) => {
        found.data[to + j] += weight[kernel + u] * x.data[from + i];
      });
    });
  }
  return found;
}

/** The largest value of each window, and its place in the input's map: of equal values the first. */
export function maxPool(layer, x) {
  const planes = x.shape[0] * x.shape[1];
  const shape = [x.shape[0], ...layer.out_shape];
  const [inMap, outMap] = maps(layer);
  const [inSize, outSize] = [size(inMap), size(outMap)];
  const value = { shape, data: new Float64Array(size(shape)).fill(-Infinity) };
  const place = { shape, data: new BigInt64Array(size(shape)) };
  for (let plane = 0; plane < planes; plane++) {
    eachLink(layer.window, inMap, outMap, (j, i) => {
      const [to, found] = [plane * outSize + j, x.data[plane * inSize + i]];
      if (found > value.data[to]) {
        value.data[to] = found;
        place.data[to] = BigInt(i);
      }
    });
  }
  return { value, place };
}

/** A signal back through a layer without weights. */
export function pullBack(layer, signal, place) {
  const shape = [signal.shape[0], ...layer.in_shapes[0]];
  if (layer.kind === "Activation" || layer.kind === "Reshape") return { shape, data: signal.data };
  if (layer.kind !== "MaxPool") throw new Error(`${layer.kind} is not pulled back here`);
  const total = zeros(shape);
  const count = new Float64Array(total.data.length);
  const [inMap, outMap] = maps(layer);
  for (let at = 0; at < signal.data.length; at++) {
    const to = Math.floor(at / size(outMap)) * size(inMap) + Number(place.data[at]);
    total.data[to] += signal.data[at];
    count[to] += 1;
  }
  // Windows that overlap may choose one location: it takes their mean.
  for (let to = 0; to < count.length; to++) total.data[to] /= Math.max(count[to], 1);
  return total;
}

/** The adjoint of a convolution with another kernel, on the input's grid. */
export function adjoint(layer, kernel, signal) {
  const samples = signal.shape[0];
  const found = zeros([samples, ...layer.in_shapes[0]]);
  const [inMap, outMap] = maps(layer);
  const [inSize, outSize, taps] = [size(inMap), size(outMap), size(layer.window.kernel)];
  const [inputs, outputs] = [layer.in_shapes[0][0], layer.out_shape[0]];
  for (let n = 0; n < samples; n++) {
    eachChannelPair(layer, (o, m, k) => {
      const [from, to] = [(n * outputs + o) * outSize, (n * inputs + m) * inSize];
      const first = (o * (inputs / layer.groups) + k) * taps;
      eachLink(layer.window, inMap, outMap, (j, i, u) => {
        found.data[to + i] += kernel[first + u] * signal.data[from + j];
      });
    });
  }
  return found;
}
