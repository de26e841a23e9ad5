"""Patterns are those of Dense and Conv: of what is several convolutions, or stands on tokens, they are refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import mipin_ref as mr
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, ConvTranspose, Dense, Op, Reshape, TokenDense

RNG = np.random.default_rng(0)
SHAPE = (4, 3, 3)


def network(odd: Op, size: int) -> Sequence[Op]:
    return [
        Conv(("input",), "first", RNG.normal(size=(4, 4, 1, 1))),
        Activation(("first",), "fired", "Relu"),
        odd,
        Reshape(("odd",), "flat", (size,)),
        Dense(("flat",), "y", RNG.normal(size=(size, 2))),
    ]


@pytest.mark.parametrize(
    ("odd", "size"),
    [
        (ConvTranspose(("fired",), "odd", RNG.normal(size=(4, 1, 2, 2)), strides=(2, 2), groups=2), 72),
        (TokenDense(("fired",), "odd", RNG.normal(size=(3, 2)), np.zeros(2), 3), 24),
    ],
    ids=["ConvTranspose", "TokenDense"],
)
def test_kinds_without_a_pattern_are_refused_by_name(odd: Op, size: int) -> None:
    net = mr.load(to_onnx(network(odd, size), SHAPE))
    x = RNG.normal(size=(6, *SHAPE)).astype(np.float32)
    told = f"the pattern methods have no rule for layer 'odd.*' \\({type(odd).__name__}\\)"
    with pytest.raises(mr.UnsupportedModel, match=told):
        mr.fit_patterns(net, x)
    assert list(mr.fit_patterns(net, x, at="flat").weights) == ["y"]
