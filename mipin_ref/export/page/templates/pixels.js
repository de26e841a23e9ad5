// From what a visitor gives to the bytes of the network's input, and to its numbers.

// Red, green, blue and opacity as they come from a canvas -> one gray channel, as Pillow's convert("L") weighs colours
// (ITU-R 601-2), or three colours.
function ofCanvas(rgba, height, width, channels) {
  const data = new Uint8Array(height * width * channels);
  for (let at = 0; at < height * width; at++) {
    const [red, green, blue] = [rgba[4 * at], rgba[4 * at + 1], rgba[4 * at + 2]];
    if (channels === 1) data[at] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else data.set([red, green, blue], 3 * at);
  }
  return { width, height, channels, data };
}

function inverted(picture) {
  return { ...picture, data: picture.data.map((value) => 255 - value) };
}

// The smallest box [left, top, right, bottom] that holds all ink of a picture of one channel; null of an empty one.
function inkBox({ width, height, data }) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    }
  }
  return right ? [left, top, right, bottom] : null;
}

// The pixels of a box alone, so that what is resampled does not reach beyond it.
function cropped({ width, channels, data }, [left, top, right, bottom]) {
  const made = { width: right - left, height: bottom - top, channels };
  made.data = new Uint8Array(made.height * made.width * channels);
  for (let row = 0; row < made.height; row++) {
    const start = ((top + row) * width + left) * channels;
    made.data.set(data.subarray(start, start + made.width * channels), row * made.width * channels);
  }
  return made;
}

// [x, y] of the centre of mass of a picture of one channel, in pixels.
function centreOfMass({ width, height, data }) {
  let [mass, x, y] = [0, 0, 0];
  data.forEach((value, at) => {
    mass += value;
    x += value * ((at % width) + 0.5);
    y += value * (Math.floor(at / width) + 0.5);
  });
  return mass ? [x / mass, y / mass] : [width / 2, height / 2];
}

// A drawing as the makers of MNIST placed theirs: the box of the ink resized to 20 of 28 pixels along its longer side,
// its centre of mass moved by whole pixels into the one below and right of the middle, where that of every digit there
// lies.
function centred(drawing, height, width) {
  const made = { width, height, channels: 1, data: new Uint8Array(height * width) };
  const box = inkBox(drawing);
  if (!box) return made;
  const tight = cropped(drawing, box);
  const scale = Math.round((Math.min(height, width) * 20) / 28) / Math.max(tight.height, tight.width);
  const [high, wide] = [tight.height, tight.width].map((side) => Math.max(1, Math.round(side * scale)));
  const ink = resized(tight, [0, 0, tight.width, tight.height], high, wide);
  const [x, y] = centreOfMass(ink);
  const left = Math.min(width - wide, Math.max(0, Math.ceil(width / 2 - x)));
  const top = Math.min(height - high, Math.max(0, Math.ceil(height / 2 - y)));
  for (let row = 0; row < high; row++) {
    made.data.set(ink.data.subarray(row * wide, (row + 1) * wide), (top + row) * width + left);
  }
  return made;
}

// Where the value of a channel at a pixel lies in a tensor { channels, height, width, last }; last: whether the channels
// are on its last axis.
function placeOf({ channels, height, width, last }, channel, pixel) {
  return last ? pixel * channels + channel : channel * height * width + pixel;
}

// (value / scale - mean) / std in single precision, as the package computes it.
function networkValues(picture, input) {
  const { channels, height, width, scale, mean, std, bgr } = input;
  const values = new Float32Array(channels * height * width);
  for (let pixel = 0; pixel < height * width; pixel++) {
    for (let channel = 0; channel < channels; channel++) {
      const byte = picture.data[pixel * channels + (bgr ? channels - 1 - channel : channel)];
      const value = Math.fround(Math.fround(byte / scale) - Math.fround(mean[channel]));
      values[placeOf(input, channel, pixel)] = value / Math.fround(std[channel]);
    }
  }
  return values;
}

// What the explainer reads: the network's values, or bytes where it makes those of them itself.
function explainerValues(picture, input) {
  if (!input.raw) return networkValues(picture, input);
  const { channels } = picture;
  const bytes = { ...picture, last: input.rawLast };
  const made = new Uint8Array(picture.data.length);
  for (let at = 0; at < made.length; at++) made[placeOf(bytes, at % channels, Math.floor(at / channels))] = picture.data[at];
  return made;
}
