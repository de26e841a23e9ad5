// Arrays in a safetensors file: eight bytes with the header's length, the header in JSON, the data in C order.
import { readFileSync, writeFileSync } from "node:fs";

const KINDS = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array, U8: Uint8Array };

/** Name -> { dtype, shape, data }; floating-point data come as Float64Array, integers as stored. */
export function readArrays(path) {
  const file = readFileSync(path);
  const length = file.readBigUInt64LE(0);
  if (length > BigInt(file.length - 8)) throw new Error(`${path} claims a header of ${length} bytes`);
  const start = 8 + Number(length);
  const header = JSON.parse(file.toString("utf8", 8, start));
  const arrays = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets;
    // Typed arrays must begin at a multiple of their item's size, which a slice of the file need not.
    const bytes = new Uint8Array(file.subarray(start + begin, start + end));
    const stored = new KINDS[entry.dtype](bytes.buffer);
    const data = entry.dtype === "F32" ? Float64Array.from(stored) : stored;
    arrays.set(name, { dtype: entry.dtype, shape: entry.shape, data });
  }
  return arrays;
}

/** The arrays, name -> { shape, data }, as one file; the kind follows from the typed array. */
export function writeArrays(path, arrays) {
  const header = {};
  const parts = [];
  let offset = 0;
  for (const [name, { shape, data }] of arrays) {
    const dtype = Object.keys(KINDS).find((kind) => data instanceof KINDS[kind]);
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  let text = Buffer.from(JSON.stringify(header), "utf8");
  text = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([length, text, ...parts]));
}
