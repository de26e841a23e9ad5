"""Golden cases: two of the embedded networks on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from golden.recipe import MODELS, CaseRecipe, case

Array = npt.NDArray[Any]


def _digits(name: str, count: int) -> tuple[Array, Array]:
    """The first digits of the embedded calibration sample, classes in turn: x in [0, 1], and y."""
    with np.load(MODELS / name / "calibration.npz", allow_pickle=False) as data:
        x, y = data["x"], data["y"]
    chosen = [np.flatnonzero(y == i % 10)[i // 10] for i in range(count)]
    return (x[chosen] / 255).astype(np.float32), y[chosen].astype(np.int64)


@case
def mnist_mlp() -> CaseRecipe:
    """784-512-512-10 on a dozen real digits."""
    x, labels = _digits("mnist_mlp", 12)
    return CaseRecipe(None, x, 3, labels)


@case
def mnist_cnn() -> CaseRecipe:
    """The paper's CNN on a few real digits."""
    x, labels = _digits("mnist_cnn", 4)
    return CaseRecipe(None, x, 3, labels)
