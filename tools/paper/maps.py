"""Maps of an attribution, in the four ways that a method may be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr

Floats = NDArray[np.floating[Any]]
Key = TypeVar("Key")

KINDS = ("contribution", "|contribution|", "attribution", "magnitude")
"""Sum over channels of A·X, its absolute value, mean over channels of A, sum over channels of |A|."""

FEWER: dict[str, dict[str, Any]] = {"smoothgrad": {"samples": 10}, "integrated-gradients": {"steps": 10}}
"""Options of the methods that sweep many times a sample, where thousands are explained; their default is 50."""


def signed_map(res: mr.Attribution, kind: str, size: tuple[int, int] | None = None) -> Floats:
    """Maps [N, H, W] of one of KINDS, negative values kept, resized to size."""
    if kind in ("contribution", "attribution"):
        return mr.saliency(res, kind=kind, positive=False, size=size)
    if kind == "|contribution|":
        values = np.abs(mr.saliency(res, positive=False))
    elif kind == "magnitude":
        # The magnitude of every channel first, so that channels of two signs do not cancel.
        sizes = replace(res, attribution=np.abs(res.attribution), multiplier=False, follows_logit=False)
        values = mr.saliency(sizes, positive=False)
    else:
        raise ValueError(f"there is no kind of map {kind!r}; there are {', '.join(KINDS)}")
    of = replace(res, attribution=values, multiplier=False, channel_axis=None, follows_logit=False)
    return mr.saliency(of, positive=False, size=size)


def flat(maps: Floats) -> bool:
    """Whether no map [N, H, W] ranks its pixels."""
    return bool((maps == maps[:, :1, :1]).all())


def accuracies(maps: Mapping[Key, Floats], boxes: NDArray[np.int64]) -> dict[Key, float | None]:
    """Box accuracy of maps [N, H, W] against boxes [N, 4]; None where they are flat on every scene."""
    return {key: None if flat(one) else float(mr.metrics.box_accuracy(one, boxes).mean) for key, one in maps.items()}


def correlations(maps: Floats, others: Floats) -> list[float]:
    """Pearson's correlation of each map [N, H, W] with its other; samples with a constant map are left out."""
    return [
        float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
        for one, other in zip(maps, others, strict=True)
        if np.ptp(one) > 0 and np.ptp(other) > 0
    ]


def batches(count: int, size: int = 250) -> Iterator[slice]:
    """Cut count samples into slices, so that not all attributions are held at once."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
