"""Measurements of the engine: one command a question. Each prints what it ran on, then its table.

python tools/bench.py footprint --mnist mnist.npz     time and peak memory of `mipin fit` on 50,000 digits
python tools/bench.py --help                          the other commands

A command is a module of tools/benchmarks with `add_arguments(parser)` and `run(options)`, which gives its figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from training.files import write_json

COMMANDS = {
    "footprint": "time and peak memory of a fit on the command line",
    "gram": "Grams of convolutions by correlation against im2col and syrk",
    "forms": "the cost model of convolutional normal equations against what is faster",
    "paper": "conv inverses against the paper's recipe: torch, Adam, 20 epochs",
    "dense": "dense inverses against scikit-learn's Ridge",
    "vgg": "a VGG19 classifier on feature maps against its bare matrix products",
    "rate": "share of the GEMM rate that accumulating reaches; several targets in one pass",
    "classes": "all classes that share an inverse from some tensor down against one class alone",
    "common": "from which tensor down two classes can share an inverse, tensor by tensor, and what finding it takes",
    "dtype": "float32 against float64: time, source signal, attribution",
    "chain": "R² of every tensor of an embedded network",
    "memory": "peak memory against the number of samples",
    "fit": "where a full-depth fit spends its time, in forwards of onnxruntime, beside counted products",
    "attribute": "applying an inverse against onnxruntime's forward and torch's backward",
    "recording": "what onnxruntime's optimisations of the forward pass change of masks, S and A",
    "explainer": "an exported explainer against the forward pass of its network, both in onnxruntime",
    "thousand": "all classes of a classifier at its last map in one explainer, and its page",
    "methods": "other attribution methods against torch's forward and backward",
    "commands": "`mipin explain` and `mipin compare` on photographs, beside captum's Grad-CAM in a script",
    "demo": "`mipin demo`, a whole process",
    "growth": "time and memory against samples, channels and depth: slopes and a chart",
    "zoo": "nine classic networks, from a logit to the pixels: time, memory and R²",
    "architectures": "networks of torchvision, timm and transformers, as both exporters write them, read and explained",
    "threads": "fits under every number of BLAS and onnxruntime threads",
    "dask-scaling": "a fit on a Dask cluster: two workers of one thread against one",
}
"""Command -> what it measures; its module in benchmarks/ has the same name, with underscores for hyphens."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="bench.py", description="measurements of the engine")
    commands = parser.add_subparsers(dest="command", required=True)
    # Only the chosen module is imported: torch and scikit-learn are needed by some commands alone.
    modules = {}
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if given[:1] == [name]:
            modules[name] = import_module(f"benchmarks.{name.replace('-', '_')}")
            modules[name].add_arguments(command)
            command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(given)
    # Its libraries make this process grow, so it is not imported for --help.
    print(import_module("benchmarks.environment").environment(), end="\n\n", flush=True)
    told = modules[options.command].run(options)
    if options.json is not None:
        write_json(options.json, told)


if __name__ == "__main__":
    main()
