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

// The bytes of an element that holds gzip in base64.
async function unpacked(id) {
  const element = document.getElementById(id);
  const text = atob(element.textContent.trim());
  element.remove();
  const packed = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) packed[at] = text.charCodeAt(at);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
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
