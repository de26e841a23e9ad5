"""Nine classic networks end to end: read, fitted from a logit down to the pixels, and explained, one process each.

The onnx wheel carries their graphs without weights; these are seeded random ones (see seeded_zoo.py), and so are the
images: what is measured is that the graphs are handled, and what it costs. R² says how much of each tensor the linear
inverses reconstruct on the calibration images themselves: with few images and many weights it is close to 1.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import onnxruntime

import mipin_ref as mr
from benchmarks.seeded_zoo import names, seeded
from benchmarks.tables import Sheet, Told
from benchmarks.timing import Process, in_child
from measured.cells import Value
from paper.places import last_map

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the way from the logits to the explained tensor R² is told."""
COLUMNS = {
    "network": "{network}",
    "layers": "{layers}",
    "explained": "{tensor}",
    "fitted (joint)": "{fitted} ({joint})",
    "unknowns": "{unknowns:comma}",
    "load": "{load:.0f} s",
    "fit": "{fit:.0f} s",
    "attribute": "{attribute:.0f} s",
    "peak": "{peak:GB.1}",
    "R² by depth": ", ".join(f"{{r2_{round(100 * depth)}:.2f}}" for depth in DEPTHS),
}
FAILED: dict[str, Value] = {
    **dict.fromkeys(("tensor", "fitted", "joint", "unknowns", "load", "fit", "attribute", "peak")),
    **{f"r2_{round(100 * depth)}": None for depth in DEPTHS},
    "layers": "failed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=names(), default=names())
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--at", choices=("input", "last"), default="input", help="explain the pixels or the last map")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--memory", default="4GB")


def run(options: argparse.Namespace) -> Told:
    """A row a network, as it is done. Raises SystemExit that names those that failed, behind the rows of the others."""
    print(f"{options.samples} random images, {options.dtype}, memory={options.memory}")
    sheet = Sheet(COLUMNS)
    asked = {name: getattr(options, name) for name in ("samples", "at", "dtype", "memory")}
    failed: list[str] = []
    for name in options.networks:
        try:
            cells = row(in_child(measured, name=name, **asked))
        except SystemExit:
            failed.append(name)
            cells = FAILED
        sheet.add(network=name, **cells)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    return {"rows": sheet.rows}


def row(process: Process) -> dict[str, Value]:
    """The figures behind a network's name."""
    one = dict(process.value)
    r2 = zip(DEPTHS, one.pop("r2"), strict=True)
    return {**one, "peak": process.peak, **{f"r2_{round(100 * depth)}": value for depth, value in r2}}


def measured(name: str, samples: int, at: str, dtype: Any, memory: str) -> dict[str, Any]:
    """Load, fit and explain one network in this process. load, fit, attribute: seconds; r2: at `DEPTHS`."""
    began = time.perf_counter()
    model = seeded(name)
    net = mr.load(model)
    loaded = time.perf_counter()
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    del model
    # Random activations are of any size; inputs keep them finite.
    x = np.random.default_rng(0).standard_normal((samples, *net.input_shape)).astype(np.float32)
    # Behind a Relu some random outputs never fire.
    outputs = np.stack([runtime.run(None, {net.input: x[i : i + 1]})[0].ravel() for i in range(len(x))])
    target = int(np.var(outputs, axis=0).argmax())
    inv = mr.fit(net, x, target, at=last_map(net) if at == "last" else None, dtype=dtype, memory=memory)
    fitted = time.perf_counter()
    res = inv.attribute(x)
    explained = time.perf_counter()
    if not (np.isfinite(res.source).all() and np.isfinite(res.attribution).all()):
        raise SystemExit(f"{name}: a signal is not finite")
    rows = list(inv.report)
    return {
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
