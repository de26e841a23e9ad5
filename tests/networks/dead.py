"""Small networks of which some locations lead to no target, or not to every one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.networks.builder import Builder, Network, seeded
from tests.oracles.spec import (
    Activation,
    Add,
    AveragePool,
    Concat,
    ConvTranspose,
    Gather,
    MaxPool,
    Norm,
    Pad,
    Reduce,
    Reshape,
    Resize,
    Shape,
    Slice,
    TokenDense,
    Transpose,
    Where,
    window,
)

MAP: Shape = (3, 6, 6)
THREE, ONE = window((3, 3), pads=(1, 1, 1, 1)), window((1, 1))


class Aimed(NamedTuple):
    """A network and a target of it, a tuple where its output has several axes."""

    network: Network
    target: int | tuple[int, ...]


class Made(Builder):
    """A builder whose pieces these networks are made of; each returns the name of what it makes."""

    def __init__(self, seed: int, shape: Shape = MAP) -> None:
        super().__init__(seeded(seed), shape)

    def act(self, source: str, kind: str = "Relu") -> str:
        return self.add(Activation((source,), self.name(), kind))

    def tokens(self, source: str, outputs: int, axis: int = 2) -> str:
        inputs = self.shapes[source][axis - 1]
        weight = self.normal((inputs, outputs), 1 / np.sqrt(inputs))
        return self.add(TokenDense((source,), self.name(), weight, self.normal((outputs,), 0.1), axis))

    def norm(self, source: str, axes: Shape, channels: int, groups: int = 0) -> str:
        rank, length = len(self.shapes[source]), self.shapes[source][channels - 1]
        shape = tuple(length if axis == channels else 1 for axis in range(1, rank + 1))
        scale, shift = 1 + self.normal(shape, 0.1), self.normal(shape, 0.1)
        return self.add(Norm((source,), self.name(), axes, scale, shift, channels, epsilon=1e-3, groups=groups))

    def cut(self, source: str, axis: int, begin: int, end: int) -> str:
        shape = self.shapes[source]
        low = tuple(begin if a == axis - 1 else 0 for a in range(len(shape)))
        high = tuple(end if a == axis - 1 else n for a, n in enumerate(shape))
        return self.add(Slice((source,), self.name(), low, high))

    def reshaped(self, source: str, shape: Shape) -> str:
        return self.add(Reshape((source,), self.name(), shape))

    def flat(self, source: str) -> str:
        return self.reshaped(source, (int(np.prod(self.shapes[source])),))

    def to_tokens(self, source: str) -> str:
        """[C, H, W] -> [H·W, C]."""
        channels, *size = self.shapes[source]
        rows = self.reshaped(source, (channels, int(np.prod(size))))
        return self.add(Transpose((rows,), self.name(), (0, 2, 1)))

    def aimed(self, target: int | tuple[int, ...]) -> Aimed:
        return Aimed(Network(tuple(self.ops), self.input_shape), target)


def class_token(seed: int) -> Aimed:
    """One token of a mixer is read: the tokens that the last mixing leaves beside it are dead."""
    b = Made(seed)
    t = b.to_tokens(b.act(b.conv("input", 4, window((2, 2), (2, 2)))))
    t = b.add(Add((t, b.act(b.tokens(b.norm(t, (2,), 2), 9, 1))), b.name()))
    t = b.add(Add((t, b.tokens(b.act(b.tokens(b.norm(t, (2,), 2), 6), "Tanh"), 4)), b.name()))
    b.dense(b.flat(b.cut(b.norm(t, (2,), 2), 1, 0, 1)), 3)
    return b.aimed(1)


def pixel(seed: int) -> Aimed:
    """A pixel of a map of scores, its receptive field smaller than the map."""
    b = Made(seed)
    x = b.act(b.conv(b.act(b.conv("input", 4, THREE)), 4, THREE))
    b.conv(x, 3, ONE)
    return b.aimed((2, 0, 1))


def pixel_of_a_residual(seed: int) -> Aimed:
    """Joint fits of a Conv and a skip, in GroupNorms whose statistics are state."""
    b = Made(seed)
    x = b.act(b.norm(b.conv("input", 4, THREE), (1, 2, 3), 1, groups=2))
    y = b.act(b.norm(b.conv(x, 4, THREE), (2, 3), 1))
    x = b.add(Add((y, x), b.name()))
    b.conv(b.add(Add((b.conv(x, 4, THREE), b.conv(x, 4, ONE)), b.name())), 2, THREE)
    return b.aimed((1, 5, 2))


def pixel_of_depthwise(seed: int) -> Aimed:
    """Depthwise Convs, whose sums are stacked, and a grouped one, behind a stride that leaves locations out."""
    b = Made(seed, (4, 9, 8))
    x = b.act(b.conv("input", 4, window((1, 1), (2, 2))))
    x = b.act(b.conv(x, 4, THREE, groups=4))
    x = b.act(b.conv(x, 4, window((3, 3), (1, 1), (1, 1, 1, 1), (2, 1)), groups=2))
    b.conv(x, 2, ONE)
    return b.aimed((0, 2, 3))


def pixel_of_a_unet(seed: int) -> Aimed:
    """Pools, a Resize, a ConvTranspose, a long skip: a pixel at the corner."""
    b = Made(seed, (2, 8, 8))
    x = b.act(b.conv("input", 3, THREE))
    down = b.add(MaxPool((x,), b.name(), (2, 2), (2, 2)))
    y = b.act(b.conv(down, 4, THREE))
    low = b.add(AveragePool((y,), b.name(), (2, 2), (2, 2)))
    z = b.act(b.conv(low, 4, ONE))
    up = b.add(Resize((z,), b.name(), (4, 4), "linear", "half_pixel"))
    y = b.act(b.conv(b.add(Concat((up, y), b.name())), 4, ONE))
    weight = b.normal((4, 3, 2, 2), 0.5)
    wide = b.add(ConvTranspose((y,), b.name(), weight, b.normal((3,), 0.1), (2, 2)))
    b.conv(b.add(Concat((wide, x), b.name())), 3, ONE)
    return b.aimed((1, 7, 0))


def strided_slice(seed: int) -> Aimed:
    """Every other column is picked, and nothing of a pad reaches the picked ones."""
    b = Made(seed)
    x = b.act(b.conv("input", 3, THREE))
    x = b.add(Pad((x,), b.name(), (0, 1, 0), (0, 0, 2), 0.5))
    x = b.add(Gather((b.act(b.conv(x, 4, ONE)),), b.name(), (None, None, (5, 3, 1))))
    b.dense(b.flat(b.act(b.conv(x, 2, ONE))), 3)
    return b.aimed(0)


def pools_beside_a_slice(seed: int) -> Aimed:
    """Only per-channel ways: a max-pool, an average pool and a skip, of which a part is cut out."""
    b = Made(seed)
    x = b.act(b.conv("input", 3, ONE))
    same = window((3, 3), (1, 1), (1, 1, 1, 1))
    y = b.add(MaxPool((x,), b.name(), same.kernel, same.strides, (1, 1, 1, 1)))
    z = b.add(AveragePool((x,), b.name(), same.kernel, same.strides, (1, 1, 1, 1)))
    total = b.add(Add((y, z, x), b.name()))
    b.dense(b.flat(b.cut(b.act(total, "Tanh"), 3, 1, 3)), 3)
    return b.aimed(2)


def own_heads(seed: int) -> Aimed:
    """Each class has its own hidden layers: what leads to another class takes no part."""
    b = Made(seed, (6,))
    stem = b.act(b.dense("input", 6))
    parts = [b.dense(b.act(b.dense(stem, 4)), 1) for _ in range(2)]
    b.add(Concat((*parts, b.dense(b.act(b.dense(stem, 3)), 2)), b.name()))
    return b.aimed(1)


def channels_that_become_locations(seed: int) -> Aimed:
    """Two channels are picked of a Conv's, and channels were locations before: those of the others are dead."""
    b = Made(seed, (2, 4, 4))
    x = b.act(b.conv("input", 4, THREE))
    y = b.act(b.conv(b.reshaped(x, (16, 4)), 16, window((1,)), groups=16))
    b.dense(b.flat(b.cut(y, 1, 1, 3)), 3)
    return b.aimed(0)


