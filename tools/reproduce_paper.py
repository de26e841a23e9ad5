"""The paper's experiments on this package: `table1` is the average percentage change of the three networks.

python tools/reproduce_paper.py table1 --mnist mnist.npz --fashion fashion.npz --out table1.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from compose import compose_fashion
from numpy.typing import NDArray

import mipin_ref as mr

ROOT = Path(__file__).resolve().parent.parent / "models_onnx"
PAPER = {"mnist_mlp": (0.1010, 0.026), "mnist_cnn": (0.165, 0.023), "rgb32_cnn": (0.211, 0.106)}
"""Table 1: APC and positive APC; the paper's third network saw CIFAR-10, ours sees composed images of that shape."""


FitOn = Literal["all", "target_class"]
CHOICES: list[tuple[FitOn, bool]] = [("all", False), ("all", True), ("target_class", False), ("target_class", True)]
"""fit_on and conv_bias of every row."""


@dataclass(frozen=True)
class Row:
    """One cell of the study; evaluated_on: 10,000 test images, or as many of the calibration images; seconds: the fit
    of all classes; r2_at_input: of the last inverse, mean over classes.
    """

    network: str
    fit_on: str
    conv_bias: bool
    evaluated_on: str
    apc: float
    positive_apc: float
    median: float
    left_out: int
    samples: int
    dtype: str
    seconds: float
    r2_at_input: float


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


def data_of(network: str, options: argparse.Namespace) -> tuple[NDArray[Any], ...]:
    """x, y, x_test, y_test of a network, images as bytes."""
    if network == "rgb32_cnn":
        train, test = compose_fashion(options.fashion, options.seed)
        return train.x, train.y, test.x, test.y
    with np.load(options.mnist, allow_pickle=False) as stored:
        x, y, x_test, y_test = (stored[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    return x[:, None], y, x_test[:, None], y_test


def table1(options: argparse.Namespace) -> Iterator[Row]:
    """Every network with every choice of fit_on and conv_bias (the MLP has no convolution to bias)."""
    for network in options.networks:
        net = mr.load(ROOT / network / "model.onnx")
        images, labels, x_test, y_test = data_of(network, options)
        x, y = Scaled(images[: options.samples]), labels[: options.samples]
        for fit_on, conv_bias in CHOICES:
            if network == "mnist_mlp" and conv_bias:
                continue
            began = time.perf_counter()
            invs = mr.fit(
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
            r2 = float(np.mean([inv.report.tensors[-1].r2 for inv in invs.values()]))
            seen = slice(0, len(x_test))
            for name, images_of, labels_of in (("test", x_test, y_test), ("calibration", images[seen], labels[seen])):
                results = {c: inv.attribute(Scaled(images_of[labels_of == c])) for c, inv in invs.items()}
                found = mr.metrics.apc(net, results)
                yield Row(
                    network,
                    fit_on,
                    conv_bias,
                    name,
                    found.apc,
                    found.positive,
                    found.median,
                    found.left_out,
                    len(x),
                    options.dtype,
                    seconds,
                    r2,
                )


def as_markdown(rows: list[Row]) -> str:
    lines = [
        "| network | fit_on | conv_bias | evaluated on | APC | positive APC | median | paper | samples | fit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        apc, positive = PAPER[row.network]
        lines.append(
            f"| {row.network} | {row.fit_on} | {row.conv_bias} | {row.evaluated_on} | {row.apc:.1%} "
            f"| {row.positive_apc:.1%} | {row.median:.1%} | {apc:.1%} / {positive:.1%} | {row.samples:,} "
            f"| {row.seconds:.0f} s |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="the paper's experiments")
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table1", help="APC and positive APC of the three networks")
    table.add_argument("--mnist", type=Path, required=True, help="Keras's mnist.npz")
    table.add_argument("--fashion", type=Path, required=True, help="Fashion-MNIST under the same keys")
    table.add_argument("--networks", nargs="+", choices=sorted(PAPER), default=list(PAPER))
    table.add_argument("--samples", type=int, default=50_000, help="calibration images, the paper's 50,000 by default")
    table.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    table.add_argument("--memory", default="2GB")
    table.add_argument("--seed", type=int, default=0, help="of the composed images, as in training")
    table.add_argument("--out", type=Path, required=True, help="JSON, rewritten after every row")
    options = parser.parse_args()
    rows: list[Row] = []
    for row in table1(options):
        rows.append(row)
        temporary = options.out.with_suffix(".tmp")
        temporary.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
        os.replace(temporary, options.out)
        print(as_markdown([row]).splitlines()[-1], flush=True)
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
