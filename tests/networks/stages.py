"""Stages: each extends a network from its last tensor by a piece that classic architectures are made of.

Every stage works on maps and on vectors and keeps the limits on joins, readers and elements: where a piece does not
fit, a plain layer takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tests.networks.branches import WIDE, branch, convolution, plain, same_window, strided, vector_branch
from tests.networks.builder import MAX_ELEMENTS, Builder, divisors, random_window
from tests.networks.chains import conv_stage
from tests.oracles.spec import Add, Concat, Pad, Reshape, Shape, Slice, Transpose, window

MAX_READERS = 3
MAX_JOINS = 6

Stage = Callable[[Builder], None]


def room(build: Builder, name: str) -> int:
    """How many more ops may read a tensor."""
    return MAX_READERS - build.readers[name]


def allowed(build: Builder, joins: int) -> bool:
    """Whether the last tensor may come to lie behind so many more joins."""
    return build.joins[build.last] + joins <= MAX_JOINS


def widest(size: Shape) -> int:
    """The most channels that a map of this size may have."""
    return MAX_ELEMENTS // math.prod(size)


def layer(build: Builder) -> None:
    """A conv stage; on vectors a Dense and an activation."""
    if len(build.shape) > 1:
        conv_stage(build)
    else:
        build.activation(build.dense(build.last, build.draw(2, 6)))


def add(build: Builder, parts: Sequence[str]) -> None:
    build.add(Add(tuple(parts), build.name()))
    behind_join(build)


def concat(build: Builder, parts: Sequence[str], axis: int = 1) -> None:
    build.add(Concat(tuple(parts), build.name(), axis))
    behind_join(build)


def behind_join(build: Builder) -> None:
    """Nothing, an activation, or a normalisation and an activation."""
    match build.draw(0, 3):
        case 0:
            return
        case 1:
            build.activation(build.last)
        case 2:
            build.activation(build.affine(build.last))
        case _:
            plain(build, build.last)


def too_wide(build: Builder) -> bool:
    return len(build.shape) == 1 and build.shape[0] > WIDE


def residual(build: Builder) -> None:
    """The tensor itself plus a branch of it."""
    stem = build.last
    if too_wide(build) or not allowed(build, 1) or room(build, stem) < 2:
        return layer(build)
    body = branch(build, stem, build.shape[0])
    return add(build, (body, stem))


def downsampled(build: Builder) -> None:
    """A residual block with stride 2 on both ways and a 1-convolution, perhaps behind an average pool, as the skip."""
    stem, size = build.last, build.shape[1:]
    if not size or not allowed(build, 1) or room(build, stem) < 2:
        return layer(build)
    channels = build.draw(1, min(4, widest(strided(size, 2))))
    body = branch(build, stem, channels, 2)
    ones = window((1,) * len(size), (2,) * len(size))
    if build.draw(0, 2) < 2:
        skip = build.conv(stem, channels, ones)
    else:
        smaller = build.average_pool(stem, same_window(build.draw, size, 2, pooling=True))
        skip = build.conv(smaller, channels, window((1,) * len(size)))
    return add(build, (body, skip))


def summed(build: Builder) -> None:
    """Three terms, some of them the tensor itself; or the tensor twice."""
    stem, channels = build.last, build.shape[0]
    if too_wide(build) or not allowed(build, 1) or room(build, stem) < 3:
        return layer(build)
    match build.draw(0, 3):
        case 0:
            parts = [branch(build, stem, channels), branch(build, stem, channels), stem]
        case 1:
            parts = [branch(build, stem, channels) for _ in range(3)]
        case 2:
            parts = [stem, branch(build, stem, channels), stem]
        case _:
            parts = [stem, stem]
    return add(build, parts)


def parallel(build: Builder) -> None:
    """Two or three branches of one tensor side by side, as in an inception block; Dense layers are added as well."""
    stem, draw = build.last, build.draw
    stride = draw(1, 2)
    budget = widest(strided(build.shape[1:], stride))
    count = draw(2, 3)
    if not allowed(build, 1) or budget < count or room(build, stem) < count:
        return layer(build)
    if len(build.shape) == 1 and draw(0, 1):
        features = draw(2, 6)
        return add(build, [branch(build, stem, features) for _ in range(count)])
    most = budget // count
    keep = min(build.shape[0], most)
    parts = [branch(build, stem, (keep, draw(1, min(3, most)))[draw(0, 1)], stride) for _ in range(count)]
    return concat(build, parts)


def dense_block(build: Builder) -> None:
    """Each of two layers reads everything before it: a Concat of a Concat."""
    growth = build.draw(1, 2)
    if build.shape[0] + 2 * growth > widest(build.shape[1:]) or not allowed(build, 2) or room(build, build.last) < 2:
        return layer(build)
    for _ in range(2):
        stem = build.last
        concat(build, (stem, branch(build, stem, growth)))
    return None


def split_unit(build: Builder) -> None:
    """Slices of a tensor, the last of them processed, side by side again as in ShuffleNetV2; perhaps shuffled.

    The Slices tile the tensor, leave a gap or overlap; one may be a dead end; the tensor itself may be added.
    """
    stem, shape, draw = build.last, build.shape, build.draw
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    axis = axes[max(0, draw(0, 2 * len(axes) - 1) - len(axes))] if axes else 0
    layout = ("tiles", "tiles", "gap", "overlap", "three", "one")[draw(0, 5)]
    length, count = shape[axis], 3 if layout == "three" else 2
    if not axes or room(build, stem) < count or not allowed(build, 2):
        return layer(build)
    cut = draw(1, length - 1)
    bounds = [(0, cut), (cut, length)]
    if layout == "gap" and cut + 1 < length:
        bounds[1] = (cut + 1, length)
    elif layout == "overlap" and cut > 1 and math.prod(shape) // length * (length + 1) <= MAX_ELEMENTS:
        bounds[1] = (cut - 1, length)
    elif layout == "three" and cut + 1 < length:
        bounds[1:] = [(cut, cut + 1), (cut + 1, length)]
    parts = [_slice(build, stem, axis, *bound) for bound in bounds]
    if not too_wide(build):
        parts[-1] = branch(build, parts[-1], build.shapes[parts[-1]][0])
    if layout == "one":
        build.last = parts[-1]
    else:
        concat(build, parts[::-1] if draw(0, 1) else parts, axis + 1)
    if build.shape == shape and room(build, stem) and draw(0, 1):
        add(build, (build.last, stem))
    if draw(0, 1):
        shuffle(build)
    return None


def _slice(build: Builder, source: str, axis: int, begin: int, end: int) -> str:
    shape = build.shapes[source]
    low = (0,) * axis + (begin,) + (0,) * (len(shape) - axis - 1)
    return build.add(Slice((source,), build.name(), low, (*shape[:axis], end, *shape[axis + 1 :])))


def shuffle(build: Builder) -> None:
    """Reshape, Transpose, Reshape: channel i of group g becomes channel g of group i."""
    channels, size = build.shape[0], build.shape[1:]
    groups = divisors(channels)[1:-1] or divisors(channels)[1:]
    if not groups:
        return layer(build)
    g = groups[build.draw(0, len(groups) - 1)]
    build.add(Reshape((build.last,), build.name(), (g, channels // g, *size)))
    build.add(Transpose((build.last,), build.name(), (0, 2, 1, *range(3, 3 + len(size)))))
    build.add(Reshape((build.last,), build.name(), (channels, *size)))
    return None


def normalised(build: Builder) -> None:
    """An affine or a local response normalisation, and an activation."""
    build.activation(plain(build, build.last))


def pooled(build: Builder) -> None:
    """A MaxPool or AveragePool of any geometry."""
    size = build.shape[1:]
    if not size:
        layer(build)
    elif build.draw(0, 1):
        build.max_pool(build.last, random_window(build.draw, size, pooling=True))
    else:
        build.average_pool(build.last, random_window(build.draw, size, pooling=True, dilated=False))


def padded(build: Builder) -> None:
    """A Pad on any axes, of zeros or of another constant."""
    draw, shape = build.draw, build.shape
    begin, end = [0] * len(shape), [0] * len(shape)
    axis = len(shape) - 1 - draw(0, len(shape) - 1)
    begin[axis], end[axis] = draw(0, 1), 1
    begin[draw(0, len(shape) - 1)] += draw(0, 1)
    if math.prod(b + n + e for b, n, e in zip(begin, shape, end, strict=True)) > MAX_ELEMENTS:
        return layer(build)
    value = (0.0, 0.0, 0.5)[draw(0, 2)]
    build.add(Pad((build.last,), build.name(), tuple(begin), tuple(end), value))
    return None


def long_skip(build: Builder) -> None:
    """An earlier tensor joins in: added where the shapes are equal, side by side where only the channels differ."""
    last, shape = build.last, build.shape
    added = [name for name in build.shapes if build.shapes[name] == shape and name != last and room(build, name)]
    beside = [
        name
        for name in build.shapes
        if build.shapes[name][1:] == shape[1:]
        and name not in (*added, last)
        and room(build, name)
        and build.shapes[name][0] + shape[0] <= widest(shape[1:])
    ]
    if not added + beside or not room(build, last):
        return residual(build)
    other = (added + beside)[build.draw(0, len(added + beside) - 1)]
    if max(build.joins[other], build.joins[last]) >= MAX_JOINS:
        return layer(build)
    return add(build, (last, other)) if other in added else concat(build, (other, last))


def pre_activated(build: Builder) -> None:
    """A normalisation beside a skip, where nothing can take it up: behind a layer, or in front of one."""
    draw = build.draw
    if too_wide(build) or not allowed(build, 1):
        return layer(build)
    width = build.shape[0]
    kept = convolution if len(build.shape) > 1 else vector_branch
    if draw(0, 1):
        stem = kept(build, build.last, width)
        body = build.activation(build.affine(stem))
    else:
        body = stem = build.affine(build.activation(build.last))
    return add(build, (kept(build, body, width), stem))


def dead_end(build: Builder) -> None:
    """A branch that no output needs."""
    stem = build.last
    if room(build, stem) < 2 or too_wide(build):
        return layer(build)
    branch(build, stem, 1)
    build.last = stem
    return None


STAGES: tuple[Stage, ...] = (
    layer,
    residual,
    parallel,
    downsampled,
    dense_block,
    split_unit,
    summed,
    normalised,
    pooled,
    padded,
    shuffle,
    long_skip,
    pre_activated,
    dead_end,
)
"""The simplest first: it is what a draw shrinks to."""
