"""Digits for the embedded networks, and the arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import cpus
from training.files import MODELS
from training.keras import read_split, scaled

NETWORKS = ("mnist_mlp", "mnist_cnn")

Floats = NDArray[np.float32]


def add_mnist(parser: argparse.ArgumentParser, samples: int) -> None:
    parser.add_argument("--mnist", type=Path, help="Keras's mnist.npz; without it the 2,270 embedded digits")
    parser.add_argument("--samples", type=int, default=samples, help="calibration images (%(default)s)")


def add_networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))


def add_repeats(parser: argparse.ArgumentParser, repeats: int) -> None:
    parser.add_argument("--repeats", type=int, default=repeats, help="rounds; medians are printed (%(default)s)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=cpus(), help="of both sides (%(default)s)")


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")


def model_path(network: str) -> Path:
    return MODELS / network / "model.onnx"


def name_of(model: Path) -> str:
    """A network's name: that of its file, or of the folder where that tells nothing."""
    return model.parent.name if model.stem == "model" else model.stem


def digits_path(mnist: Path | str | None, network: str = NETWORKS[0]) -> Path:
    """The file that `digits` reads."""
    return MODELS / network / "calibration.npz" if mnist is None else Path(mnist)


def digits(mnist: Path | str | None, samples: int) -> Floats:
    """The first training images [samples, 1, 28, 28] in [0, 1]. Raises SystemExit where there are fewer."""
    try:
        x = _embedded("x") if mnist is None else read_split(Path(mnist), "train")[0]
    except ValueError as error:
        raise SystemExit(str(error)) from None
    x = x[:samples]
    if len(x) < samples:
        raise SystemExit(f"there are {len(x):,} digits, not {samples:,}: pass --mnist mnist.npz or fewer --samples")
    return scaled(x.reshape(-1, 1, 28, 28))


def unseen_digits() -> Floats:
    """The embedded test images [100, 1, 28, 28]."""
    return scaled(_embedded("x_test"))


def _embedded(name: str) -> NDArray[np.uint8]:
    """Read images of the calibration set beside a network."""
    with np.load(digits_path(None), allow_pickle=False) as arrays:
        images: NDArray[np.uint8] = arrays[name]
    return images
