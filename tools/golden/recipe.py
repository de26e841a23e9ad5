"""What the cases of the conformance kit are made of, and the list that they are entered in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from golden.sketch import Sketch
from training.files import MODELS

Array = npt.NDArray[Any]

__all__ = ["CASES", "MODELS", "CaseRecipe", "case", "recipe"]


@dataclass(frozen=True)
class CaseRecipe:
    """model: the ONNX file's bytes, None where it is there already; x, target, labels, options: as in a fit."""

    model: bytes | None
    x: Array
    target: int | tuple[int, ...]
    labels: Array | None = None
    options: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Callable[[], CaseRecipe]] = {}


def case(make: Callable[[], CaseRecipe]) -> Callable[[], CaseRecipe]:
    """Enter a function in the list, under its name."""
    CASES[make.__name__] = make
    return make


def recipe(sketch: Sketch, samples: int = 10, target: int = 1, x: Array | None = None, **options: Any) -> CaseRecipe:
    """Make a case of a sketch, of standard normal samples unless they are given."""
    if x is None:
        x = sketch.rng.standard_normal((samples, *sketch.input_shape))
    return CaseRecipe(sketch.model(), x.astype(np.int64 if sketch.whole else np.float32), target, options=options)
