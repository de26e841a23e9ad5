// Pictures and maps on canvases, in the colours of all pages of this package.
const CUT = 0.995;

// The magnitude from which on colours are full, so that a few large values hide no others (linear between ranks, as
// NumPy's percentile is); the largest where that is zero.
function fullColour(values) {
  const sorted = Float64Array.from(values, Math.abs).sort();
  const rank = CUT * (sorted.length - 1);
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  const cut = sorted[below] + (rank - below) * (sorted[above] - sorted[below]);
  return cut || sorted[sorted.length - 1];
}

function paint(canvas, height, width, colourOf) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let pixel = 0; pixel < height * width; pixel++) image.data.set(colourOf(pixel), 4 * pixel);
  context.putImageData(image, 0, 0);
}

function paintPicture(canvas, { height, width, channels, data }) {
  paint(canvas, height, width, (pixel) => {
    const [red, green, blue] = channels === 1 ? Array(3).fill(data[pixel]) : data.subarray(3 * pixel, 3 * pixel + 3);
    return [red, green, blue, 255];
  });
}

// A map in red and blue, as opaque as its values are large.
function paintMap(canvas, { height, width, values }) {
  const full = fullColour(values) || 1;
  paint(canvas, height, width, (pixel) => {
    const share = Math.min(1, Math.max(-1, values[pixel] / full));
    return [share > 0 ? 255 : 0, 0, share < 0 ? 255 : 0, Math.round(255 * Math.abs(share))];
  });
}

// [lowest, highest] of numbers that may be too many for a call's arguments.
function extent(values) {
  return values.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);
}

// Values of a tensor as a picture on their own range: colours where it has three channels and is the input, else their
// mean in gray.
function rangedPicture(values, tensor, { inner, bgr }) {
  const { channels, height, width } = tensor;
  const colours = channels === 3 && !inner;
  const shown = colours ? values : channelSums(values, tensor, 1 / channels).values;
  const [low, high] = extent(shown);
  const gray = (value) => (high > low ? Math.round((255 * (value - low)) / (high - low)) : 0);
  if (!colours) return { height, width, channels: 1, data: Uint8Array.from(shown, gray) };
  const data = new Uint8Array(3 * height * width);
  for (let at = 0; at < data.length; at++) {
    const channel = bgr ? 2 - (at % 3) : at % 3;
    data[at] = gray(shown[placeOf(tensor, channel, Math.floor(at / 3))]);
  }
  return { height, width, channels: 3, data };
}

// The sum over channels of a tensor's values, times a factor: a map { height, width, values }.
function channelSums(values, tensor, factor) {
  const { channels, height, width } = tensor;
  const sums = new Float64Array(height * width);
  for (let pixel = 0; pixel < sums.length; pixel++) {
    for (let channel = 0; channel < channels; channel++) sums[pixel] += values[placeOf(tensor, channel, pixel)];
    sums[pixel] *= factor;
  }
  return { height, width, values: sums };
}

// What speaks for the class, as the package's own maps have it: A ⊙ X summed over channels, turned where the logit that
// it adds up to is negative.
function signedMap({ contribution, logit }, tensor) {
  return channelSums(contribution.values, tensor, logit.values[0] < 0 ? -1 : 1);
}

function rounded(value) {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

// The range of a map in words.
function rangeOf(values) {
  return extent(values).map(rounded).join(" to ");
}
