"""Figure 4: inputs and their source signals, with the logits of both."""

from __future__ import annotations

import argparse
from typing import Any

import mipin_ref as mr
from paper.digits import Images, digits, garments, some_of_each
from paper.page import Block, Figure, photo
from paper.results import Results
from paper.scenes import network
from training.keras import add_data

NAME = "figure4"
TITLE = "Figure 4: source signals with logits"
PAPER = "The logits of the source signals are very similar to those of the inputs, on all three networks."
HELP = "inputs and source signals of the three networks, with logits"
NETWORKS = ("mnist_mlp", "mnist_cnn", "rgb32_cnn")
CLASSES = [0, 1, 2, 3, 4, 5]
"""The fit of a class is what costs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--calibration", type=int, default=3000, help="training images to fit on")


def images(name: str, options: argparse.Namespace, split: str, samples: int) -> Images:
    if name == "rgb32_cnn":
        return garments(options.fashion, split, samples)
    return digits(options.mnist, split, samples)


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:

        def make(name: str = name) -> dict[str, Any]:
            net = network(name)
            x, y = images(name, options, "train", options.calibration)
            x_test, y_test = images(name, options, "test", 200)
            mine = x_test[some_of_each(y_test, CLASSES, 1)]
            inverses = mr.fit(net, x, CLASSES, labels=y, fit_on="target_class", dtype="float32", memory="1GB")
            shown = []
            for number, c in enumerate(CLASSES):
                res = inverses[c].attribute(mine[number : number + 1])
                again = inverses[c].attribute(res.source.astype("float32")).output
                shown.append(
                    {
                        "class": c,
                        "x": photo(mine[number]),
                        "s": photo(res.source[0]),
                        "logit_x": float(res.output[0]),
                        "logit_s": float(again[0]),
                    }
                )
            return {"shown": shown}

        results.part(NAME, name, {"calibration": options.calibration, "classes": CLASSES}, make)


def expected() -> list[str]:
    return list(NETWORKS)


def blocks(results: Results) -> list[Block]:
    rows = []
    for name in NETWORKS:
        part = results.read(NAME, name)
        if part:
            shown = part.result["shown"]
            for letter, key in (("X", "x"), ("S", "s")):
                cells = [
                    (one[key], f"{letter} of class {one['class']}, {name}", f"{one[f'logit_{key}']:.1f}")
                    for one in shown
                ]
                rows.append((f"{name}, {letter}", cells))
    if not rows:
        return []
    caption = "Logits of the class below each; fitted on the images of the class alone; values outside 0..1 cut off"
    return [Figure([f"class {c}" for c in CLASSES], rows, caption)]
