"""How far the logit moves when the source signal takes the input's place: sample by sample, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.intervals import bootstrap, in_row

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TOO_SMALL = 1e-6
"""Logits nearer to zero are left out, as in `mipin_ref.metrics.apc`: their change in percent means nothing."""

Floats = NDArray[np.floating[Any]]


def changes(net: mr.Network, inverses: Mapping[int, mr.Inverse], x: Floats, y: NDArray[np.int64]) -> dict[str, Floats]:
    """Four numbers a sample of x [N, ...], for its label y [N]: the logit Φ(X); the change (Φ(X) - Φ(S)) / |Φ(X)|;
    the same with S clipped to the range of x; whether X is classified right. All NaN where the logit is too small.
    """
    told = {key: np.full(len(y), np.nan) for key in ("logit", "change", "clipped", "right")}
    score, (low, high) = net.scoring(), (x.min(), x.max())
    for c, inv in inverses.items():
        for rows in np.array_split(np.flatnonzero(y == c), max(1, int(np.sum(y == c)) // 250)):
            if not len(rows):
                continue
            signal = inv.attribute(x[rows]).source
            before, after, clipped = (
                score(one.astype(net.dtype), 0).astype(np.float64)
                for one in (x[rows], signal, np.clip(signal, low, high))
            )
            size = np.abs(before[:, c])
            size[size < TOO_SMALL] = np.nan
            told["logit"][rows] = before[:, c]
            told["right"][rows] = before.argmax(axis=1) == c
            told["change"][rows] = (before[:, c] - after[:, c]) / size
            told["clipped"][rows] = (before[:, c] - clipped[:, c]) / size
    return told


def summary(told: Mapping[str, Floats], y: NDArray[np.int64]) -> dict[str, Any]:
    """APC (paper, Eq. 10) and positive APC (Eq. 11) with their intervals, by class, and quantiles over samples.

    median: of the absolute change, mean over classes of medians; left_out: samples whose logit is too small.
    """
    kept = ~np.isnan(told["change"])
    left_out, y = int(np.sum(~kept)), y[kept]
    change, clipped, logit, right = (told[key][kept] for key in ("change", "clipped", "logit", "right"))
    hit = right == 1
    means = {
        "apc": (np.abs(change), y),
        "positive": (np.maximum(change, 0), y),
        "apc_clipped": (np.abs(clipped), y),
        "positive_clipped": (np.maximum(clipped, 0), y),
        "apc_right": (np.abs(change[hit]), y[hit]),
        "positive_right": (np.maximum(change[hit], 0), y[hit]),
    }
    result: dict[str, Any] = {"accuracy": float(hit.mean()), "logit": float(np.median(logit)), "left_out": left_out}
    for key, (values, of) in means.items():
        result |= in_row(key, bootstrap(weighted(values, of)))
    labels = np.unique(y).tolist()
    result["median"] = float(np.mean([np.median(np.abs(change[y == c])) for c in labels]))
    result["quantiles"] = dict(zip(map(str, QUANTILES), np.quantile(change, QUANTILES).tolist(), strict=True))
    result["classes"] = {
        str(c): {
            "samples": int(np.sum(y == c)),
            "logit": float(np.median(logit[y == c])),
            "apc": float(np.abs(change[y == c]).mean()),
            "positive": float(np.maximum(change[y == c], 0).mean()),
        }
        for c in labels
    }
    return result


def weighted(values: Floats, y: NDArray[np.int64]) -> Floats:
    """Values [N] times what makes their mean that over classes of means over samples."""
    classes, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    weights: Floats = values * (len(y) / (len(classes) * counts))[index]
    return weights
