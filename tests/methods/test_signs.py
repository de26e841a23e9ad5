"""Whose maps are turned where the logit is negative: a fact of each method, on a linear network (method of the paper).

With one Dense the logit is w·x. A value speaks for the class where w x > 0, whatever the sign of the logit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import mipin_ref as mr
from mipin_ref.methods.method import Method
from mipin_ref.panel.registry import METHODS
from tests.networks import to_onnx
from tests.oracles.spec import Dense, Reshape

FOLLOWING = {"mip-in", "patternnet", "deep-taylor", "lrp-alpha-beta", "excitation-backprop"}
RNG = np.random.default_rng(3)
WEIGHT = RNG.standard_normal((16, 2))
CALIBRATION = RNG.standard_normal((60, 1, 4, 4)).astype(np.float32)


def linear() -> mr.Network:
    return mr.load(to_onnx([Reshape(("input",), "flat", (16,)), Dense(("flat",), "y", WEIGHT)], (1, 4, 4)))


ALL = [name for name in mr.methods() if METHODS[name].suits(linear())]
"""Those that look at attention have a network of their own, in test_rollout.py."""


def explained(name: str) -> mr.Attribution:
    """Samples whose logit is negative, and the same the other way round, whose logit is positive."""
    net = linear()
    x = np.random.default_rng(4).standard_normal((12, 1, 4, 4)).astype(np.float32)
    x = x[x.reshape(12, 16) @ WEIGHT[:, 1] < 0]
    assert len(x) > 2
    return mr.Panel(net, CALIBRATION).explain(name, np.concatenate([x, -x]), 1, at="input")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["contribution", "attribution"])
def test_maps_are_turned_where_the_method_follows_the_logit(name: str, kind: str) -> None:
    res = explained(name)
    half = len(res) // 2
    assert (res.output[:half] < 0).all()
    assert (res.output[half:] > 0).all()
    raw = getattr(res, kind)[:, 0]
    sign = np.sign(res.output)[:, None, None] if name in FOLLOWING else 1
    np.testing.assert_array_equal(mr.saliency(res, kind, positive=False), raw * sign)
    np.testing.assert_array_equal(mr.saliency(res, kind), np.maximum(raw * sign, 0))
    assert res.follows_logit == (name in FOLLOWING)
    assert np.abs(raw).max() > 0


def weight_of_plus_plus(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Σ relu(w) / (2 + w Σ x), of samples x [n, 16]."""
    total = x.sum(axis=1, keepdims=True)
    return np.asarray(np.sum(np.maximum(weight, 0) / (2 + weight * total), axis=1, keepdims=True))


@pytest.mark.parametrize("name", ALL)
def test_positive_is_what_speaks_for_the_class(name: str) -> None:
    """The map of a negative logit is positive only where w x > 0, or the fitted pattern agrees with the value."""
    res = explained(name)
    maps = mr.saliency(res, positive=False).reshape(len(res), 16)
    x, weight = res.value.reshape(len(res), 16), WEIGHT[:, 1]
    samples = CALIBRATION.reshape(60, 16)
    y = samples @ weight
    # Of all three methods that fit one, and but for a positive factor.
    pattern = samples.T @ (y - y.mean())
    expected = {
        "mip-in": pattern * x,
        # The signal itself, a y_c, turned into a |y_c|.
        "patternnet": pattern + 0 * x,
        # It says for and against already: w a y_c.
        "pattern-attribution": weight * pattern * res.output[:, None],
        "grad-cam": weight.mean() * x,
        # Of one channel: α relu(w) is its weight, or the channel itself.
        "grad-cam++": weight_of_plus_plus(x, weight) * x,
        "layer-cam": np.maximum(weight, 0) * x,
        "score-cam": x,
        "eigen-cam": x,
        # The w²-rule knows no sign of a value: all of the input shares alike.
        "deep-taylor": 1 + 0 * x,
        # What speaks against the class has no share.
        "excitation-backprop": np.maximum(weight * x, 0),
    }
    wanted = expected.get(name, weight * x)
    # A mean over random masks tells the signs of what counts.
    clear = np.abs(wanted) > (0.3 * np.abs(wanted).max(axis=1, keepdims=True) if name == "rise" else -1)
    assert clear.sum() > len(x)
    np.testing.assert_array_equal(np.sign(maps)[clear], np.sign(wanted)[clear])


def test_a_method_without_the_fact_is_an_error_where_it_is_defined() -> None:
    with pytest.raises(TypeError, match="'forgetful' must state follows_logit"):
        type("Forgetful", (Method,), {"name": "forgetful", "multiplier": True})
    with pytest.raises(TypeError, match="'heir' must state follows_logit"):
        type("Heir", (METHODS["patternnet"],), {"name": "heir"})


def test_other_metrics_on_maps_follow() -> None:
    """Randomisation and Quantus are given what `saliency` shows."""
    net, x = linear(), CALIBRATION[CALIBRATION.reshape(60, 16) @ WEIGHT[:, 1] < 0]
    seen: list[mr.Attribution] = []

    def explain(of: mr.Network, some: Any, target: int) -> mr.Attribution:
        seen.append(mr.attribute(of, some, target, "lrp-alpha-beta"))
        return seen[-1]

    (step,) = mr.metrics.randomization(net, explain, x, 1, ssim=False).steps
    before, after = (mr.saliency(res, positive=False) for res in seen)
    assert (seen[1].output > 0).any(), "no logit of the redrawn network has another sign"
    expected = [spearmanr(a, b, axis=None).statistic for a, b in zip(before, after, strict=True)]
    assert step.signed == np.mean(expected)
    theirs = mr.explain_func(net, "lrp-alpha-beta")(None, x, np.ones(len(x), np.int64))
    np.testing.assert_array_equal(theirs, -seen[0].contribution)
