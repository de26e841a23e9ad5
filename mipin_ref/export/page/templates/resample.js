"use strict";
// Pillow's Image.resize(size, BILINEAR, box=box) on bytes (its Resample.c): a triangle as wide as what a pixel of the
// result covers, weights in whole steps of 2^-22, first along rows, then along columns, each rounded to bytes. Pillow 13
// takes the columns of tall pictures first, which moves a byte by one at most. Browsers resample canvases otherwise, each
// in its own way, and then a network sees something else.
// A picture is { width, height, channels, data }, data: Uint8Array [height, width, channels].
const PRECISION = 22;

// The weights with which positions of one axis, `from` long, make the `to` positions that its part low..high becomes.
function triangles(from, low, high, to) {
  const scale = Math.fround(high - low) / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at) => {
    const centre = low + (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const shares = [];
    for (let x = first; x < last; x++) shares.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) / support)));
    const sum = shares.reduce((a, b) => a + b, 0);
    return { first, weights: shares.map((share) => Math.trunc((share / sum) * 2 ** PRECISION + 0.5)) };
  });
}

// One axis of bytes resampled. from, to: how many bytes lie between two lines, and between two positions of a line, in
// what is read and in what is made.
function resampleAxis(data, length, triangles, lines, channels, from, to) {
  const made = new Uint8Array(length);
  triangles.forEach(({ first, weights }, at) => {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < channels; channel++) {
        let read = line * from.line + first * from.step + channel;
        let sum = 2 ** (PRECISION - 1);
        for (let k = 0; k < weights.length; k++, read += from.step) sum += data[read] * weights[k];
        made[line * to.line + at * to.step + channel] = Math.min(255, Math.max(0, sum >> PRECISION));
      }
    }
  });
  return made;
}

// A part, box [left, top, right, bottom] in pixels, of a picture, at [height, width].
function resized(picture, [left, top, right, bottom], height, width) {
  const { channels } = picture;
  const [long, short] = [picture.width * channels, width * channels];
  let { data } = picture;
  if (width !== picture.width || left !== 0 || right !== picture.width) {
    const columns = triangles(picture.width, left, right, width);
    const [from, to] = [long, short].map((line) => ({ line, step: channels }));
    data = resampleAxis(data, picture.height * short, columns, picture.height, channels, from, to);
  }
  if (height !== picture.height || top !== 0 || bottom !== picture.height) {
    const rows = triangles(picture.height, top, bottom, height);
    const strides = { line: channels, step: short };
    data = resampleAxis(data, height * short, rows, width, channels, strides, strides);
  }
  return { width, height, channels, data };
}

// The shorter side resized and the centre cropped, in one step: the largest part of that aspect ratio.
function covering(picture, height, width) {
  const scale = Math.min(picture.width / width, picture.height / height);
  const left = (picture.width - scale * width) / 2;
  const top = (picture.height - scale * height) / 2;
  const right = Math.min(picture.width - left, picture.width);
  const bottom = Math.min(picture.height - top, picture.height);
  return resized(picture, [Math.max(left, 0), Math.max(top, 0), right, bottom].map(Math.fround), height, width);
}
