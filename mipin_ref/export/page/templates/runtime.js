// The runtime and the explainer, which the page holds packed, and what they compute.

// Why this browser cannot show the page, in one sentence; null where it can.
function whatIsMissing() {
  const lacking = [
    ["WebAssembly", typeof WebAssembly === "object"],
    ["DecompressionStream", typeof DecompressionStream === "function"],
    ["BigInt64Array", typeof BigInt64Array === "function"],
  ].filter(([, there]) => !there);
  if (!lacking.length) return null;
  return `This browser has no ${lacking[0][0]}, which the page needs; Chromium 80, Firefox 113, Safari 16.4 and newer have it.`;
}

// The bytes of a text that holds seven of their bits in a character, or fourteen in one above ASCII (packed.py).
function bytesOf(text, size) {
  const unkept = [0x00, 0x0d, 0x3c];
  const bytes = new Uint8Array(size);
  let [held, bits, at] = [0, 0, 0];
  const take = (seven) => {
    held = ((held << 7) | seven) & 0x7fff;
    bits += 7;
    if (bits < 8) return;
    bits -= 8;
    bytes[at++] = held >> bits;
  };
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 128) take(unkept[(code >> 7) - 1]);
    take(code & 127);
  }
  return bytes;
}

// The bytes of a file of which the first bytes of all words lie together, then the second, and so on.
function inWords(apart, word) {
  const bytes = new Uint8Array(apart.length);
  const words = apart.length / word;
  for (let place = 0; place < word; place++) {
    for (let from = place * words, to = place; to < bytes.length; from++, to += word) bytes[to] = apart[from];
  }
  return bytes;
}

// The bytes of an element that holds gzip.
async function unpacked(id) {
  const element = document.getElementById(id);
  const { packed, size, word } = element.dataset;
  const bytes = bytesOf(element.textContent, Number(packed));
  element.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  return (word ? inWords(whole, Number(word)) : whole).subarray(0, size ? Number(size) : whole.length);
}

// onnxruntime-web on one thread, from memory: it asks for no file.
async function startRuntime() {
  const code = new Blob([await unpacked("runtime")], { type: "text/javascript" });
  const address = URL.createObjectURL(code);
  const runtime = await import(address);
  URL.revokeObjectURL(address);
  runtime.env.logLevel = "error";
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmBinary = (await unpacked("wasm")).buffer;
  return runtime;
}

// The function (values, class) -> what the explainer says, with the milliseconds that took.
async function startExplainer(input) {
  const runtime = await startRuntime();
  const session = await runtime.InferenceSession.create(await unpacked("explainer"), { executionProviders: ["wasm"] });
  return async (values, target) => {
    const feeds = { [input.name]: new runtime.Tensor(input.raw ? "uint8" : "float32", values, [1, ...input.shape]) };
    if (input.target !== null) {
      feeds[input.target] = new runtime.Tensor("int64", BigInt64Array.of(BigInt(target)), []);
    }
    const start = performance.now();
    const outputs = await session.run(feeds);
    const milliseconds = performance.now() - start;
    const made = { target, milliseconds };
    for (const [name, tensor] of Object.entries(outputs)) {
      made[name] = { shape: tensor.dims.slice(1), values: tensor.data };
    }
    return made;
  };
}

// Each class's share of 0..1, the probability where the network has one, else where its logit lies between the others.
function sharesOf(logits, kind) {
  const highest = Math.max(...logits);
  if (kind === "sigmoid") return Array.from(logits, (one) => 1 / (1 + Math.exp(-one)));
  if (kind === "softmax") {
    const powers = Array.from(logits, (one) => Math.exp(one - highest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((one) => one / sum);
  }
  const lowest = Math.min(...logits);
  return Array.from(logits, (one) => (highest > lowest ? (one - lowest) / (highest - lowest) : 1));
}
