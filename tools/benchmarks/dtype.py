"""dtype="float32" against float64: time of a fit, and how far source signal and attribution of test digits move."""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

import mipin_ref as mr
from benchmarks.data import (
    add_backend,
    add_mnist,
    add_networks,
    add_repeats,
    add_threads,
    digits,
    model_path,
    unseen_digits,
)
from benchmarks.dense import distance
from benchmarks.tables import Sheet, Told
from benchmarks.timing import interleaved, threads
from measured.cells import Value

DTYPES = ("float64", "float32")
COLUMNS = {
    "network": "{network}",
    "dtype": "{dtype}",
    "fit": "{time:seconds}",
    "float64 ÷ this": "{ratio:times}",
    "ΔS": "{source:.1e}",
    "ΔA": "{attribution:.1e}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 10_000)
    add_networks(parser)
    add_threads(parser)
    add_repeats(parser, 3)
    add_backend(parser)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--memory", default="2GB")


def run(options: argparse.Namespace) -> Told:
    x, tested = digits(options.mnist, options.samples), unseen_digits()
    print(
        f"class {options.target}, {options.samples:,} images, memory={options.memory}, {options.threads} threads, "
        f"backend {options.backend}, medians of {options.repeats}; ΔS, ΔA: largest difference from float64 over "
        f"the largest value, on {len(tested)} test digits\n"
    )
    sheet = Sheet(COLUMNS)
    for network in options.networks:
        net = mr.load(model_path(network))

        def fit(dtype: str, net: mr.Network = net) -> mr.Inverse:
            target: int = options.target
            return mr.fit(net, x, target, dtype=dtype, backend=options.backend, memory=options.memory)

        with threads(options.threads):
            runs = interleaved({dtype: partial(fit, dtype) for dtype in DTYPES}, options.repeats)
        wide, narrow = (runs[dtype].value.attribute(tested) for dtype in DTYPES)
        for dtype, res in zip(DTYPES, (wide, narrow), strict=True):
            sheet.add(
                network=network,
                dtype=dtype,
                time=runs[dtype].median,
                ratio=runs["float64"].median / runs[dtype].median,
                source=distance(res.source.astype(np.float64), wide.source),
                attribution=distance(res.attribution.astype(np.float64), wide.attribution),
            )
    narrow_rows = [row for row in sheet.rows if row["dtype"] == "float32"]
    values: dict[str, Value] = {f"{row['network']}_ratio": row["ratio"] for row in narrow_rows}
    values |= {key: max(float(row[key] or 0) for row in narrow_rows) for key in ("source", "attribution")}
    return {"rows": sheet.rows, "values": values}
