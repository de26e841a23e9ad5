"""Peak memory of `mipin fit` against the number of samples, at the same memory=."""

from __future__ import annotations

import argparse

from benchmarks.data import add_networks, digits_path
from benchmarks.footprint import fit
from benchmarks.tables import Sheet, Told

COLUMNS = {
    "network": "{network}",
    "samples": "{samples:comma}",
    "wall": "{wall:seconds}",
    "peak resident": "{peak:size}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mnist", help="Keras's mnist.npz; without it the 2,270 embedded digits")
    add_networks(parser)
    parser.add_argument("--samples", nargs="+", type=int, default=[10_000, 50_000], help="the first is the rival")
    parser.add_argument("--target", default="3")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")


def run(options: argparse.Namespace) -> Told:
    """A row a network and number of samples. ratio: of the peak to that of the first number."""
    print(f"`mipin fit`, class {options.target}, memory={options.memory}, {options.dtype}; one process each\n")
    against = f"peak ÷ peak at {options.samples[0]:,}"
    sheet = Sheet({**COLUMNS, against: "{ratio:times}"})
    for network in options.networks:
        path, first = digits_path(options.mnist, network), None
        for samples in options.samples:
            process = fit(network, path, samples, options.target, options.memory, options.dtype)
            first = first or process.peak
            sheet.add(
                network=network, samples=samples, wall=process.seconds, peak=process.peak, ratio=process.peak / first
            )
    return {"rows": sheet.rows, "values": {f"{row['network']}_{row['samples']}": row["peak"] for row in sheet.rows}}
