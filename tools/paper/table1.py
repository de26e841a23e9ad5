"""Table 1: average percentage change of the three networks, with the study of fit_on and conv_bias."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from compose import compose_fashion
from numpy.typing import NDArray

import mipin_ref as mr
from paper.page import Block, Table, percent
from paper.published import APC
from paper.results import Results
from paper.scenes import MODELS, add_data

NAME = "table1"
TITLE = "Table 1: average percentage change"
PAPER = (
    "APC and positive APC: 10.1 % / 2.6 % (MLP on MNIST), 16.5 % / 2.3 % (CNN on MNIST), 21.1 % / 10.6 % (CNN on "
    "CIFAR-10)."
)
HELP = "APC and positive APC of the three networks"

FitOn = Literal["all", "target_class"]
CHOICES: list[tuple[FitOn, bool]] = [("all", False), ("all", True), ("target_class", False), ("target_class", True)]
"""fit_on and conv_bias of every row."""


class Scaled:
    """Bytes [N, ...] as floats in [0, 1], batch by batch."""

    def __init__(self, stored: NDArray[np.uint8]) -> None:
        self._stored = stored
        self.shape, self.dtype = stored.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._stored[index].astype(np.float32) / np.float32(255)
        return values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=sorted(APC), default=list(APC))
    parser.add_argument("--samples", type=int, default=50_000, help="calibration images, the paper's 50,000 by default")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--seed", type=int, default=0, help="of the composed images, as in training")


def data_of(network: str, options: argparse.Namespace) -> tuple[NDArray[Any], ...]:
    """x, y, x_test, y_test of a network, images as bytes."""
    if network == "rgb32_cnn":
        train, test = compose_fashion(options.fashion, options.seed)
        return train.x, train.y, test.x, test.y
    with np.load(options.mnist, allow_pickle=False) as stored:
        x, y, x_test, y_test = (stored[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    return x[:, None], y, x_test[:, None], y_test


def choices_of(network: str) -> list[tuple[FitOn, bool]]:
    """The MLP has no convolution to bias."""
    return [choice for choice in CHOICES if not (network == "mnist_mlp" and choice[1])]


def part_of(network: str, fit_on: str, conv_bias: bool) -> str:
    return f"{network}--{fit_on}{'--conv_bias' if conv_bias else ''}"


def run(options: argparse.Namespace, results: Results) -> None:
    for network in options.networks:
        net = mr.load(MODELS / network / "model.onnx")
        data: list[tuple[NDArray[Any], ...]] = []

        def images(network: str = network, data: list[tuple[NDArray[Any], ...]] = data) -> tuple[NDArray[Any], ...]:
            if not data:
                data.append(data_of(network, options))
            return data[0]

        for fit_on, conv_bias in choices_of(network):

            def make(
                net: mr.Network = net,
                images: Callable[[], tuple[NDArray[Any], ...]] = images,
                fit_on: FitOn = fit_on,
                conv_bias: bool = conv_bias,
            ) -> dict[str, Any]:
                return measured(net, images(), fit_on, conv_bias, options)

            given = {key: getattr(options, key) for key in ("samples", "dtype", "seed")}
            results.part(NAME, part_of(network, fit_on, conv_bias), {**given, "sha256": net.sha256}, make)


def measured(
    net: mr.Network, data: tuple[NDArray[Any], ...], fit_on: FitOn, conv_bias: bool, options: argparse.Namespace
) -> dict[str, Any]:
    """The figures on the test images and on as many of the calibration images; seconds: the fit of all classes; r2: of
    the last inverse, mean over classes.
    """
    images, labels, x_test, y_test = data
    x, y = Scaled(images[: options.samples]), labels[: options.samples]
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
    seen = slice(0, len(x_test))
    told: dict[str, Any] = {"seconds": seconds, "r2_at_input": r2}
    for name, of, labels_of in (("test", x_test, y_test), ("calibration", images[seen], labels[seen])):
        found = mr.metrics.apc(net, {c: inv.attribute(Scaled(of[labels_of == c])) for c, inv in inverses.items()})
        told[name] = {
            "apc": found.apc,
            "positive_apc": found.positive,
            "median": found.median,
            "left_out": found.left_out,
        }
    return told


def expected() -> list[str]:
    return [part_of(network, *choice) for network in APC for choice in choices_of(network)]


def blocks(results: Results) -> list[Block]:
    rows = []
    for network, (apc, positive) in APC.items():
        for fit_on, conv_bias in choices_of(network):
            part = results.read(NAME, part_of(network, fit_on, conv_bias))
            for name in ("test", "calibration") if part else ():
                one = part.result[name]  # type: ignore[union-attr]
                figures = [percent(one[key]) for key in ("apc", "positive_apc", "median")]
                samples = f"{part.options['samples']:,}"  # type: ignore[union-attr]
                rows.append(
                    [network, fit_on, str(conv_bias), name, *figures, f"{percent(apc)} / {percent(positive)}", samples]
                )
    head = ["network", "fit_on", "conv_bias", "evaluated on", "APC", "positive APC", "median", "paper", "fitted on"]
    return [Table(head, rows)] if rows else []
