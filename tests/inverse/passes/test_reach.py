""" "auto" goes as far down as the memory takes."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from tests.graph.sketch import Sketch

X = np.random.default_rng(0).standard_normal((30, 5), np.float32)


def wide() -> mr.Network:
    """The input's inverse has the sums of 5000 regressors, the hidden layer's those of three."""
    sketch = Sketch(5)
    hidden = sketch.node("Relu", sketch.dense("x", 5, 5000), out="hidden")
    return mr.load(sketch.model(sketch.dense(sketch.dense(hidden, 5000, 3), 3, 3)))


def test_it_ends_above_the_first_tensor_whose_sums_are_too_large() -> None:
    net = wide()
    assert mr.fit(net, X, 1, at="auto").plan.explained == "x"
    x = np.random.default_rng(1).standard_normal((6000, 5), np.float32)
    with pytest.raises(mr.InvalidData, match=r"the sums of tensor 'x' take"):
        mr.fit(net, x, 1, memory="100MB")
    short = mr.fit(net, x, 1, at="auto", memory="100MB")
    assert short.plan.explained != "x"
    assert short.options.at == short.plan.explained
    assert short.attribute(X[:2]).source.shape[0] == 2
