"""Rank correlation and structural similarity of two maps, by counting and by loops."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def ranks(values: list[float]) -> list[float]:
    """1-based ranks; equal values share the mean of theirs."""
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def spearman(a: Array, b: Array) -> float:
    first, second = ranks(a.ravel().tolist()), ranks(b.ravel().tolist())
    middle = (len(first) + 1) / 2
    top = sum((p - middle) * (q - middle) for p, q in zip(first, second, strict=True))
    return top / math.sqrt(sum((p - middle) ** 2 for p in first) * sum((q - middle) ** 2 for q in second))


def structural_similarity(a: Array, b: Array, window: int) -> float:
    """Wang et al. 2004, uniform window, sample covariances, dynamic range 1, over all windows that lie in the map."""
    c1, c2, found = 0.01**2, 0.03**2, []
    for i in range(a.shape[0] - window + 1):
        for j in range(a.shape[1] - window + 1):
            p = [float(v) for v in a[i : i + window, j : j + window].ravel()]
            q = [float(v) for v in b[i : i + window, j : j + window].ravel()]
            mp, mq, n = sum(p) / len(p), sum(q) / len(q), len(p) - 1
            vp, vq = sum((v - mp) ** 2 for v in p) / n, sum((v - mq) ** 2 for v in q) / n
            both = sum((v - mp) * (w - mq) for v, w in zip(p, q, strict=True)) / n
            found.append(
                (2 * mp * mq + c1) * (2 * both + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)),
            )
    return sum(found) / len(found)
