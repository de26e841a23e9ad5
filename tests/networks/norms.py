"""Small networks of normalisations, Dense on tokens and means over some axes, as ConvNeXt and others have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.networks.builder import float32
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    Conv,
    Dense,
    Difference,
    Extremum,
    Gate,
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
START = RNG.bit_generator.state
SHAPE = (3, 5, 5)
EPSILON = 2.0**-10
"""A number that a file in single precision holds too; so are all weights."""


def normal(*shape: int) -> Array:
    return float32(RNG.standard_normal(shape) / np.sqrt(max(shape[0], 1)))


def tokens(source: str, output: str, inputs: int, outputs: int, axis: int) -> TokenDense:
    return TokenDense((source,), output, normal(inputs, outputs), normal(outputs), axis)


def layer_norm(source: str, output: str, size: int, axis: int, rank: int, **options: bool) -> Norm:
    """Over one axis, with a scale and a shift along it."""
    shape = [1] * rank
    shape[axis - 1] = size
    scale, shift = float32(1 + 0.3 * RNG.random(shape)), float32(0.2 * RNG.standard_normal(shape))
    return Norm((source,), output, (axis,), scale, shift, axis, epsilon=EPSILON, **options)


def conv(source: str, output: str, outputs: int, inputs: int, size: int = 3, groups: int = 1) -> Conv:
    weight = float32(RNG.standard_normal((outputs, inputs // groups, size, size)) / size)
    return Conv((source,), output, weight, normal(outputs), pads=(size // 2,) * 4, groups=groups)


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


def gated_tokens() -> list[Op]:
    """Gates, a difference and a maximum on a stream whose channels are last, their weights beside those of tokens."""
    return [
        conv("x", "stem", 4, 3),
        Transpose(("stem",), "a", (0, 2, 3, 1)),
        layer_norm("a", "an", 4, 3, 3),
        tokens("an", "content", 4, 6, 3),
        tokens("an", "told", 4, 6, 3),
        Activation(("told",), "gate", "Sigmoid"),
        Gate(("content", "gate"), "gated"),
        tokens("gated", "narrow", 6, 4, 3),
        Difference(("a", "narrow"), "b"),
        Reduce(("b",), "squeezed", (1, 2)),
        tokens("squeezed", "excited", 4, 4, 3),
        Activation(("excited",), "scale", "Sigmoid"),
        Gate(("b", "scale"), "c"),
        tokens("b", "bd", 4, 4, 3),
        Extremum(("c", "bd"), "d"),
        Transpose(("d",), "first", (0, 3, 1, 2)),
        *head("first", 4, 5),
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
    scale, shift = float32(1 + RNG.random((3, 6, 1, 1))), float32(RNG.standard_normal((3, 6, 1, 1)))
    return [
        conv("x", "c0", 6, 3),
        Norm(("c0",), "g0", (1, 2, 3), scale[0], shift[0], 1, groups=2, epsilon=EPSILON),
        Activation(("g0",), "r0", "Relu"),
        conv("r0", "c1", 6, 6),
        Norm(("c1",), "g1", (1, 2, 3), scale[1], shift[1], 1, groups=3, epsilon=EPSILON),
        Add(("g1", "r0"), "sum"),
        Activation(("sum",), "r1", "Relu"),
        conv("r1", "c2", 6, 6),
        Norm(("c2",), "g2", (2, 3), scale[2], shift[2], 1, epsilon=EPSILON),
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


def fixed(make: Callable[[], list[Op]]) -> Callable[[], list[Op]]:
    """The same weights each time."""

    def made() -> list[Op]:
        RNG.bit_generator.state = START
        return make()

    return made


MADE = (
    *(convnext, channels_last, gated_tokens, over_channels_first),
    *(group_norms, features, mixer, partial_means),
)
NETWORKS: dict[str, Callable[[], list[Op]]] = {made.__name__: fixed(made) for made in MADE}
"""Networks of inputs [N, *SHAPE], by name."""
