"""MNIST and Fashion-MNIST in the form of Keras's mnist.npz: x_train, y_train, x_test and y_test."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE_SIDE = 28


def add_mnist(parser: argparse.ArgumentParser) -> None:
    """Add the option for MNIST alone."""
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST as Keras's mnist.npz")


def add_fashion(parser: argparse.ArgumentParser) -> None:
    """Add the option for Fashion-MNIST alone."""
    parser.add_argument("--fashion", type=Path, required=True, help="Fashion-MNIST as npz with the same keys")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options for both."""
    add_mnist(parser)
    add_fashion(parser)


def read_split(path: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images [N, 28, 28] and labels [N] of one split, "train" or "test".

    Raises ValueError where the file is missing or no such npz.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = (arrays[f"{key}_{split}"] for key in "xy")
    except FileNotFoundError:
        raise ValueError(f"no file {path}") from None
    except KeyError as error:
        raise ValueError(f"{path} lacks {str(error.args[0]).split()[0]}, as Keras's mnist.npz has it") from None
    except (OSError, EOFError, TypeError, AttributeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable npz of arrays ({error})") from None
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SOURCE_SIDE, SOURCE_SIDE):
        raise ValueError(f"{path}: x_{split} must be uint8 [N, 28, 28], got {images.dtype} {list(images.shape)}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: y_{split} must be integers [{len(images)}], got {labels.dtype} {list(labels.shape)}")
    return images, labels.astype(np.int64)


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bytes as float32 in 0..1, which is what the embedded networks take."""
    values: NDArray[np.float32] = images.astype(np.float32) / np.float32(255)
    return values
