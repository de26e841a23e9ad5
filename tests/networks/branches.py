"""Branches: ways from one tensor to another of a wanted shape, so that several of them can be joined."""

from __future__ import annotations

import math

from tests.networks.builder import MAX_ELEMENTS, Builder, Draw, divisors
from tests.oracles.spec import LRN, Shape, Window, window

WIDE = 12
"""Features from which on a vector is not carried to one of equal length by a Dense: that takes the oracle long."""


def strided(size: Shape, stride: int) -> Shape:
    """What same_window makes of a map of this size."""
    return tuple((length - 1) // stride + 1 for length in size)


def same_window(draw: Draw, size: Shape, stride: int, *, pooling: bool = False) -> Window:
    """A window of any kernel and dilation whose output has size strided(size, stride)."""
    kernel, begins, ends, dilations = [], [], [], []
    for _ in size:
        k, d = ((3, 1), (2, 1), (3, 1))[draw(0, 2)] if pooling else ((1, 1), (3, 1), (2, 1), (3, 2))[draw(0, 3)]
        total = (k - 1) * d
        begin = min(total, total // 2 + draw(0, 1))
        kernel.append(k)
        dilations.append(d)
        begins.append(begin)
        ends.append(total - begin)
    return window(kernel, (stride,) * len(size), begins + ends, dilations)


def convolution(build: Builder, source: str, channels: int, stride: int = 1) -> str:
    groups = divisors(math.gcd(build.shapes[source][0], channels))
    geometry = same_window(build.draw, build.shapes[source][1:], stride)
    return build.conv(source, channels, geometry, groups[build.draw(0, len(groups) - 1)])


def plain(build: Builder, source: str) -> str:
    """An op that keeps the shape: an activation, an affine, on images a local response normalisation."""
    images = len(build.shapes[source]) == 3
    match build.draw(0, 3):
        case 0 | 1:
            return build.activation(source)
        case 2 if images:
            return build.add(LRN((source,), build.name(), (3, 1, 5)[build.draw(0, 2)], 0.5, 0.75, 1.0))
        case _:
            return build.affine(source)


def branch(build: Builder, source: str, channels: int, stride: int = 1) -> str:
    """A way to `channels` channels on a map of strided size; from vectors one to `channels` features."""
    draw = build.draw
    here, size = build.shapes[source][0], build.shapes[source][1:]
    if not size:
        return vector_branch(build, source, channels)

    def convolved(name: str, step: int) -> str:
        return name if build.shapes[name][0] == channels and not step else convolution(build, name, channels, step or 1)

    kind = draw(0, 6)
    if kind == 4 and (stride == 1 or channels * math.prod(size) > MAX_ELEMENTS):
        kind = 0
    match kind:
        case 0:
            result = convolution(build, source, channels, stride)
        case 1:
            middle = build.activation(convolution(build, source, draw(1, min(3, MAX_ELEMENTS // math.prod(size))), 1))
            result = convolution(build, middle, channels, stride)
        case 2:
            result = convolved(build.max_pool(source, same_window(draw, size, stride, pooling=True)), 0)
        case 3:
            result = convolved(build.average_pool(source, same_window(draw, size, stride, pooling=True)), 0)
        case 4:
            first = convolution(build, source, channels, 1)
            geometry = same_window(draw, size, stride, pooling=True)
            result = build.max_pool(first, geometry) if draw(0, 1) else build.average_pool(first, geometry)
        case 5:
            result = convolution(build, build.activation(build.affine(source)), channels, stride)
        case _:
            result = plain(build, source)
            if stride > 1 or here != channels:
                result = convolution(build, result, channels, stride)
    return build.activation(result) if draw(0, 1) else result


def vector_branch(build: Builder, source: str, features: int) -> str:
    """From vectors to `features` features: a Dense, one in front of an activation, two, or an op that keeps them."""
    match build.draw(0, 3):
        case 0:
            return build.dense(source, features)
        case 1:
            return build.activation(build.dense(source, features))
        case 2:
            return build.dense(build.activation(build.dense(source, build.draw(1, 4))), features)
        case _:
            kept = plain(build, source)
            return kept if build.shapes[source][0] == features else build.dense(kept, features)
