"""Stages of what holds state or reads tokens: gates, extrema, signs, normalisations, Dense on tokens, partial means.

A Relu stands on either side of each, so that nothing of them dissolves into a neighbour, and what is gated comes from
no Sigmoid.
"""

from __future__ import annotations

import math

from mipin_ref.layers import GRU, KINDS, LSTM, Attention, Scores, SoftmaxWeights
from tests.networks.branches import convolution
from tests.networks.builder import MAX_ELEMENTS, Builder, float32
from tests.networks.geometry_stages import GEOMETRY_STAGES, relu
from tests.networks.norms import EPSILON
from tests.networks.stages import STAGES, Stage, allowed, layer, room, too_wide
from tests.oracles.spec import (
    Activation,
    Add,
    Difference,
    Extremum,
    Gate,
    GlobalAveragePool,
    Negative,
    Norm,
    Reduce,
    Shape,
    TokenDense,
    Transpose,
    window,
)


def _mixed(build: Builder, source: str, channels: int | None = None) -> str:
    """A Conv of the same map, or a Dense: `channels` of it, by default as many as there are."""
    wanted = build.shapes[source][0] if channels is None else channels
    return convolution(build, source, wanted) if len(build.shapes[source]) > 1 else build.dense(source, wanted)


def gated(build: Builder) -> None:
    """A tensor, or a layer of it, times a gate of each element, place or channel; or divided by one."""
    draw = build.draw
    if too_wide(build) or not allowed(build, 1) or room(build, build.last) < 2:
        return layer(build)
    stem = relu(build)
    content = stem if draw(0, 1) and not squashed(build, stem) else relu_of(build, _mixed(build, stem))
    source, rank = stem, len(build.shapes[stem]) - 1
    kind = draw(0, 2) if rank else 0
    if kind == 1:
        made = build.conv(source, 1, window((1,) * rank))
    elif kind == 2:
        pooled = build.add(GlobalAveragePool((source,), build.name()))
        made = build.conv(pooled, build.shapes[stem][0], window((1,) * rank))
    else:
        made = _mixed(build, source)
    function = ("Mul", "Mul", "Div")[draw(0, 2)]
    squash = "Softplus" if function == "Div" else ("Sigmoid", "HardSigmoid", "Tanh")[draw(0, 2)]
    gate = build.add(Activation((made,), build.name(), squash))
    build.add(Gate((content, gate), build.name(), function, function == "Mul" and bool(draw(0, 1))))
    if draw(0, 1) and room(build, stem):
        build.add(Add((build.last, stem), build.name()))
    relu(build)
    return None


def squashed(build: Builder, name: str) -> bool:
    """Whether a tensor comes of a Sigmoid and the like through operators of one operand, as gates do."""
    maker = {op.output: op for op in build.ops}
    while name in maker and len(maker[name].inputs) == 1:
        op = maker[name]
        if isinstance(op, Activation) and op.kind in ("Sigmoid", "HardSigmoid", "Tanh"):
            return True
        name = op.inputs[0]
    return False


def relu_of(build: Builder, source: str) -> str:
    return build.add(Activation((source,), build.name(), "Relu"))


def largest(build: Builder) -> None:
    """The larger or smaller of two or three layers of a tensor, perhaps of the tensor itself."""
    draw = build.draw
    if too_wide(build) or not allowed(build, 1):
        return layer(build)
    stem = relu(build)
    parts = [_mixed(build, stem) for _ in range(draw(1, 2))] + [stem if draw(0, 1) else _mixed(build, stem)]
    build.add(Extremum(tuple(parts[::-1] if draw(0, 1) else parts), build.name(), ("Max", "Min")[draw(0, 1)]))
    relu(build)
    return None


def signed(build: Builder) -> None:
    """A difference of two layers, of a layer and the tensor, or of a map and its means; or the negative."""
    draw = build.draw
    if too_wide(build) or not allowed(build, 1) or room(build, build.last) < 2:
        return layer(build)
    stem = relu(build)
    match draw(0, 3):
        case 0:
            build.add(Negative((_mixed(build, stem),), build.name()))
            build.activation(build.last)
            return None
        case 1:
            parts = [_mixed(build, stem), _mixed(build, stem)]
        case 2 if len(build.shapes[stem]) > 1:
            pooled = build.add(GlobalAveragePool((stem,), build.name()))
            parts = [
                _mixed(build, stem),
                build.conv(pooled, build.shapes[stem][0], window((1,) * (len(build.shape) - 1))),
            ]
        case _:
            parts = [_mixed(build, stem), stem]
    build.add(Difference((parts[0], parts[1]) if draw(0, 1) else (parts[1], parts[0]), build.name()))
    relu(build)
    return None


