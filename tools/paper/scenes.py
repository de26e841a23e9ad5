"""Boxed clutter as the experiments take it: the two networks, their calibration, validation and test scenes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.results import Results
from training.clutter import Sources, compose, load_sources
from training.files import MODELS
from training.keras import add_data, scaled

NETWORKS = ("clutter_vgg", "clutter_resnet")
CALIBRATION_SEED, VALIDATION_SEED, TEST_SEED, PAIRS_SEED, MOSAICS_SEED = 11, 12, 101, 103, 105
"""Scenes that no other tool draws: training, its validation and its test take others."""


@dataclass(frozen=True, eq=False)
class Boxed:
    """x [N, 3, 64, 64] float32 in 0..1, y [N], boxes [N, 4]; of pairs y [N, 2], boxes [N, 2, 4]."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    boxes: NDArray[np.int64]


@cache
def _sources(mnist: Path, fashion: Path, split: str) -> Sources:
    return load_sources(mnist, fashion, split)


def scenes(options: argparse.Namespace, split: str, samples: int, seed: int, *, pairs: bool = False) -> Boxed:
    """Scenes of one split, from the files --mnist and --fashion."""
    return _composed(options.mnist, options.fashion, split, samples, seed, pairs)


@lru_cache(maxsize=4)
def _composed(mnist: Path, fashion: Path, split: str, samples: int, seed: int, pairs: bool) -> Boxed:
    """Scenes that several parts of an experiment see; composing them takes longer than to explain them."""
    composed = compose(_sources(mnist, fashion, split), split, samples, seed, pairs=pairs)
    return Boxed(scaled(composed.x), composed.y, composed.boxes)


def fit_options(results: Results) -> Any:
    """The options of every fit on scenes: each finished pass is kept among the results, and like fits are made once."""
    return {"checkpoint": results.folder / "fits"}


def network(name: str) -> mr.Network:
    """Load an embedded network."""
    return mr.load(MODELS / name / "model.onnx")


def places(net: mr.Network) -> list[str]:
    """Activations and pools of more than one location, from the top down: where maps may be read above the pixels."""
    kinds = {layer.output: layer.kind for layer in net.layers}
    maps = [tensor for tensor, shape in net.shapes.items() if len(shape) == 3 and min(shape[1:]) > 1]
    return [tensor for tensor in reversed(maps) if kinds.get(tensor) in ("Activation", "MaxPool")]


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """Add the options of every experiment on scenes: the files they are made of, and which of the two networks."""
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
