"""Small networks whose Dense layers read flattened maps, and by flat tensor which elements are of one channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.networks.builder import float32
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Reshape,
    Shape,
    Slice,
    TokenDense,
    Transpose,
)

SHAPE = (3, 6, 6)


class Flattened(NamedTuple):
    """together: by tensor that a Dense reads, the elements of each channel, written down by hand."""

    ops: list[Op]
    together: dict[str, list[list[int]]]
    shape: Shape = SHAPE


def normal(*shape: int, seed: int) -> Array:
    return float32(np.random.default_rng(seed).standard_normal(shape) / np.sqrt(math.prod(shape[1:])))


def dense(source: str, output: str, inputs: int, outputs: int) -> Dense:
    weight = np.random.default_rng(inputs + outputs).standard_normal((inputs, outputs)) / np.sqrt(inputs)
    return Dense((source,), output, float32(weight), normal(outputs, seed=outputs) / 4)


def mapped(channels: int = 4, dead: int | None = None) -> list[Op]:
    """A map [channels, 3, 3] behind a pool; dead: a channel that never fires."""
    weight, bias = normal(channels, 3, 3, 3, seed=1), normal(channels, seed=2) / 2
    if dead is not None:
        weight[dead], bias[dead] = 0, -1
    return [
        Conv(("x",), "conv", weight, bias, pads=(1,) * 4),
        Activation(("conv",), "fired", "Relu"),
        MaxPool(("fired",), "map", (2, 2), (2, 2)),
    ]


def head(source: str, inputs: int) -> list[Op]:
    return [
        dense(source, "hidden", inputs, 7),
        Activation(("hidden",), "active", "Relu"),
        dense("active", "y", 7, 3),
    ]


BLOCKS = [[9 * c + p for p in range(9)] for c in range(4)]
"""Channels in front: each channel's nine locations side by side."""

STRIPES = [[4 * p + c for p in range(9)] for c in range(4)]
"""Channels last."""


def plain() -> Flattened:
    return Flattened([*mapped(), Reshape(("map",), "flat", (36,)), *head("flat", 36)], {"flat": BLOCKS})


def dead_channel() -> Flattened:
    return Flattened([*mapped(dead=2), Reshape(("map",), "flat", (36,)), *head("flat", 36)], {"flat": BLOCKS})


def last_layer() -> Flattened:
    """The logits' own Dense reads the map: the target's output is the only regressor."""
    return Flattened([*mapped(), Reshape(("map",), "flat", (36,)), dense("flat", "y", 36, 3)], {"flat": BLOCKS})


def channels_last() -> Flattened:
    turned: list[Op] = [Transpose(("map",), "turned", (0, 2, 3, 1)), Reshape(("turned",), "flat", (36,))]
    return Flattened([*mapped(), *turned, *head("flat", 36)], {"flat": STRIPES})


def reshaped_twice() -> Flattened:
    """Locations in a row, transposed, then flattened, and activated once more."""
    moves: list[Op] = [
        Reshape(("map",), "row", (4, 9)),
        Transpose(("row",), "turned", (0, 2, 1)),
        Reshape(("turned",), "flat", (36,)),
        Activation(("flat",), "again", "Tanh"),
    ]
    return Flattened([*mapped(), *moves, *head("again", 36)], {"again": STRIPES})


def tokens() -> Flattened:
    """Three features a token of twelve, flattened."""
    weight = normal(5, 3, seed=4)
    ops: list[Op] = [
        TokenDense(("x",), "each", weight, normal(3, seed=5), 2),
        Activation(("each",), "fired", "Relu"),
        Reshape(("fired",), "flat", (36,)),
        *head("flat", 36),
    ]
    return Flattened(ops, {"flat": [[3 * token + f for token in range(12)] for f in range(3)]}, (12, 5))


def two_dense() -> Flattened:
    """Two Dense on one flat tensor: a block of each in one problem."""
    ops: list[Op] = [
        Reshape(("map",), "flat", (36,)),
        dense("flat", "left", 36, 5),
        Activation(("left",), "tanh", "Tanh"),
        dense("flat", "right", 36, 5),
        Activation(("right",), "relu", "Relu"),
        Add(("tanh", "relu"), "sum"),
        dense("sum", "y", 5, 3),
    ]
    return Flattened([*mapped(), *ops], {"flat": BLOCKS})


def skipped(*, swapped: bool = False) -> Flattened:
    """A Dense beside a skip connection, and one on their sum, which is of the same channels."""
    ops: list[Op] = [
        Reshape(("map",), "flat", (36,)),
        dense("flat", "inner", 36, 36),
        Activation(("inner",), "tanh", "Tanh"),
        Add(("tanh", "flat") if swapped else ("flat", "tanh"), "sum"),
        *head("sum", 36),
    ]
    return Flattened([*mapped(), *ops], {"flat": BLOCKS, "sum": BLOCKS})


def branching() -> Flattened:
    """The map goes to a Conv too."""
    ops: list[Op] = [
        Reshape(("map",), "flat", (36,)),
        dense("flat", "left", 36, 5),
        Conv(("map",), "deep", normal(5, 4, 3, 3, seed=6), normal(5, seed=7), pads=(1,) * 4),
        Activation(("deep",), "deeper", "Relu"),
        GlobalAveragePool(("deeper",), "pooled"),
        Reshape(("pooled",), "right", (5,)),
        Add(("left", "right"), "sum"),
        Activation(("sum",), "active", "Relu"),
        dense("active", "y", 5, 3),
    ]
    return Flattened([*mapped(), *ops], {"flat": BLOCKS})


def cropped() -> Flattened:
    """What a Slice leaves of the map: two channels, two rows."""
    ops: list[Op] = [
        Slice(("map",), "crop", (1, 1, 0), (3, 3, 3)),
        Reshape(("crop",), "flat", (12,)),
        *head("flat", 12),
    ]
    return Flattened([*mapped(), *ops], {"flat": [[*range(6)], [*range(6, 12)]]})


def uneven() -> Flattened:
    """A part of a flat map that has more of one channel than of another: no grid, each element for itself."""
    ops: list[Op] = [
        Reshape(("map",), "flat", (36,)),
        Slice(("flat",), "part", (4,), (36,)),
        *head("part", 32),
    ]
    return Flattened([*mapped(), *ops], {})


def side_by_side() -> Flattened:
    """Two flat tensors in one: each element for itself."""
    ops: list[Op] = [
        Reshape(("map",), "flat", (36,)),
        GlobalAveragePool(("conv",), "pooled"),
        Reshape(("pooled",), "features", (4,)),
        Concat(("flat", "features"), "both", 1),
        *head("both", 40),
    ]
    return Flattened([*mapped(), *ops], {})


def pixels() -> Flattened:
    """The input itself is flattened: no map."""
    return Flattened([Reshape(("x",), "flat", (108,)), *head("flat", 108)], {})


NETWORKS: dict[str, Callable[[], Flattened]] = {
    made.__name__: made
    for made in (
        *(plain, dead_channel, last_layer, channels_last, reshaped_twice, tokens, two_dense, skipped, branching),
        *(cropped, uneven, side_by_side, pixels),
    )
}
