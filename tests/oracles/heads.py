"""Probabilities of a head, one logit at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def probabilities(kind: str, logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Probabilities [N, C] of logits [N, C]."""
    found: list[list[float]] = []
    rows: Any = np.asarray(logits, np.float64).tolist()
    for row in rows:
        if kind == "softmax":
            shares = [math.exp(z - max(row)) for z in row]
            found.append([share / math.fsum(shares) for share in shares])
        else:
            found.append([1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z)) for z in row])
    return np.array(found)
