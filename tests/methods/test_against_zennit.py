"""Relevance methods against zennit, on networks whose values single precision holds exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.backends import EPS, relative_error
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Array, AveragePool, Conv, Dense, MaxPool, Op, Reshape

INPUT = (2, 10, 10)


def dyadic(rng: np.random.Generator, *shape: int) -> Array:
    """Multiples of 1/8 in [-1/2, 1/2]: sums of their products are exact in single precision here."""
    return rng.integers(-4, 5, shape) / 8


def network(number: int, *, skip: bool) -> tuple[Op, ...]:
    rng = np.random.default_rng(number)
    joined = "d" if not skip else "s"
    add: tuple[Op, ...] = (Add(("d", "p"), "s"),) if skip else ()
    return (
        Conv(("input",), "c", dyadic(rng, 4, 2, 3, 3), dyadic(rng, 4)),
        Activation(("c",), "r", "Relu"),
        MaxPool(("r",), "p", (2, 2), (2, 2)),
        Conv(("p",), "d", dyadic(rng, 4, 2, 3, 3), dyadic(rng, 4), pads=(1, 1, 1, 1), groups=2),
        *add,
        Activation((joined,), "t", "Relu"),
        AveragePool(("t",), "a", (2, 2), (2, 2)),
        Reshape(("a",), "f", (16,)),
        Dense(("f",), "h", dyadic(rng, 16, 6), dyadic(rng, 6)),
        Activation(("h",), "k", "Relu"),
        Dense(("k",), "y", dyadic(rng, 6, 3), dyadic(rng, 3)),
    )


CASES: list[tuple[str, dict[str, Any]]] = [
    ("lrp-epsilon", {"epsilon": 1e-6}),
    ("lrp-epsilon", {"epsilon": 0.25}),
    ("lrp-alpha-beta", {}),
    ("lrp-alpha-beta", {"alpha": 3.0, "beta": 2.0}),
    ("deep-taylor", {}),
    ("deep-taylor", {"low": -1.0, "high": 1.0}),
    (
        "deep-taylor",
        {"low": np.array([-1.0, -1.5]).reshape(1, 2, 1, 1), "high": np.array([2.0, 1.0]).reshape(1, 2, 1, 1)},
    ),
    ("excitation-backprop", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("case", range(len(CASES)))
def test_relevance_equals_zennit(case: int, number: int, skip: bool) -> None:
    from tests.methods.zennit_twin import relevance

    method, options = CASES[case]
    ops = network(number, skip=skip)
    x = np.random.default_rng(number).integers(-8, 9, (5, *INPUT)) / 8
    targets = np.random.default_rng(number).integers(0, 3, 5)
    logits, expected = relevance(ops, x, targets, 3, method, options)
    net = mr.load(to_onnx(ops, INPUT))
    own: dict[str, Any] = {key: np.reshape(value, np.shape(value)[1:]) for key, value in options.items()}
    own = own if "low" in options else options
    found = mr.attribute(net, x.astype(np.float32), targets, method, **own)
    np.testing.assert_array_equal(found.output, logits[np.arange(5), targets])
    # Denominators of which rounding is small: sums of at most 18 multiples of 2^-20 are exact.
    assert relative_error(found.attribution, expected) < 1e4 * EPS
