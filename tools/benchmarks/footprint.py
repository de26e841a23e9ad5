"""Time and peak memory of `mipin fit`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.data import model_path
from benchmarks.timing import Process, measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mnist", type=Path, required=True, help="Keras's mnist.npz")
    parser.add_argument("--networks", nargs="+", default=["mnist_mlp", "mnist_cnn"])
    parser.add_argument("--target", default="all")
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")


def run(options: argparse.Namespace) -> None:
    """One `mipin fit` a process: wall seconds and the kernel's count of its peak resident memory."""
    print("| network | classes | samples | dtype | memory= | wall | peak resident |\n|---|---|---|---|---|---|---|")
    for network in options.networks:
        process = fit(network, options.mnist, options.samples, options.target, options.memory, options.dtype)
        print(
            f"| {network} | {options.target} | {options.samples:,} | {options.dtype} | {options.memory} "
            f"| {process.seconds:.0f} s | {process.peak / 1e9:.2f} GB |",
            flush=True,
        )


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
