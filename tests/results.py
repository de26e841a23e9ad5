"""One of everything that a user is handed, of a small network: for tests of how results show themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.golden.case import read_case
from tests.inverse.test_bad_input import X, small

NET = small()
GOLDEN = "models_onnx/golden_cnn/golden"


@cache
def inverse() -> mr.Inverse:
    return mr.fit(NET, X, target=1)


@cache
def attribution() -> mr.Attribution:
    return inverse().attribute(X)


def maps() -> npt.NDArray[Any]:
    return mr.saliency(attribution(), positive=False)


def gradient(changed: mr.Network, x: npt.NDArray[Any], target: int) -> mr.Attribution:
    return mr.attribute(changed, x, target, "gradient")


RECORDS: dict[str, Callable[[], Any]] = {
    "APC": lambda: mr.metrics.apc(NET, {1: attribution(), 2: mr.fit(NET, X, target=2).attribute(X)}),
    "BoxAccuracy": lambda: mr.metrics.box_accuracy(maps(), np.tile([1, 1, 3, 3], (len(X), 1))),
    "GridPointingGame": lambda: mr.metrics.grid_pointing_game(maps(), np.zeros(len(X), int)),
    "ClassSensitivity": lambda: mr.metrics.class_sensitivity(maps(), maps()[::-1]),
    "PixelCurve": lambda: mr.metrics.deletion(NET, X, maps(), 1, output="logit", steps=6),
    "Randomization": lambda: mr.metrics.randomization(NET, gradient, X, 1, ssim=False),
    "RandomizationStep": lambda: mr.metrics.randomization(NET, gradient, X, 1, ssim=False).steps[0],
}
"""The records of mr.metrics."""

RESULTS: dict[str, Callable[[], Any]] = {
    **RECORDS,
    "network": lambda: NET,
    "inverse": inverse,
    "report": lambda: inverse().report,
    "patterns": lambda: mr.fit_patterns(NET, X),
    "attribution": attribution,
    "targets": lambda: mr.attribute(NET, X, np.arange(len(X)) % 3, "gradient"),
    "golden": lambda: read_case(GOLDEN),
    "verification": lambda: mr.golden.verify(GOLDEN, GOLDEN),
}