def normed(build: Builder) -> None:
    """A normalisation over the channels, the map, groups of channels, or all; perhaps beside the tensor."""
    draw = build.draw
    stem = relu(build)
    channels, *size = build.shape
    every = tuple(range(1, len(size) + 2))
    choices: list[tuple[Shape, int]] = [((1,), 0)] if channels > 1 else []
    # Over the one axis of a map of one channel it is a LayerNorm: the file does not tell them apart.
    if math.prod(size) > 1 and (channels > 1 or len(size) > 1):
        choices.append((every[1:], 0))
    if size and channels > 1 and channels % 2 == 0:
        choices.append((every, 2))
    if not choices:
        return layer(build)
    axes, groups = choices[draw(0, len(choices) - 1)]
    alone = (channels, *(1 for _ in size))
    scale, shift = float32(0.5 + build.rng.random(alone)), build.normal(alone, 0.3)
    centred = bool(draw(0, 2)) or groups > 0
    build.add(Norm((stem,), build.name(), axes, scale, shift, 1, centred, EPSILON, groups))
    if draw(0, 1) and allowed(build, 1) and room(build, stem):
        build.add(Add((_mixed(build, build.last), stem), build.name()))
    relu(build)
    return None


def tokens(build: Builder) -> None:
    """The channels of a map last and a Dense on them, normalised before or beside the stream; or along the map."""
    draw, (channels, *size) = build.draw, build.shape
    if not size or not allowed(build, 1):
        return layer(build)
    stem, last = relu(build), len(size) + 1
    there, back = (0, *range(2, last + 1), 1), (0, last, *range(1, last))
    if draw(0, 3) == 3:
        axis = draw(max(2, last - 1), last)
        length = size[axis - 2]
        build.add(_token_dense(build, stem, length, length, axis))
        relu(build)
        return None
    stream = build.add(Transpose((stem,), build.name(), there))
    name = stream
    if channels > 1 and draw(0, 1):
        alone = (*(1 for _ in size), channels)
        scale, shift = float32(0.5 + build.rng.random(alone)), build.normal(alone, 0.3)
        name = build.add(Norm((stream,), build.name(), (last,), scale, shift, last, epsilon=EPSILON))
    wide = draw(1, max(1, min(4, MAX_ELEMENTS // math.prod(size))))
    hidden = relu_of(build, build.add(_token_dense(build, name, channels, wide, last)))
    made = build.add(_token_dense(build, hidden, wide, channels, last))
    if draw(0, 1):
        made = build.add(Add((made, stream), build.name()))
    build.add(Transpose((relu_of(build, made),), build.name(), back))
    relu(build)
    return None


def _token_dense(build: Builder, source: str, inputs: int, outputs: int, axis: int) -> TokenDense:
    weight = build.normal((inputs, outputs), math.sqrt(2 / inputs))
    return TokenDense((source,), build.name(), weight, build.normal((outputs,), 0.1), axis)


def reduced(build: Builder) -> None:
    """The mean or the sum over one axis of a map, which has more than one entry: of one it is no op."""
    draw, (_, *size) = build.draw, build.shape
    long = [axis for axis, length in enumerate(size, 2) if length > 1]
    if len(size) < 2 or not long:
        return layer(build)
    stem = _mixed(build, relu(build))
    build.add(Reduce((relu_of(build, stem),), build.name(), (long[draw(0, len(long) - 1)],), bool(draw(0, 1))))
    build.conv(relu(build), build.shape[0], window((1,) * len(size)))
    relu(build)
    return None


STATE_STAGES: tuple[Stage, ...] = (layer, gated, largest, signed, normed, tokens, reduced)
EVERY_STAGE: tuple[Stage, ...] = (*STAGES, *GEOMETRY_STAGES[1:], *STATE_STAGES[1:])
"""Of which all kinds of layer are drawn, but those with networks of their own."""
DRAWN = frozenset(KINDS) - {Attention, SoftmaxWeights, Scores, LSTM, GRU}
"""The others are in the networks of attention.py and recurrent.py beside this file."""
