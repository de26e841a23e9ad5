"""An LSTM over the rows of MNIST: how far the logit falls once the pixels that a method scores highest are black.

The network is trained here, with a seed, where the folder of networks does not have it yet.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.deletions import fallen
from paper.intervals import bootstrap, in_row
from training.files import write_json, write_whole
from training.keras import add_mnist, read_split, scaled

NAME = "rows"
HELP = "an LSTM over the rows of MNIST: how far the logit falls without the best pixels, a table by itself"
FILE, SEED = "rows.onnx", 0
DELETED = (10, 20, 40, 80)
INK = "random ink"
"""Pixels that are not black, in a random order."""
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "mip-in": ("mip-in", {}),
    "mip-in, ridge 1000": ("mip-in", {"ridge": 1000.0}),
    "mip-in, ridge held-out": ("mip-in", {"ridge": "held-out"}),
    "input-x-gradient": ("input-x-gradient", {}),
    "integrated-gradients": ("integrated-gradients", {}),
    "lrp-epsilon": ("lrp-epsilon", {}),
}
"""Row -> method and options."""

Images = NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--networks", type=Path, required=True, help="a folder; the network is trained if it lacks it")
    parser.add_argument("--samples", type=int, default=500, help="test images that are explained")
    parser.add_argument("--calibration", type=int, default=2000, help="training images that are fitted on")
    parser.add_argument("--json", type=Path, help="write the rows there too")


def network(folder: Path, x: Images, y: NDArray[np.int64]) -> mr.Network:
    """The network, trained on images and labels first where the folder has none."""
    path = folder / FILE
    if not path.exists():
        import torch

        from training.planted_networks import exported
        from training.rows_network import trained

        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, exported(trained(x, y, SEED), torch.from_numpy(x[:2]), "rows"))
    return mr.load(path)


def ink(x: Images) -> NDArray[np.float64]:
    """Scores of images [N, 28, 28] by which their ink comes first, in a random order."""
    return np.random.default_rng(SEED).random(x.shape) + (x > 0)


def scored(net: mr.Network, row: str, x: Images, y: NDArray[np.int64], calibration: Images) -> NDArray[Any]:
    """Scores of pixels by a row of WAYS: A ⊙ X [N, 28, 28], of classes y."""
    method, given = WAYS[row]
    fitted = {"calibration": calibration, **given} if method == "mip-in" else given
    return mr.attribute(net, x, [int(c) for c in y], method, **fitted).oriented.contribution


def drops(net: mr.Network, scores: NDArray[Any], x: Images, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the logits of targets [N] fall once so many pixels are black [N, len(DELETED)]."""
    order = np.argsort(-scores.reshape(len(x), -1), axis=1, kind="stable")

    def blackened(count: int) -> Images:
        made = x.reshape(len(x), -1).copy()
        np.put_along_axis(made, order[:, :count], np.float32(0), axis=1)
        return made.reshape(x.shape)

    return fallen(net, x, map(blackened, DELETED), targets)


def run(options: argparse.Namespace) -> None:
    images, labels = read_split(options.mnist, "train")
    net = network(options.networks, scaled(images), labels)
    calibration = scaled(images[: options.calibration])
    images, labels = read_split(options.mnist, "test")
    images, labels = images[: options.samples], labels[: options.samples]
    right = net.predict(scaled(images))[1].argmax(axis=1) == labels
    x, y = scaled(images[right]), labels[right]
    rows: list[dict[str, Any]] = []
    for row in (*WAYS, INK):
        scores = ink(x) if row == INK else scored(net, row, x, y, calibration)
        told: dict[str, Any] = {"method": row}
        for count, lower in zip(DELETED, drops(net, scores, x, y).T, strict=True):
            told |= in_row(f"drop_{count}", bootstrap(lower))
        rows.append(told)
        print(f"{row:24}", *(f"{told[f'drop_{count}']:.2f}" for count in DELETED), flush=True)
    rows.sort(key=lambda one: -one["drop_40"])
    if options.json is not None:
        write_json(options.json, {"rows": rows, "values": {"right": float(right.mean()), "images": len(x)}})
