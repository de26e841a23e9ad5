"""Normalisations, Dense on tokens and means over some axes against brute force: S and A at every tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.plan import make_plan
from tests.backends import NAMES, backend, relative_error
from tests.oracles.export import to_onnx
from tests.oracles.forward import forward
from tests.oracles.mipin import mipin
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Norm,
    Op,
    Reduce,
    Reshape,
    TokenDense,
    Transpose,
)

RNG = np.random.default_rng(5)
TOLERANCE = 1e-8
"""Relative to the largest value of the tensor, in float64: systems are conditioned below 1e7, as the ridge sees to."""


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape) / np.sqrt(max(shape[0], 1))


def tokens(source: str, output: str, inputs: int, outputs: int, axis: int) -> TokenDense:
    return TokenDense((source,), output, normal(inputs, outputs), 0.3 * normal(outputs), axis)


def layer_norm(source: str, output: str, size: int, axis: int, rank: int, **options: bool) -> Norm:
    """Over one axis, with a scale and a shift along it."""
    shape = [1] * rank
    shape[axis - 1] = size
    scale, shift = 1 + 0.3 * RNG.random(shape), 0.2 * RNG.standard_normal(shape)
    return Norm((source,), output, (axis,), scale, shift, axis, **options)


def conv(source: str, output: str, outputs: int, inputs: int, size: int = 3, groups: int = 1) -> Conv:
    weight = RNG.standard_normal((outputs, inputs // groups, size, size)) / size
    return Conv((source,), output, weight, 0.1 * normal(outputs), pads=(size // 2,) * 4, groups=groups)


def head(source: str, channels: int, size: int) -> list[Op]:
    return [
        GlobalAveragePool((source,), "pooled"),
        Reshape(("pooled",), "flat", (channels,)),
        Dense(("flat",), "y", normal(channels, 3), normal(3)),
    ]


def convnext() -> list[Op]:
    """A block of ConvNeXt with the permutes that torchvision has, between a stem and a head."""
    return [
        conv("x", "stem", 4, 3),
        conv("stem", "deep", 4, 4, groups=4),
        Transpose(("deep",), "last", (0, 2, 3, 1)),
        layer_norm("last", "normed", 4, 3, 3),
        tokens("normed", "wide", 4, 8, 3),
        Activation(("wide",), "fired", "Relu"),
        tokens("fired", "narrow", 8, 4, 3),
        Transpose(("narrow",), "first", (0, 3, 1, 2)),
        Add(("first", "stem"), "sum"),
        *head("sum", 4, 5),
    ]


def channels_last() -> list[Op]:
    """Two residual blocks whose stream has its channels last: joint fits with weights of tokens and of a norm."""
    return [
        conv("x", "stem", 4, 3),
        Transpose(("stem",), "a", (0, 2, 3, 1)),
        layer_norm("a", "an", 4, 3, 3),
        tokens("an", "ad", 4, 4, 3),
        Activation(("ad",), "ar", "Relu"),
        Add(("a", "ar"), "b"),
        tokens("b", "bd", 4, 4, 3),
        tokens("b", "be", 4, 4, 3),
        Activation(("bd",), "bf", "Relu"),
        Activation(("be",), "bg", "LeakyRelu"),
        Add(("b", "bf", "bg"), "c"),
        Transpose(("c",), "d", (0, 3, 1, 2)),
        *head("d", 4, 5),
    ]


def over_channels_first() -> list[Op]:
    """A LayerNorm over axis 1 and an RMSNorm, as ConvNeXt's stem and others have them."""
    return [
        conv("x", "stem", 4, 3),
        layer_norm("stem", "normed", 4, 1, 3),
        Activation(("normed",), "fired", "Relu"),
        conv("fired", "deep", 6, 4),
        layer_norm("deep", "rms", 6, 1, 3, centred=False),
        MaxPool(("rms",), "pool", (2, 2), (2, 2)),
        Reshape(("pool",), "flat", (6 * 4,)),
        Dense(("flat",), "y", normal(24, 3), normal(3)),
    ]


