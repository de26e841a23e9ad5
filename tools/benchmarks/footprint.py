"""Time and peak memory of `mipin fit`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.data import model_path
from benchmarks.tables import Sheet, Told
from benchmarks.timing import Process, measured

COLUMNS = {
    "network": "{network}",
    "classes": "{classes}",
    "samples": "{samples:comma}",
    "dtype": "{dtype}",
    "memory=": "{memory}",
    "wall": "{wall:seconds}",
    "peak resident": "{peak:size}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mnist", type=Path, required=True, help="Keras's mnist.npz")
    parser.add_argument("--networks", nargs="+", default=["mnist_mlp", "mnist_cnn"])
    parser.add_argument("--target", default="all")
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")


def run(options: argparse.Namespace) -> Told:
    """One `mipin fit` a process: wall seconds and the kernel's count of its peak resident memory."""
    sheet = Sheet(COLUMNS)
    asked = {"classes": options.target, **{name: getattr(options, name) for name in ("samples", "dtype", "memory")}}
    for network in options.networks:
        process = fit(network, options.mnist, options.samples, options.target, options.memory, options.dtype)
        sheet.add(network=network, **asked, wall=process.seconds, peak=process.peak)
    return {"rows": sheet.rows}


def fit(network: str, data: Path, samples: int, target: str, memory: str, dtype: str) -> Process:
    """`mipin fit` of an embedded network, interpreter and files included."""
    with tempfile.TemporaryDirectory() as folder:
        return measured(
            [
                *(sys.executable, "-m", "mipin_ref", "fit", str(model_path(network)), str(data)),
                *("--target", target, "-o", f"{folder}/{{target}}.mipin"),
                *("--limit", str(samples), "--memory", memory, "--dtype", dtype),
            ]
        )
