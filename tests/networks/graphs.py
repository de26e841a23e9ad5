"""Small random networks that branch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.networks.branches import WIDE, branch
from tests.networks.builder import MAX_ELEMENTS, Builder, Draw, Network, random_input_shape, random_window
from tests.networks.folding import guarded
from tests.networks.stages import STAGES, Stage, add, allowed, concat, layer, parallel, room
from tests.oracles.spec import Add, Concat, GlobalAveragePool, Reshape, Transpose, window

MAX_STAGES = 5


def flatten(build: Builder, name: str) -> str:
    return build.add(Reshape((name,), build.name(), (math.prod(build.shapes[name]),)))


def to_vector(build: Builder) -> None:
    """Flatten, perhaps behind a GlobalAveragePool, an AveragePool or a Transpose; or two such ways that are joined."""
    draw, stem = build.draw, build.last
    rank = len(build.shape) - 1
    match draw(0, 5):
        case 1:
            build.add(GlobalAveragePool((stem,), build.name()))
        case 2:
            build.average_pool(stem, random_window(draw, build.shape[1:], pooling=True, dilated=False))
        case 3:
            build.add(Transpose((stem,), build.name(), (0, *range(2, rank + 2), 1)))
        case 4 | 5 if room(build, stem) > 1 and allowed(build, 1):
            return two_ways(build)
        case _:
            pass
    flatten(build, build.last)
    return None


def two_ways(build: Builder) -> None:
    """A Flatten and a way through a Conv or pool, both of one tensor, joined as vectors."""
    draw, stem = build.draw, build.last
    size = build.shape[1:]
    first = flatten(build, stem)
    second = branch(build, stem, draw(1, 2), 2 if max(size) > 2 else 1)
    if draw(0, 1):
        second = build.add(GlobalAveragePool((second,), build.name()))
    second = flatten(build, second)
    if draw(0, 1) and build.shapes[first][0] + build.shapes[second][0] <= MAX_ELEMENTS:
        concat(build, (first, second))
    else:
        features = draw(2, 4)
        add(build, (build.dense(first, features), build.dense(second, features)))


def logits(build: Builder) -> None:
    """3 or 4 classes: a Dense, or two of them added or side by side; on maps a 1-convolution and its mean."""
    draw, stem, classes = build.draw, build.last, build.draw(3, 4)
    size = build.shape[1:]
    if size:
        build.conv(stem, classes, window((1,) * len(size)))
        build.add(GlobalAveragePool((build.last,), build.name()))
        flatten(build, build.last)
        return
    kind = draw(0, 5)
    if kind < 4 or room(build, stem) < 2 or not allowed(build, 1):
        build.dense(stem, classes)
    elif kind == 4:
        build.add(Add((build.dense(stem, classes), build.dense(stem, classes)), build.name()))
    else:
        build.add(Concat((build.dense(stem, 1), build.dense(stem, classes - 1)), build.name()))


def random_graph(
    draw: Draw, *, ranks: Sequence[int] = (2, 1, 3, 0), foldable: bool = False, stages: Sequence[Stage] = STAGES
) -> Network:
    """A small network with branches: 1 to 5 stages of any kind, a way to vectors, 0 to 2 stages on these, logits.

    A tensor has at most MAX_ELEMENTS elements and MAX_READERS readers and lies behind at most MAX_JOINS joins.
    draw: see Draw; ranks: spatial ranks of the input to choose from (0: vectors); foldable: whether a ChannelAffine or
    Pad may stand where a reader can dissolve it into its neighbour, which takes tensors of the file away; by default a
    Relu keeps them apart; stages: that are drawn from.
    """
    build = Builder(draw, random_input_shape(draw, ranks[draw(0, len(ranks) - 1)]))
    for _ in range(draw(1, MAX_STAGES)):
        stages[draw(0, len(stages) - 1)](build)
    if len(build.shape) == 1 or draw(0, 5) < 5 or 4 * math.prod(build.shape[1:]) > MAX_ELEMENTS:
        if len(build.shape) > 1:
            to_vector(build)
        for _ in range(draw(0, 2)):
            (layer, parallel)[draw(0, 1)](build) if build.shape[0] > WIDE else STAGES[draw(0, len(STAGES) - 1)](build)
    logits(build)
    ops = build.ops if foldable else guarded(build.ops)
    return Network(tuple(ops), build.input_shape)


@st.composite
def graphs(
    draw: st.DrawFn, ranks: Sequence[int] = (2, 1, 3, 0), foldable: bool = False, stages: Sequence[Stage] = STAGES
) -> Network:
    """random_graph as a Hypothesis strategy."""
    return random_graph(lambda low, high: draw(st.integers(low, high)), ranks=ranks, foldable=foldable, stages=stages)
