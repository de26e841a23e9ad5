"""Stages that change the grid or pick from it: transposed convolutions, resizes, selections, constant masks.

A Relu stands on either side of each, so that nothing of them dissolves into a neighbour.
"""

from __future__ import annotations

import math

import numpy as np

from tests.networks.branches import convolution
from tests.networks.builder import MAX_ELEMENTS, Builder, divisors
from tests.networks.stages import Stage, allowed, concat, layer, room
from tests.oracles.spec import Activation, ConvTranspose, Gather, Resize, Shape, Where

COORDINATES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def relu(build: Builder) -> str:
    return build.add(Activation((build.last,), build.name(), "Relu"))


def transposed(build: Builder) -> None:
    """A ConvTranspose of any geometry, perhaps beside a convolution of the same tensor."""
    draw, size = build.draw, build.shape[1:]
    if not size:
        return layer(build)
    stem = relu(build)
    channels, beside = build.shape[0], draw(0, 2) == 2 and allowed(build, 1) and room(build, stem) > 1
    kernel, strides, dilations, begins, ends, more = [], [], [], [], [], []
    for _ in size:
        k, s, d = (3, 1, 1) if beside else (draw(1, 3), draw(1, 3), draw(1, 2))
        kernel.append(k)
        strides.append(s)
        dilations.append(d)
        begins.append(1 if beside else draw(0, (k - 1) * d // 2))
        ends.append(1 if beside else draw(0, (k - 1) * d // 2))
        more.append(0 if beside else draw(0, s - 1))
    groups = divisors(channels)
    group = 1 if beside else groups[draw(0, len(groups) - 1)]
    out = group * draw(1, 2)
    op = ConvTranspose(
        (stem,),
        build.name(),
        build.normal((channels, out // group, *kernel), math.sqrt(2 / channels)),
        build.normal((out,), 0.1) if draw(0, 1) else None,
        tuple(strides),
        (*begins, *ends),
        tuple(dilations),
        tuple(more),
        group,
    )
    wide = op.output_size(size)
    if min(wide) < 1 or out * math.prod(wide) > MAX_ELEMENTS:
        return layer(build)
    made = build.add(op)
    if beside and (out + 1) * math.prod(size) <= MAX_ELEMENTS:
        concat(build, (made, convolution(build, stem, 1)))
    relu(build)
    return None


def resized(build: Builder) -> None:
    """A Resize of any mode to any size, larger or smaller."""
    draw, (channels, *size) = build.draw, build.shape
    if not size:
        return layer(build)
    wanted: Shape = tuple(draw(1, 2 * n) for n in size)
    if wanted == tuple(size) or channels * math.prod(wanted) > MAX_ELEMENTS:
        return layer(build)
    stem = relu(build)
    # Linear maps of two and of four axes are what onnxruntime has.
    mode = ("nearest", "linear")[draw(0, 1)] if len(size) == 2 else "nearest"
    coordinates, rounding = COORDINATES[draw(0, 3)], ROUNDINGS[draw(0, 3)]
    build.add(Resize((stem,), build.name(), wanted, mode, coordinates, rounding))
    relu(build)
    return None


def picked(build: Builder) -> None:
    """Some entries of each axis, in any order, some of them several times; or two such parts that do not meet."""
    draw, shape = build.draw, build.shape
    stem = relu(build)
    if draw(0, 2) == 2 and allowed(build, 1) and room(build, stem) > 1 and max(shape) > 1:
        axis = max(range(len(shape)), key=lambda a: shape[a])
        parts = [tuple(range(first, shape[axis], 2)) for first in (0, 1)]
        if draw(0, 1):
            parts[1] = parts[1][::-1]
        names = [build.add(Gather((stem,), build.name(), _one(shape, axis, part))) for part in parts]
        concat(build, names[::-1] if draw(0, 1) else names, axis + 1)
    else:
        picks: list[tuple[int, ...] | None] = []
        for length in shape:
            count = draw(1, min(length + 2, 6))
            picks.append(tuple(draw(0, length - 1) for _ in range(count)) if draw(0, 1) else None)
        wide = math.prod(n if p is None else len(p) for p, n in zip(picks, shape, strict=True))
        if all(pick is None for pick in picks) or wide > MAX_ELEMENTS:
            picks = [tuple(range(shape[0] - 1, -1, -1)), *(None for _ in shape[1:])]
        build.add(Gather((stem,), build.name(), tuple(picks)))
    relu(build)


def _one(shape: Shape, axis: int, pick: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]:
    return tuple(pick if a == axis else None for a in range(len(shape)))


def masked(build: Builder) -> None:
    """A Where with a constant mask, of one tensor or of two."""
    stem, draw = relu(build), build.draw
    mask = build.rng.random(build.shape) < 0.7
    if draw(0, 1) and allowed(build, 1) and room(build, stem) > 1:
        other = build.activation(stem)
        build.add(Where((stem, other), build.name(), np.asarray(mask)))
    else:
        build.add(Where((stem,), build.name(), np.asarray(mask), (0.0, -0.5)[draw(0, 1)]))
    relu(build)


GEOMETRY_STAGES: tuple[Stage, ...] = (layer, transposed, resized, picked, masked)
