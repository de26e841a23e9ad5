"""Architectures that people use, as torch's two exporters write them: read, fitted and explained, one process each.

Networks of torchvision, timm and transformers and of this folder, with seeded random weights, explained at the last map
and at the pixels, or the embedding of tokens: what is measured is that the files go through, and what it costs. The
target is the entry of the output that varies most over the samples, a tuple where the output has several axes. Forward
passes are onnxruntime's on the file, with its default optimisations, in the same process as what is told in them. All
has one thread, and seconds are the processor's, so that they mean the same on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import mipin_ref as mr
from benchmarks.data import add_repeats
from benchmarks.tables import Sheet, Told
from benchmarks.timing import Process, in_child, interleaved, threads
from measured.cells import Value

EXPORTS = ("torchscript:13", "torchscript:17", "torchscript:20", "dynamo:18", "dynamo:20", "dynamo:23")
ENDS = ("last", "input")
COLUMNS = {
    "network": "{network}",
    "exporter, opset": "{export}",
    "layers": "{layers}",
    "load": "{load:.1f} s",
    "fit: last map / pixels": "{fit_last:.1f} s / {fit_input:.1f} s",
    "peak": "{peak_last:GB.2} / {peak_input:GB.2}",
    "forward": "{forward:seconds}",
    "attribute, forwards": "{attribute_last:.1f} / {attribute_input:.1f}",
    "logit apart": "{apart:.0e}",
}
OF_AN_END = tuple(f"{part}_{end}" for part in ("fit", "peak", "attribute") for end in ENDS)
"""Figures that each end has of its own; None where it was not asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", help="of those that the table has; all by default")
    parser.add_argument("--exports", nargs="+", choices=EXPORTS, default=EXPORTS, metavar="EXPORTER:OPSET")
    parser.add_argument("--ends", nargs="+", choices=ENDS, default=ENDS, help="where the way back ends")
    parser.add_argument("--thin", action="store_true", help="few channels and small images")
    parser.add_argument("--samples", type=int, default=8, help="images that are fitted on, and explained in one batch")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--memory", default="2GB")
    add_repeats(parser, 3)


def run(options: argparse.Namespace) -> Told:
    """A row an export, as it is done. Raises SystemExit that names those that failed, behind the rows of the others."""
    # torch is none of what a measured process needs.
    from benchmarks import seeded_text, seeded_torch
    from benchmarks.thin_torch import THIN

    known: dict[str, Any] = dict(THIN) if options.thin else seeded_torch.ARCHITECTURES | seeded_text.SEQUENCES
    names = options.networks or list(known)
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no such networks: {', '.join(unknown)}; there are {', '.join(known)}")
    print(f"{options.samples} random images, {options.dtype}, memory={options.memory}, one thread, processor seconds")
    sheet = Sheet(COLUMNS)
    asked = {name: getattr(options, name) for name in ("samples", "dtype", "memory", "repeats")}
    failed: list[str] = []
    for name in names:
        architecture = known[name]
        text = isinstance(architecture, seeded_text.Sequences)
        network = (seeded_text if text else seeded_torch).seeded(architecture)
        for export in options.exports:
            exporter, opset = export.split(":")
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.onnx")
                given = {"path": str(path), "scores": architecture.scores, **asked}
                try:
                    if text:
                        samples = architecture.samples(options.samples)
                        np.savez(Path(folder, "samples.npz"), **{key: one.numpy() for key, one in samples.items()})
                        given["given"] = str(Path(folder, "samples.npz"))
                        path.write_bytes(seeded_text.exported(network, architecture, exporter, int(opset)))
                    else:
                        path.write_bytes(seeded_torch.exported(network, architecture.side, exporter, int(opset)))
                    cells = row({end: in_child(measured, end=end, **given) for end in options.ends})
                except (SystemExit, RuntimeError):  # of what the process tells, and of an exporter
                    failed.append(f"{name} {export}")
                    cells = {**dict.fromkeys(("load", "forward", "apart", *OF_AN_END)), "layers": "failed"}
            sheet.add(network=name, export=f"{exporter} {opset}", **cells)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    return {"rows": sheet.rows}


def row(processes: dict[str, Process]) -> dict[str, Value]:
    """The figures behind a network and its export. attribute: in forward passes."""
    ends = [process.value for process in processes.values()]
    figures: dict[str, Value] = {"layers": ends[0]["layers"], "apart": max(one["apart"] for one in ends)}
    figures |= {name: min(one[name] for one in ends) for name in ("load", "forward")}
    figures |= dict.fromkeys(OF_AN_END)
    for end, process in processes.items():
        one = process.value
        figures[f"fit_{end}"], figures[f"peak_{end}"] = one["fit"], process.peak
        figures[f"attribute_{end}"] = one["attribute"] / one["forward"]
    return figures


def measured(
    path: str, scores: int, end: str, samples: int, dtype: Any, memory: str, repeats: int, given: str | None = None
) -> dict[str, Any]:
    """Load, fit and explain one file in this process.

    scores: the first entry of the output's first axis that is a score; end: "last" or "input"; given: a file of samples
    by the names of the inputs, the first of which is explained, in place of random images. load, fit, forward,
    attribute: seconds, of the latter two medians of `repeats`; apart: the largest deviation of the explained logit from
    onnxruntime's, as a share of the standard deviation of that one. Seconds are those of the processor.
    """
    with threads(1):
        began = time.process_time()
        feed = {} if given is None else dict(np.load(given))
        net = mr.load(path, input=next(iter(feed), None))
        loaded = time.process_time()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        # Exporters may leave a wrong size in an output's name, of which onnxruntime warns.
        settings.log_severity_level = 3
        runtime = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        if not feed:
            feed = {net.input: np.random.default_rng(0).standard_normal((samples, *net.input_shape), np.float32)}
        x = feed if len(feed) > 1 else feed[net.input]
        # An exporter may have dropped an input that nothing reads.
        feed = {value.name: feed[value.name] for value in runtime.get_inputs()}
        outputs = runtime.run(None, feed)[0]
        spread = outputs.std(axis=0)
        spread[:scores] = 0
        target = tuple(int(one) for one in np.unravel_index(int(spread.argmax()), spread.shape))
        began_fit = time.process_time()
        inverse = mr.fit(net, x, target, at="auto" if end == "last" else None, dtype=dtype, memory=memory)
        fitted = time.process_time()
        explained = inverse.attribute(x)
        if not (np.isfinite(explained.source).all() and np.isfinite(explained.attribution).all()):
            raise SystemExit(f"{path}: a signal is not finite")
        runs = interleaved(
            {
                "forward": lambda: processor_seconds(lambda: runtime.run(None, feed)),
                "attribute": lambda: processor_seconds(lambda: inverse.attribute(x)),
            },
            repeats,
            clock=float,
        )
    wanted = outputs[(slice(None), *target)]
    return {
        "layers": len(net.layers),
        "load": loaded - began,
        "fit": fitted - began_fit,
        **{name: one.median for name, one in runs.items()},
        "apart": float(np.abs(explained.output - wanted).max() / wanted.std()),
    }


def processor_seconds(call: Callable[[], Any]) -> float:
    """What a call takes of the processor, in all threads of this process."""
    began = time.process_time()
    call()
    return time.process_time() - began
