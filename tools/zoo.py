"""Nine classic networks end to end: read, fitted from a logit down to the pixels, and explained.

python tools/zoo.py                            all nine, one process each; a table
python tools/zoo.py --networks squeezenet --at last

The onnx wheel carries their graphs without weights; these are seeded random ones (see seeded_zoo.py), and so are the
images: what is measured is that the graphs are handled, and what it costs. R² says how much of each tensor the linear
inverses reconstruct on the calibration images themselves: with few images and many weights it is close to 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from seeded_zoo import names, seeded

import mipin_ref as mr

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the way from the logits to the explained tensor R² is told."""


def measured(name: str, options: argparse.Namespace) -> dict[str, object]:
    """One network in this process; the parent adds the peak memory."""
    began = time.perf_counter()
    model = seeded(name)
    net = mr.load(model)
    loaded = time.perf_counter()
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    del model
    # Random activations are of any size; inputs keep them finite.
    x = np.random.default_rng(0).standard_normal((options.samples, *net.input_shape)).astype(np.float32)
    at = last_map(net) if options.at == "last" else None
    # Behind a Relu some random outputs never fire.
    outputs = np.stack([runtime.run(None, {net.input: x[i : i + 1]})[0].ravel() for i in range(len(x))])
    target = int(np.var(outputs, axis=0).argmax())
    inv = mr.fit(net, x, target, at=at, dtype=options.dtype, memory=options.memory)
    fitted = time.perf_counter()
    res = inv.attribute(x)
    explained = time.perf_counter()
    if not (np.isfinite(res.source).all() and np.isfinite(res.attribution).all()):
        raise SystemExit(f"{name}: a signal is not finite")
    rows = list(inv.report)
    return {
        "network": name,
        "layers": len(net.layers),
        "tensor": res.tensor,
        "fitted": len(rows),
        "joint": sum(row.block.startswith("joint") for row in rows),
        "unknowns": sum(row.unknowns for row in rows),
        "load": loaded - began,
        "fit": fitted - loaded,
        "attribute": explained - fitted,
        "r2": [rows[round(depth * (len(rows) - 1))].r2 for depth in DEPTHS],
    }


def last_map(net: mr.Network) -> str:
    """The last tensor of several locations."""
    maps = [name for name, shape in net.shapes.items() if len(shape) == 3 and min(shape[1:]) > 1]
    return maps[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="nine classic networks: time, memory and R² of full-depth inverses")
    parser.add_argument("--networks", nargs="+", choices=names(), default=names())
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--at", choices=("input", "last"), default="input", help="explain the pixels or the last map")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.networks[0], options)))
        return
    print(f"{options.samples} random images, {options.dtype}, memory={options.memory}")
    print("| network | layers | explained | fitted (joint) | unknowns | load | fit | attribute | peak | R² by depth |")
    print("|" + "---|" * 10)
    failed: list[str] = []
    for name in options.networks:
        given = ["--samples", str(options.samples), "--at", options.at]
        given += ["--dtype", options.dtype, "--memory", options.memory]
        command = [sys.executable, __file__, "--one", "--networks", name, *given]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            print(f"| {name} | failed |" + " |" * 8, flush=True)
            failed.append(name)
            continue
        found = json.loads(text)
        print(
            f"| {name} | {found['layers']} | {found['tensor']} | {found['fitted']} ({found['joint']}) "
            f"| {found['unknowns']:,} | {found['load']:.0f} s | {found['fit']:.0f} s | {found['attribute']:.0f} s "
            f"| {usage.ru_maxrss / 1e6:.1f} GB | {', '.join(f'{value:.2f}' for value in found['r2'])} |",
            flush=True,
        )
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
