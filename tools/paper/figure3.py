"""Figure 3: the global source signal and attribution, of a class, against the local ones, of a digit."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.digits import digits, some_of_each
from paper.page import Block, Figure, Table, heat, photo, two
from paper.results import Results
from paper.scenes import network
from training.keras import add_mnist

NAME = "figure3"
TITLE = "Figure 3: global and local source signals"
PAPER = (
    "Without the forward ReLU the source signal and the attribution are almost the same for all digits 0; with it they "
    "follow each digit, and local attributions specify the global ones."
)
HELP = "source signals and attributions with and without the forward ReLU, several digits of a class"
COMPARED = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--digit", type=int, default=0)
    parser.add_argument("--shown", type=int, default=6)
    parser.add_argument("--calibration", type=int, default=10_000, help="training images to fit on")


def likeness(values: NDArray[np.floating[Any]]) -> float:
    """Mean Pearson correlation between the samples [N, ...] of all pairs; of those that are not constant."""
    flat = values.reshape(len(values), -1)
    matrix = np.corrcoef(flat[flat.std(axis=1) > 0])
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def run(options: argparse.Namespace, results: Results) -> None:
    def make() -> dict[str, Any]:
        net = network("mnist_mlp")
        x, _ = digits(options.mnist, "train", options.calibration)
        x_test, y_test = digits(options.mnist, "test", 10_000)
        mine = x_test[some_of_each(y_test, [options.digit], max(COMPARED, options.shown))]
        columns = [[photo(one) for one in mine[: options.shown]]]
        alike = {"X": likeness(mine)}
        for name, local in (("global", False), ("local", True)):
            res = mr.fit(net, x, options.digit, local=local, dtype="float32").attribute(mine)
            for letter, values in (("S", res.source), ("A", res.oriented.attribution)):
                columns.append([heat(one[0]) for one in values[: options.shown]])
                alike[f"{letter}, {name}"] = likeness(values)
        return {"columns": columns, "likeness": alike}

    given = {"digit": options.digit, "shown": options.shown, "calibration": options.calibration}
    results.part(NAME, "mnist_mlp", given, make)


def expected() -> list[str]:
    return ["mnist_mlp"]


def blocks(results: Results) -> list[Block]:
    part = results.read(NAME, "mnist_mlp")
    if part is None:
        return []
    head = ["X", "S, global", "A, global", "S, local", "A, local"]
    digit = part.options["digit"]
    rows = []
    for number, row in enumerate(zip(*part.result["columns"], strict=True), 1):
        cells = [(picture, f"{title} of digit {number}", "") for title, picture in zip(head, row, strict=True)]
        rows.append((f"digit {number}", cells))
    alike = part.result["likeness"]
    return [
        Figure(head, rows, f"mnist_mlp, class {digit}, fitted on {part.options['calibration']:,} images"),
        Table(
            list(alike),
            [[two(value) for value in alike.values()]],
            f"Mean correlation between two of {COMPARED} digits {digit}: near 1 where all look the same",
        ),
    ]
