"""Figure 5: all methods on digits that an MLP, without convolution or pooling, has seen."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.digits import digits, some_of_each
from paper.page import Block, Figure, Table, heat, photo, two
from paper.published import GRAD_CAM
from paper.published import METHODS as ALL
from paper.results import Results, or_failed
from paper.scenes import network
from training.keras import add_mnist

NAME = "figure5"
TITLE = "Figure 5: all methods on the MLP's digits"
PAPER = (
    "MIP-IN is sharp: pixels on the digit count for the class, those around it against it, the background is near "
    "zero. The maps of the other methods are noisy and pay attention to the background."
)
HELP = "maps of all methods on mnist_mlp"
METHODS = tuple(name for name in ALL if name != GRAD_CAM)
"""Grad-CAM weighs feature maps, which an MLP has none of."""
KIND = "attribution"
CLASSES = [0, 2, 3, 5]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--calibration", type=int, default=10_000, help="training images to fit on")


def shares(maps: Any, x: Any) -> dict[str, float]:
    """Share out the magnitude of maps [N, H, W]: on the strokes, within two pixels of them, and beyond."""
    on = x[:, 0] > 0
    near = np.zeros_like(on)
    padded = np.pad(on, ((0, 0), (2, 2), (2, 2)))
    for i in range(5):
        for j in range(5):
            near |= padded[:, i : i + on.shape[1], j : j + on.shape[2]]
    size = np.abs(maps)
    total = float(size.sum()) or 1.0
    return {
        "on": float(size[on].sum() / total),
        "around": float(size[near & ~on].sum() / total),
        "background": float(size[~near].sum() / total),
    }


def run(options: argparse.Namespace, results: Results) -> None:
    net = network("mnist_mlp")
    x, y = digits(options.mnist, "train", options.calibration)
    x_test, y_test = digits(options.mnist, "test", 1000)
    rows = some_of_each(y_test, CLASSES, 1)
    mine, labels = x_test[rows], y_test[rows]
    # The class's own digits, whose inverses look like the paper's figure.
    panel = mr.Panel(net, x, fit_options={"labels": y, "fit_on": "target_class"}, dtype="float32", memory="1GB")
    for name in options.methods:

        def make(name: str = name) -> dict[str, Any]:
            panel.prepare(CLASSES if name == METHODS[0] else ())
            maps = mr.saliency(panel.explain(name, mine, labels), kind=KIND, positive=False)
            return {"pictures": [heat(one) for one in maps], "shares": shares(maps, mine)}

        results.part(
            NAME, name, {"calibration": options.calibration, "classes": CLASSES, "kind": KIND}, or_failed(make)
        )
    results.part(NAME, "input", {"classes": CLASSES}, lambda: {"pictures": [photo(one) for one in mine]})


def expected() -> list[str]:
    return [*METHODS, "input"]


def blocks(results: Results) -> list[Block]:
    names = ["input", *METHODS]
    parts = results.parts(NAME, names)
    if not parts:
        return []
    drawn = {name: part.result for name, part in parts.items() if "pictures" in part.result}
    figure = Figure(
        [str(c) for c in CLASSES],
        [
            (name, [(picture, f"{name}, digit {c}", "") for picture, c in zip(one["pictures"], CLASSES, strict=True)])
            for name, one in drawn.items()
        ],
        "mnist_mlp, A, MIP-IN and patterns fitted; red counts for the class, blue against it, white is zero",
    )
    told: list[Block] = [figure]
    rows = [
        [name, *(two(one["shares"][key]) for key in ("on", "around", "background"))]
        for name, one in drawn.items()
        if "shares" in one
    ]
    if rows:
        caption = "Share of a map's magnitude on the strokes, within two pixels of them, and in the background beyond"
        told.append(Table(["method", "strokes", "around", "background"], rows, caption))
    told += [f"{name} fails here: {part.result['failed']}" for name, part in parts.items() if "failed" in part.result]
    return told
