"""Which objects of a scene a network names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def right_of(scores: NDArray[Any], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each object is among the classes with the highest scores [n, C], as many as a scene has objects; of y [n]
    or [n, 2], and of its shape.
    """
    objects = y.reshape(len(y), -1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, : objects.shape[1]]
    right: NDArray[np.bool_] = (objects[:, :, None] == best[:, None]).any(axis=2).reshape(y.shape)
    return right