def group_norms() -> list[Op]:
    """A residual block with GroupNorms; one of them is an InstanceNorm."""
    scale, shift = 1 + RNG.random((3, 6, 1, 1)), RNG.standard_normal((3, 6, 1, 1))
    return [
        conv("x", "c0", 6, 3),
        Norm(("c0",), "g0", (1, 2, 3), scale[0], shift[0], 1, groups=2),
        Activation(("g0",), "r0", "Relu"),
        conv("r0", "c1", 6, 6),
        Norm(("c1",), "g1", (1, 2, 3), scale[1], shift[1], 1, groups=3),
        Add(("g1", "r0"), "sum"),
        Activation(("sum",), "r1", "Relu"),
        conv("r1", "c2", 6, 6),
        Norm(("c2",), "g2", (2, 3), scale[2], shift[2], 1),
        Activation(("g2",), "r2", "Relu"),
        *head("r2", 6, 5),
    ]


def features() -> list[Op]:
    """A perceptron with LayerNorms on [N, features]."""
    return [
        Reshape(("x",), "flat0", (3 * 25,)),
        Dense(("flat0",), "d0", normal(75, 6), normal(6)),
        layer_norm("d0", "n0", 6, 1, 1),
        Activation(("n0",), "r0", "Relu"),
        Dense(("r0",), "d1", normal(6, 5), normal(5)),
        layer_norm("d1", "n1", 5, 1, 1, centred=False),
        Dense(("n1",), "y", normal(5, 3), normal(3)),
    ]


def mixer() -> list[Op]:
    """A product along the locations from the left, and a mean over the tokens of channels that are last."""
    return [
        conv("x", "stem", 4, 3),
        Reshape(("stem",), "rows", (4, 25)),
        tokens("rows", "mixed", 4, 6, 1),
        Activation(("mixed",), "fired", "Relu"),
        Transpose(("fired",), "last", (0, 2, 1)),
        layer_norm("last", "normed", 6, 2, 2),
        tokens("normed", "out", 6, 5, 2),
        Reduce(("out",), "mean", (1,)),
        Reshape(("mean",), "flat", (5,)),
        Dense(("flat",), "y", normal(5, 3), normal(3)),
    ]


def partial_means() -> list[Op]:
    """A mean over one axis of a map, a sum over another, a sum over the channels beside them."""
    return [
        conv("x", "stem", 4, 3),
        Activation(("stem",), "fired", "Relu"),
        Reduce(("fired",), "rows", (2,)),
        Reduce(("rows",), "sum", (3,), total=True),
        Reduce(("fired",), "across", (1,)),
        Reshape(("sum",), "flat", (4,)),
        Reshape(("across",), "flat2", (25,)),
        Dense(("flat",), "h1", normal(4, 4), normal(4)),
        Dense(("flat2",), "h2", normal(25, 4), normal(4)),
        Add(("h1", "h2"), "h"),
        Dense(("h",), "y", normal(4, 3), normal(3)),
    ]


NETWORKS = {
    made.__name__: made
    for made in (convnext, channels_last, over_channels_first, group_norms, features, mixer, partial_means)
}


def agrees(ops: Sequence[Op], name: str, **options: bool) -> None:
    x = np.random.default_rng(1).standard_normal((24, 3, 5, 5)).astype(np.float32)
    net = mr.load(to_onnx(ops, (3, 5, 5)))
    # The oracle's own forward pass is in double precision, and S is compared to more digits than single has.
    values = Recorder(net, list(net.shapes))(x).values
    own = forward(ops, x)
    # What the reader adds between has no name in the file.
    assert own.keys() <= values.keys()
    for tensor, value in own.items():
        assert relative_error(values[tensor], value) < 1e-5, tensor
    expected = mipin(ops, x, 1, values=values, **options)  # type: ignore[arg-type]
    device = backend(name)
    inverse = mr.fit(net, x, 1, backend=device, **options)  # type: ignore[arg-type]
    for step in (step for step in inverse.plan.steps if step.tensor in own):
        plan = inverse.plan if step.tensor == net.input else make_plan(net, at=step.tensor, local=True, input_mask=None)
        found = replace(inverse, plan=plan).attribute(x)
        error = relative_error(found.source, expected.source[step.tensor])
        assert error < TOLERANCE, f"S at {step.tensor}: {error:.1e}"
        error = relative_error(found.attribution, expected.attribution[step.tensor])
        assert error < TOLERANCE, f"A at {step.tensor}: {error:.1e}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", NETWORKS)
def test_signals_are_those_of_brute_force(made: str, name: str) -> None:
    agrees(NETWORKS[made](), name)


@pytest.mark.parametrize("made", ["channels_last", "group_norms"])
def test_with_an_intercept_everywhere(made: str) -> None:
    agrees(NETWORKS[made](), "numpy", conv_bias=True)
