"""Other attribution methods on one batch against torch's forward and backward pass.

All run in one process with one thread each. torch goes from the input to one logit and back to the input, without
gradients of weights. The engine's time is that of `mr.attribute` after two calls that warm it up, the forward pass and
all conversions included; in float32 the gradient comes back in a session of onnxruntime, its twin in NumPy. Both
gradients are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mipin_ref as mr
from benchmarks.attribute import CLOCKS
from benchmarks.data import NETWORKS, Floats, add_repeats, digits, model_path, name_of
from benchmarks.tables import Told, markdown
from benchmarks.timing import in_child, interleaved, threads
from benchmarks.torch_twin import as_torch
from measured.cells import Value
from measured.units import seconds, times
from mipin_ref.backend import get_backend
from mipin_ref.methods.products import DERIVATIVES
from mipin_ref.methods.sweep import Sweep
from mipin_ref.panel.registry import METHODS

BACKWARD = "torch forward + backward"
IN_NUMPY, RECORDED = "gradient, float32, in NumPy", "gradient, float32, its recorded forward pass"
DTYPES = ("float32", "float64")
KEYS = {BACKWARD: "torch", IN_NUMPY: "numpy", RECORDED: "recorded"}
"""Contestant -> name of its seconds among the figures; a method's is its own with its dtype, as gradient_float32."""

WITHOUT_PATTERNS = [name for name, method in METHODS.items() if method.fitting is None]
"""The methods that need nothing fitted beforehand."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", choices=NETWORKS, default="mnist_cnn")
    parser.add_argument("--model", type=Path, help="an ONNX file, on standard normal inputs, in place of --network")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of the processor, beside other work"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=WITHOUT_PATTERNS, default=["gradient"])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    add_repeats(parser, 20)


def run(options: argparse.Namespace) -> Told:
    model = str(options.model or model_path(options.network))
    asked = {name: getattr(options, name) for name in ("batch", "target", "methods", "dtypes", "repeats", "clock")}
    measurement = in_child(measure, model=model, embedded=options.model is None, **asked).value
    name, medians = name_of(options.model or Path(options.network)), measurement["medians"]
    print(
        f"{name}, class {options.target}, batch {options.batch}, "
        f"one thread, medians of {options.repeats} ({options.clock} clock); {measurement['busy']:.2f} CPU seconds a "
        f"second; gradients {measurement['apart']:.1e} of the largest apart\n"
    )
    rows = [[name, seconds(spent), times(spent / medians[BACKWARD])] for name, spent in medians.items()]
    print(markdown(["what", "time", f"this ÷ {BACKWARD}"], rows))
    figures: dict[str, Value] = {"network": name, "batch": options.batch, "apart": measurement["apart"]}
    for what, spent in medians.items():
        key = KEYS.get(what, what.replace(", ", "_").replace("-", "_"))
        figures |= {key: spent, f"{key}_ratio": spent / medians[BACKWARD]}
    return {"rows": [figures], "values": {f"{name}_{key}": value for key, value in figures.items()}}


def measure(
    model: str,
    embedded: bool,
    batch: int,
    target: int,
    methods: list[str],
    dtypes: list[str],
    repeats: int,
    clock: str,
) -> dict[str, Any]:
    """medians: seconds by contestant; busy: CPU seconds of the process a second of wall time; apart: of gradients."""
    net = mr.load(model)
    shape = (batch, *net.input_shape)
    x = digits(None, batch) if embedded else np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with threads(1):
        module = as_torch(net)

        def backward() -> Any:
            image = torch.from_numpy(x).requires_grad_(True)
            module(image)[:, target].sum().backward()
            return image.grad

        apart = distance(mr.attribute(net, x, target, "gradient", dtype="float32").attribution, backward().numpy())
        runners: dict[str, Callable[[], Any]] = {BACKWARD: backward}
        for method in methods:
            for dtype in dtypes:
                runners[f"{method}, {dtype}"] = lambda m=method, d=dtype: mr.attribute(net, x, target, m, dtype=d)  # type: ignore[misc]
        if "gradient" in methods and "float32" in dtypes:
            single, targets = get_backend("numpy", "float32"), np.full(batch, target)
            twin = Sweep(net, single, net.input, lambda layer: DERIVATIVES[type(layer)], ride=False)
            runners[IN_NUMPY] = lambda: twin(x, targets)
            runners[RECORDED] = lambda: twin.recorded(x)
        began, used = time.perf_counter(), time.process_time()
        runs = interleaved(runners, repeats, warm_up=2, timer=CLOCKS[clock])
        busy = (time.process_time() - used) / (time.perf_counter() - began)
    return {"medians": {name: timed.median for name, timed in runs.items()}, "busy": busy, "apart": apart}


def distance(a: Floats, b: Floats) -> float:
    """max |a - b| / max |b|."""
    return float(np.abs(a - b).max() / np.abs(b).max())
