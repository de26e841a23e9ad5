"""Changes of every sample and what is told of them: means over classes, samples that are left out."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from paper.changes import changes, summary, weighted


def test_weights_make_the_mean_that_over_classes() -> None:
    rng = np.random.default_rng(0)
    values, y = rng.random(50), np.repeat([1, 4, 7], [5, 15, 30])
    by_class = [values[y == c].mean() for c in (1, 4, 7)]
    assert weighted(values, y).mean() == pytest.approx(np.mean(by_class), rel=1e-12)


def test_a_summary_is_equations_10_and_11() -> None:
    rng = np.random.default_rng(1)
    before, after, y = rng.uniform(1, 9, 40), rng.uniform(1, 9, 40), np.arange(40) % 3
    change = (before - after) / np.abs(before)
    right = np.where(np.arange(40) < 30, 1.0, 0.0)
    told = summary({"logit": before, "change": change, "clipped": change / 2, "right": right}, y)
    apc = np.mean([np.mean([abs(b - a) / b for b, a in zip(before[y == c], after[y == c])]) for c in range(3)])  # noqa: B905
    positive = np.mean([np.mean(np.maximum(change[y == c], 0)) for c in range(3)])
    assert told["apc"] == pytest.approx(apc, rel=1e-12)
    assert told["positive"] == pytest.approx(positive, rel=1e-12)
    assert told["positive_clipped"] == pytest.approx(positive / 2, rel=1e-12)
    of_right = np.mean([np.mean(np.abs(change[:30][y[:30] == c])) for c in range(3)])
    assert told["apc_right"] == pytest.approx(of_right, rel=1e-12)
    assert told["apc_low"] < told["apc"] < told["apc_high"]
    assert told["accuracy"] == 0.75
    assert told["quantiles"]["0.5"] == pytest.approx(np.median(change), rel=1e-12)
    assert told["classes"]["2"]["samples"] == 13


def test_a_sample_without_a_logit_is_left_out_as_the_package_leaves_it() -> None:
    """And without one all figures are those of the package."""
    net = mr.load("models_onnx/mnist_mlp/model.onnx")
    with np.load("models_onnx/mnist_mlp/calibration.npz") as data:
        x, y = (data["x"][:200].astype(np.float32) / 255), data["y"][:200].astype(np.int64)
    inverses = mr.fit(net, x, [0, 1, 2])
    shown = np.isin(y, [0, 1, 2])
    x, y = x[shown], y[shown]
    told = summary(changes(net, inverses, x, y), y)
    theirs = mr.metrics.apc(net, {c: inv.attribute(x[y == c]) for c, inv in inverses.items()})
    # Logits are float32, and the last sample of a batch may be summed in another order.
    for key, value in (("apc", theirs.apc), ("positive", theirs.positive), ("median", theirs.median)):
        assert told[key] == pytest.approx(value, rel=1e-5)
    assert told["left_out"] == theirs.left_out == 0
    near = {key: values.copy() for key, values in changes(net, inverses, x, y).items()}
    near["change"][0] = np.nan
    less = summary(near, y)
    assert less["left_out"] == 1
    assert less["classes"][str(y[0])]["samples"] == np.sum(y == y[0]) - 1
    assert less["apc"] == pytest.approx(
        np.mean([np.mean(np.abs(near["change"][1:][y[1:] == c])) for c in (0, 1, 2)]), rel=1e-12
    )
