"""Source signal and attribution of one batch against onnxruntime's forward and torch's forward and backward.

All run in one process with one thread each. onnxruntime runs the file with its default optimisations, its softmax
included; torch goes from the input to one logit and back to the input, without gradients of weights, with one signal
or with two, as S and A are, where each layer has a twin of it here. The engine's time is that of `inv.attribute(x)`
after a call that warms it up, the forward pass and all conversions included; its twin takes the way back in NumPy.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import mipin_ref as mr
from benchmarks.data import NETWORKS, Floats, add_repeats, digits, model_path, name_of
from benchmarks.tables import Told, markdown
from benchmarks.timing import in_child, interleaved, threads
from benchmarks.torch_twin import as_torch, twinned
from measured.cells import Value
from measured.units import seconds, times
from mipin_ref.backend import get_backend
from mipin_ref.data.calibration import samples_like
from mipin_ref.errors import PrecisionWarning
from mipin_ref.graph.forward import Recorder

FORWARD, BACKWARD = "onnxruntime forward", "torch forward + backward"
TWO = "torch forward + backward of two signals"
RECORDED, OPENED = "of it the recorded forward pass", "once: its session opened"
SINGLE, DOUBLE, IN_NUMPY = "attribute, float32", "attribute, float64", "attribute, float32, in NumPy"
DTYPES = ("float32", "float64")
KEYS = {
    FORWARD: "forward",
    BACKWARD: "torch",
    TWO: "torch_two",
    SINGLE: "attribute",
    DOUBLE: "double",
    IN_NUMPY: "numpy",
    RECORDED: "recorded",
    OPENED: "opened",
}
"""Contestant -> name of its seconds among the figures."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", choices=NETWORKS, default="mnist_cnn")
    parser.add_argument("--model", type=Path, help="an ONNX file, on standard normal inputs, in place of --network")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of the processor, beside other work"
    )
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--samples", type=int, default=500, help="to fit on; the time does not depend on it")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--target", type=int, default=3)
    add_repeats(parser, 20)


def run(options: argparse.Namespace) -> Told:
    model = str(options.model or model_path(options.network))
    asked = {name: getattr(options, name) for name in ("samples", "batch", "target", "repeats", "clock", "dtypes")}
    measurement = in_child(measure, model=model, embedded=options.model is None, **asked).value
    medians = measurement["medians"]
    name = name_of(options.model or Path(options.network))
    print(
        f"{name}, class {options.target}, batch {options.batch}, one thread, medians of {options.repeats} "
        f"({options.clock} clock); {measurement['busy']:.2f} CPU seconds a second\n"
    )
    torch_took = medians.get(BACKWARD)
    if torch_took is None:
        print("a layer has no torch twin here, so that torch is left out\n")
    rows = [
        [name, seconds(spent), times(spent / medians[FORWARD]), times(torch_took / spent) if torch_took else "–"]
        for name, spent in medians.items()
    ]
    print(markdown(["what", "time", f"this ÷ {FORWARD}", f"{BACKWARD} ÷ this"], rows))
    figures: dict[str, Value] = {KEYS[what]: spent for what, spent in medians.items()}
    ratios: dict[str, Value] = {
        f"{key}_forwards": medians[what] / medians[FORWARD] for what, key in KEYS.items() if what in medians
    }
    ratios["torch_ratio"] = medians[TWO] / medians[SINGLE] if TWO in medians and SINGLE in medians else None
    return {"rows": [{"network": name, "batch": options.batch, **figures, **ratios}], "values": {**figures, **ratios}}


def measure(
    model: str,
    embedded: bool,
    samples: int,
    batch: int,
    target: int,
    repeats: int,
    clock: str,
    dtypes: list[str],
) -> dict[str, Any]:
    """medians: seconds by contestant; busy: CPU seconds of the process a second of wall time while they ran."""
    count = max(samples, batch)
    if embedded:
        x = digits(None, count)
    else:
        shape = (count, *mr.load(model).input_shape)
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with threads(1):
        runners = contestants(model, x[:samples], x[:batch], target, dtypes)
        began, used = time.perf_counter(), time.process_time()
        runs = interleaved(runners, repeats, warm_up=2, timer=CLOCKS[clock])
        busy = (time.process_time() - used) / (time.perf_counter() - began)
    return {"medians": {name: timed.median for name, timed in runs.items()}, "busy": busy}


def contestants(
    model: str, calibration: Floats, x: Floats, target: int, dtypes: list[str]
) -> dict[str, Callable[[], Any]]:
    """By name, what turns the batch x into probabilities, gradients [n, ...], and Attributions of either dtype."""
    net = mr.load(model)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    module = as_torch(net) if twinned(net) else None

    def backward(signals: int) -> Any:
        assert module is not None
        image = torch.from_numpy(x).requires_grad_(True)
        logit = module(image)[:, target].sum()
        return [torch.autograd.grad(logit, image, retain_graph=left > 0)[0] for left in reversed(range(signals))][-1]

    def ours(inverse: mr.Inverse) -> Callable[[], mr.Attribution]:
        return lambda: inverse.attribute(x)

    runners: dict[str, Callable[[], Any]] = {FORWARD: lambda: session.run(None, {name: x})[0]}
    if module is not None:
        runners |= {BACKWARD: lambda: backward(1), TWO: lambda: backward(2)}
    fitted = {dtype: fit(net, calibration, target, dtype) for dtype in dtypes}
    runners |= {f"attribute, {dtype}": ours(inverse) for dtype, inverse in fitted.items()}
    if "float32" in fitted:
        twin, at = fitted["float32"], [fitted["float32"].plan.explained]
        runners[IN_NUMPY] = lambda: twin._descended(samples_like(twin.calibration, x), at, None, ride=False)
        way = twin._way(at, ride=True)
        recorder = Recorder(net, [*way.values, *at, twin.plan.logits], way.switches, way.fired, keep=True, quick=True)
        runners[RECORDED] = lambda: recorder(x)
        # Another owner of the same weights has no session yet.
        runners[OPENED] = lambda: replace(twin)._way(at, ride=True)
    return runners


def fit(net: mr.Network, calibration: Floats, target: int, dtype: str) -> mr.Inverse:
    """An inverse that is applied in the dtype, whatever its fit needed: the time does not depend on the weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        inverse = mr.fit(net, calibration, target, dtype=dtype, memory="4GB")
    return replace(inverse, backend=get_backend("numpy", dtype))
