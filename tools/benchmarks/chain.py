"""R² of every fitted tensor of an embedded network, from the logit down to the pixels."""

from __future__ import annotations

import argparse

import mipin_ref as mr
from benchmarks.data import NETWORKS, add_mnist, digits, model_path
from benchmarks.tables import Sheet, Told

COLUMNS = {"tensor": "{tensor}", "inverse": "{block}", "R²": "{r2:.2f}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 5_000)
    parser.add_argument("--network", choices=NETWORKS, default="mnist_cnn")
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--memory", default="2GB")


def run(options: argparse.Namespace) -> Told:
    """A row a fitted tensor."""
    x = digits(options.mnist, options.samples)
    inverse = mr.fit(mr.load(model_path(options.network)), x, options.target, memory=options.memory)
    sheet = Sheet(COLUMNS)
    for row in inverse.report:
        sheet.add(tensor=row.tensor, block=row.block, r2=row.r2)
    return {"rows": sheet.rows}
