"""Source signal and attribution of one batch against onnxruntime's forward and torch's forward and backward.

All run in one process with one thread each. onnxruntime runs the file with its default optimisations, its softmax
included; torch goes from the input to one logit and back to the input, without gradients of weights. The engine's time
is that of `inv.attribute(x)` after a call that warms it up, the forward pass and all conversions included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import onnxruntime
import torch

import mipin_ref as mr
from benchmarks.data import NETWORKS, Floats, add_repeats, digits, model_path
from benchmarks.tables import markdown, seconds, times
from benchmarks.timing import in_child, interleaved, threads
from benchmarks.torch_twin import as_torch

FORWARD, BACKWARD = "onnxruntime forward", "torch forward + backward"
DTYPES = ("float32", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", choices=NETWORKS, default="mnist_cnn")
    parser.add_argument("--samples", type=int, default=500, help="to fit on; the time does not depend on it")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--target", type=int, default=3)
    add_repeats(parser, 20)


def run(options: argparse.Namespace) -> None:
    asked = {name: getattr(options, name) for name in ("network", "samples", "batch", "target", "repeats")}
    measurement = in_child(measure, **asked).value
    medians = measurement["medians"]
    print(
        f"{options.network}, class {options.target}, batch {options.batch}, one thread, medians of {options.repeats}; "
        f"{measurement['busy']:.2f} CPU seconds a second\n"
    )
    rows = [
        [name, seconds(spent), times(spent / medians[FORWARD]), times(medians[BACKWARD] / spent)]
        for name, spent in medians.items()
    ]
    print(markdown(["what", "time", f"this ÷ {FORWARD}", f"{BACKWARD} ÷ this"], rows))


def measure(network: str, samples: int, batch: int, target: int, repeats: int) -> dict[str, Any]:
    """medians: seconds by contestant; busy: CPU seconds of the process a second of wall time while they ran."""
    x = digits(None, max(samples, batch))
    with threads(1):
        runners = contestants(network, x[:samples], x[:batch], target)
        began, used = time.perf_counter(), time.process_time()
        runs = interleaved(runners, repeats, warm_up=2)
        busy = (time.process_time() - used) / (time.perf_counter() - began)
    return {"medians": {name: timed.median for name, timed in runs.items()}, "busy": busy}


def contestants(network: str, calibration: Floats, x: Floats, target: int) -> dict[str, Callable[[], Any]]:
    """By name, what turns the batch x into probabilities, a gradient [n, ...], and Attributions of either dtype."""
    net = mr.load(model_path(network))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_path(network)), settings, providers=["CPUExecutionProvider"])
    module = as_torch(net)

    def backward() -> Any:
        image = torch.from_numpy(x).requires_grad_(True)
        module(image)[:, target].sum().backward()
        return image.grad

    def ours(inverse: mr.Inverse) -> Callable[[], mr.Attribution]:
        return lambda: inverse.attribute(x)

    return {
        FORWARD: lambda: session.run(None, {net.input: x})[0],
        BACKWARD: backward,
        **{f"attribute, {dtype}": ours(mr.fit(net, calibration, target, dtype=dtype)) for dtype in DTYPES},
    }