def masked(seed: int) -> Aimed:
    """A constant mask takes a column, over all channels, and one location of a single channel."""
    b = Made(seed)
    x = b.act(b.conv("input", 3, THREE))
    mask = np.ones(MAP, np.bool_)
    mask[:, :, 2], mask[0, 0, 0] = False, False
    x = b.add(Where((x,), b.name(), mask, -0.5))
    b.dense(b.flat(b.act(b.conv(x, 2, ONE))), 3)
    return b.aimed(1)


def time_step(seed: int) -> Aimed:
    """One step of a sequence of scores: TokenDense alone, so that one row of each sample is left."""
    b = Made(seed, (5, 4))
    x = b.act(b.tokens(b.act(b.tokens("input", 6)), 5), "Tanh")
    b.tokens(x, 3)
    return b.aimed((3, 1))


def mean_of_a_part(seed: int) -> Aimed:
    """The mean over the last tokens, of channels that are last."""
    b = Made(seed)
    t = b.tokens(b.to_tokens(b.conv("input", 4, THREE)), 5)
    t = b.act(b.tokens(b.norm(t, (2,), 2), 4))
    pooled = b.add(Reduce((b.cut(t, 1, 20, 36),), b.name(), (1,)))
    b.dense(b.flat(pooled), 3)
    return b.aimed(0)


DEAD: dict[str, Callable[[int], Aimed]] = {
    made.__name__: made
    for made in (
        *(class_token, pixel, pixel_of_a_residual, pixel_of_depthwise, pixel_of_a_unet, strided_slice),
        *(pools_beside_a_slice, own_heads, channels_that_become_locations, masked, time_step, mean_of_a_part),
    )
}
