"""An exported explainer against the forward pass of the file that it explains, both in one runtime as it is opened.

One process, one thread, contestants in turn. The explainer makes all its outputs: logits, source signal, attribution,
contribution, map. What is told is CPU time of the process, which other processes of the machine do not lengthen.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import mipin_ref as mr
from benchmarks.data import Floats, add_repeats, model_path
from benchmarks.tables import Sheet, Told
from benchmarks.timing import in_child
from measured.cells import Value
from mipin_ref.export.agreement import compared

Runner = Callable[[], Mapping[str, Any]]
"""Makes the outputs of a file, by name."""

RUNTIME = "onnxruntime"
NETWORKS = ("mnist_mlp", "mnist_cnn", "clutter_vgg", "clutter_resnet", "clutter_se")
COMPARED = 4
"""Samples that are compared with the package."""
LEAST_SECONDS, MOST_ROUNDS = 0.5, 200
"""Seconds that the slower one runs for in all, at least, but for so many rounds."""


COLUMNS = {
    "network": "{network}",
    "batch": "{batch}",
    "forward": "{forward:seconds}",
    "explainer": "{explainer:seconds}",
    "ratio": "{ratio:times}",
    "file": "{file:size}",
    "optimised": "r = {correlation:.5f}, {within:.1%}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--samples", type=int, default=60, help="to fit on; the time does not depend on it")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--model", help="another ONNX file, explained by --inverse, in place of --networks")
    parser.add_argument("--inverse", help="what `mipin fit` wrote for it")
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIME, help=f"that runs both (default: {RUNTIME})")
    add_repeats(parser, 20)


def run(options: argparse.Namespace) -> Told:
    """A row a network, with the figures of each batch beside one another."""
    print(f"one thread, medians of {options.repeats} rounds or more, CPU time\n")
    sheet, rows = Sheet(COLUMNS), []
    asked = {name: getattr(options, name) for name in ("samples", "target", "repeats", "runtime")}
    for network in options.networks if options.model is None else [options.model]:
        row: dict[str, Value] = {"network": Path(network).stem}
        for batch in options.batches:
            one = in_child(measure, network=network, batch=batch, inverse=options.inverse, **asked).value
            forward, explained = one["medians"]
            figures = {"forward": forward, "explainer": explained, "ratio": explained / forward}
            about = {key: one[key] for key in ("file", "error", "correlation", "within")}
            sheet.add(network=Path(network).stem, batch=batch, **figures, **about)
            row |= {**{f"{name}_{batch}": value for name, value in figures.items()}, **about}
        rows.append(row)
    return {"rows": rows, "values": {f"{row['network']}_{key}": value for row in rows for key, value in row.items()}}


def measure(
    network: str, batch: int, inverse: str | None, samples: int, target: int, repeats: int, runtime: str
) -> dict[str, Any]:
    """medians: CPU seconds of the forward pass and of the explainer; file: its bytes; error: of its outputs without
    onnxruntime's optimisations; correlation, within: of its outputs in the runtime with those of the package, the
    latter the share within 1e-4.
    """
    model = Path(network) if network.endswith(".onnx") else model_path(network)
    net = mr.load(model)
    x = _samples(model, net, max(samples, batch))
    fitted = mr.fit(net, x[:samples], target, ridge=1.0, dtype="float32") if inverse is None else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explainer.onnx")
        used = fitted or mr.load_inverse(str(inverse), net)
        made = mr.export(used, path, check=x[:COMPARED])
        start = RUNTIMES[runtime]
        near = _near(used, x[:COMPARED], start(path, x[:COMPARED])())
        runners = [start(one, x[:batch]) for one in (model, path)]
    medians = _interleaved(runners, repeats)
    return {"medians": medians, "file": made.bytes, "error": made.exact.error, **near}


def _near(inverse: mr.Inverse, x: Floats, outputs: Mapping[str, Any]) -> dict[str, float]:
    """The lowest correlation and share within 1e-4 of an explainer's outputs with the package's."""
    found = inverse.attribute(x)
    wanted = {"source": found.source, "attribution": found.attribution, "contribution": found.contribution}
    _, correlations, shares = zip(*(compared(outputs[name], value) for name, value in wanted.items()), strict=True)
    return {"correlation": min(correlations), "within": min(shares)}


def _samples(model: Path, net: mr.Network, count: int) -> Floats:
    """Embedded samples over and over, or noise where there are none."""
    beside = model.parent / "calibration.npz"
    if not beside.is_file():
        return np.random.default_rng(0).random((count, *net.input_shape), np.float32)
    with np.load(beside) as stored:
        x = (stored["x"] / np.float32(255)).reshape(-1, *net.input_shape)
    return np.asarray(x[np.arange(count) % len(x)], np.float32)


def _onnxruntime(path: Path, x: Floats) -> Runner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, names = session.get_inputs()[0].name, [one.name for one in session.get_outputs()]
    return lambda: dict(zip(names, session.run(None, {name: x}), strict=True))


def _openvino(path: Path, x: Floats) -> Runner:
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(str(path), "CPU", hints)
    request, names = model.create_infer_request(), [one.any_name for one in model.outputs]
    return lambda: dict(zip(names, request.infer([x], share_outputs=True).values(), strict=True))


RUNTIMES: Mapping[str, Callable[[Path, Floats], Runner]] = {RUNTIME: _onnxruntime, "openvino": _openvino}


def _interleaved(runners: list[Runner], repeats: int) -> list[float]:
    """The median CPU seconds of each, in turn; short ones in more rounds."""
    longest = 0.0
    for runner in [*runners, *runners]:
        began = time.process_time()
        runner()
        longest = max(longest, time.process_time() - began)
    spent: list[list[float]] = [[] for _ in runners]
    for _ in range(max(repeats, min(MOST_ROUNDS, int(LEAST_SECONDS / max(longest, 1e-6))))):
        for runner, seconds_of in zip(runners, spent, strict=True):
            began = time.process_time()
            runner()
            seconds_of.append(time.process_time() - began)
    return [statistics.median(one) for one in spent]
