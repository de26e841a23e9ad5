"""Table 1: average percentage change of the three networks, with the study of fit_on and conv_bias."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.changes import changes, summary
from paper.page import Block, Table, fact, interval, percent
from paper.published import APC
from paper.results import Results, part_of
from paper.scenes import network
from paper.variants import CONV_BIAS
from training.keras import add_data, scaled
from training.sets import Dataset, load_mnist, load_rgb32

NAME = "table1"
TITLE = "Table 1: average percentage change"
PAPER = (
    "APC and positive APC: 10.1 % / 2.6 % (MLP on MNIST), 16.5 % / 2.3 % (CNN on MNIST), 21.1 % / 10.6 % (CNN on "
    "CIFAR-10)."
)
HELP = "APC and positive APC of the three networks"

SPLITS = ("test", "calibration")
MEANS = ("apc", "apc_low", "apc_high", "positive", "positive_low", "positive_high")
FitOn = Literal["all", "target_class"]
CHOICES: dict[str, tuple[FitOn, bool]] = {
    "all": ("all", False),
    f"all--{CONV_BIAS}": ("all", True),
    "target_class": ("target_class", False),
    f"target_class--{CONV_BIAS}": ("target_class", True),
}
"""fit_on and conv_bias of every row, by the name of a network's part."""


class Scaled:
    """Bytes [N, ...] as floats in [0, 1], batch by batch."""

    def __init__(self, stored: NDArray[np.uint8]) -> None:
        self._stored = stored
        self.shape, self.dtype = stored.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        return scaled(self._stored[index])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=sorted(APC), default=list(APC))
    parser.add_argument("--choices", nargs="+", choices=list(CHOICES), default=list(CHOICES), help="of fit_on and bias")
    parser.add_argument("--samples", type=int, default=50_000, help="calibration images, the paper's 50,000 by default")
    parser.add_argument(
        "--evaluated", type=int, default=10_000, help="images of either split that changes are means of"
    )
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--seed", type=int, default=0, help="of the composed images, as in training")


def data_of(name: str, options: argparse.Namespace) -> Dataset:
    """The images that a network was trained on and is tested on, as bytes."""
    return load_rgb32(options.fashion, options.seed) if name == "rgb32_cnn" else load_mnist(options.mnist)


def choices_of(name: str, titles: Iterable[str] = CHOICES) -> dict[str, tuple[FitOn, bool]]:
    """The choices by the name of their part; the MLP has no convolution to bias."""
    choices = {part_of(name, title): CHOICES[title] for title in titles}
    return {part: choice for part, choice in choices.items() if not (name == "mnist_mlp" and choice[1])}


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        net, images = network(name), cache(partial(data_of, name, options))
        given = {
            **{key: getattr(options, key) for key in ("samples", "evaluated", "dtype", "seed")},
            "sha256": net.sha256,
        }
        for part, (fit_on, conv_bias) in choices_of(name, options.choices).items():

            def make(
                net: mr.Network = net,
                images: Callable[[], Dataset] = images,
                fit_on: FitOn = fit_on,
                conv_bias: bool = conv_bias,
            ) -> dict[str, Any]:
                return measured(net, images(), fit_on, conv_bias, options)

            results.part(NAME, part, given, make)


def measured(
    net: mr.Network, data: Dataset, fit_on: FitOn, conv_bias: bool, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures on test images and on as many of the calibration images; seconds: the fit of all classes; r2: of the
    last inverse, mean over classes.
    """
    x, y = Scaled(data.x_train[: options.samples]), data.y_train[: options.samples]
    began = time.perf_counter()
    inverses = mr.fit(
        net,
        x,
        list(range(net.classes)),
        labels=y,
        fit_on=fit_on,
        conv_bias=conv_bias,
        dtype=options.dtype,
        memory=options.memory,
        progress=True,
    )
    seconds = time.perf_counter() - began
    r2 = float(np.mean([inv.report.tensors[-1].r2 for inv in inverses.values()]))
    told: dict[str, Any] = {"seconds": seconds, "r2_at_input": r2}
    some = slice(0, options.evaluated)
    for split, of, labels in (("test", Scaled(data.x_test), data.y_test), ("calibration", x, y)):
        told[split] = summary(changes(net, inverses, of[some], labels[some]), labels[some])
    return told


def expected() -> list[str]:
    return [part for network in APC for part in choices_of(network)]


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network, choice and split. apc, positive, each with its ends, and median: ours; paper_apc,
    paper_positive: the paper's; counted: how many samples ours are means of.
    """
    told = []
    for name, (apc, positive) in APC.items():
        choices = choices_of(name)
        for part_name, part in results.parts(NAME, choices).items():
            fit_on, conv_bias = choices[part_name]
            of = {"network": name, "fit_on": fit_on, CONV_BIAS: conv_bias}
            given = {"samples": part.options["samples"], "r2": part.result["r2_at_input"]}
            for split in SPLITS:
                one = part.result[split]
                figures = {key: one[key] for key in (*MEANS, "median", "left_out", "accuracy")}
                figures["counted"] = sum(each["samples"] for each in one["classes"].values())
                told.append({**of, "split": split, **figures, "paper_apc": apc, "paper_positive": positive, **given})
    return told


def values(results: Results) -> dict[str, float]:
    """APC, positive APC and their ends by network, choice and split, and how many were fitted on, for sentences."""
    told: dict[str, float] = {}
    for row in rows(results):
        bias = [CONV_BIAS] if row[CONV_BIAS] else []
        about = (row["network"], row["fit_on"], *bias, row["split"])
        told |= {fact(*about, key): row[key] for key in MEANS}
        told[fact(row["network"], "samples")] = row["samples"]
    return told


def blocks(results: Results) -> list[Block]:
    lines = [
        [
            *(str(row[key]) for key in ("network", "fit_on", CONV_BIAS, "split")),
            *(interval(row, key, percent, " to ") for key in ("apc", "positive")),
            percent(row["median"]),
            f"{percent(row['paper_apc'])} / {percent(row['paper_positive'])}",
            f"{row['samples']:,}",
        ]
        for row in rows(results)
    ]
    head = ["network", "fit_on", CONV_BIAS, "evaluated on", "APC", "positive APC", "median", "paper", "fitted on"]
    return [Table(head, lines, "intervals of 95 % by bootstrap over images")] if lines else []
