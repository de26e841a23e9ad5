"""Small random chains."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.networks.builder import (
    MAX_ELEMENTS,
    Builder,
    Draw,
    Network,
    divisors,
    random_input_shape,
    random_window,
)
from tests.oracles.spec import Reshape, Transpose


def conv_stage(build: Builder) -> None:
    """A Conv of any geometry, an activation, and perhaps a MaxPool before or after that."""
    draw = build.draw
    channels, size = build.shape[0], build.shape[1:]
    geometry = random_window(draw, size, pooling=False)
    room = max(1, MAX_ELEMENTS // math.prod(geometry.output_size(size)))
    groups = [g for g in divisors(channels) if g <= room]
    g = groups[draw(0, len(groups) - 1)]
    build.conv(build.last, g * draw(1, max(1, min(4, room) // g)), geometry, g)
    pool = ("none", "after", "before", "after")[draw(0, 3)]
    if pool == "before":
        build.max_pool(build.last, random_window(draw, build.shape[1:], pooling=True))
    build.activation(build.last)
    if pool == "after":
        build.max_pool(build.last, random_window(draw, build.shape[1:], pooling=True))


def _dense_head(build: Builder) -> Network:
    """Flatten, perhaps behind a Transpose, perhaps a hidden Dense, and a Dense with 3 or 4 outputs."""
    draw = build.draw
    rank = len(build.shape) - 1
    if rank:
        if draw(0, 3) == 3:
            build.add(Transpose((build.last,), build.name(), (0, *range(2, rank + 2), 1)))
        build.add(Reshape((build.last,), build.name(), (math.prod(build.shape),)))
    if draw(0, 1):
        build.dense(build.last, draw(2, 8))
        build.activation(build.last)
    build.dense(build.last, draw(3, 4))
    return Network(tuple(build.ops), build.input_shape)


def random_chain(draw: Draw, *, ranks: Sequence[int] = (0, 2, 1, 3)) -> Network:
    """A small chain: 0 to 2 conv stages (conv, activation, perhaps MaxPool), flatten, 1 or 2 Dense.

    draw: see Draw; ranks: spatial ranks of the input to choose from (0: an MLP on vectors).
    """
    build = Builder(draw, random_input_shape(draw, ranks[draw(0, len(ranks) - 1)]))
    if len(build.shape) > 1:
        for _ in range(draw(0, 2)):
            conv_stage(build)
    return _dense_head(build)


@st.composite
def chains(draw: st.DrawFn, ranks: Sequence[int] = (0, 2, 1, 3)) -> Network:
    """random_chain as a Hypothesis strategy: geometry shrinks integer by integer, weights by their one seed."""
    return random_chain(lambda low, high: draw(st.integers(low, high)), ranks=ranks)
