"""Matrix products of two tensors become attention, where one of them is a softmax over what is summed; what makes such
weights is state (method, section 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mipin_ref.graph.channel_axes import told_axes
from mipin_ref.graph.draft import Contraction, Softmax
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.frozen import frozen_side, next_frozen, on_paths
from mipin_ref.graph.rewrites.laid_out import Laid, LaidOut
from mipin_ref.graph.rewrites.numbered import moved
from mipin_ref.graph.rewrites.over_features import by_location
from mipin_ref.graph.rewrites.repeated_heads import grouped
from mipin_ref.graph.rewrites.undone import undo_moves
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import (
    Affine,
    Attention,
    Conv,
    Gate,
    Gather,
    Layer,
    Reshape,
    Scores,
    Shape,
    Slice,
    SoftmaxWeights,
    TokenDense,
    Transpose,
    Where,
    Wired,
)


def settle_attention(wiring: Wiring, places: Mapping[str, int]) -> tuple[Problem, ...]:
    """Put an Attention in the place of each Contraction that is one, and what is met in state alone in that of others.

    places: of the nodes of the file, by output. Returns why, for each Contraction that signals would come back through
    and that is no attention; a Gap stands there.
    """
    contractions = [layer for layer in wiring.layers if isinstance(layer, Contraction)]
    told = _told(wiring) if contractions else {}
    reasons: dict[str, str] = {}
    made = list[str]()
    for layer in contractions:
        side = _weights(wiring, layer)
        if side is None:
            continue
        if side == 0:
            layer = grouped(wiring, layer)
        _settle(wiring, layer, side, told, made, reasons)
    while contractions and (frozen := next_frozen(wiring, reasons)) is not None:
        _settle(wiring, *frozen, told, made, reasons, softmax=False)
    for output in made:
        undo_moves(wiring, output)
    return _settle_state(wiring, reasons, places)


def _settle(
    wiring: Wiring,
    layer: Contraction,
    side: int,
    told: Mapping[str, int],
    made: list[str],
    reasons: dict[str, str],
    *,
    softmax: bool = True,
) -> None:
    """Put an Attention in the place of a product of which an operand is state; or note why it cannot be one.

    softmax: whether that operand is one over what is summed; of any other one only locations of the content may be
    summed, so that its features stay.
    """
    differ = _differing(wiring, layer, side, told, softmax=softmax)
    rank = len(layer.in_shapes[1 - side])
    keys, features = (rank - 2, rank - 1) if side == 0 else (rank - 1, rank - 2)
    heads = tuple(place for place in range(rank - 2) if differ[place])
    if softmax and differ[keys] and not differ[features]:
        layer, heads = by_location(wiring, layer, side), tuple(place + 1 for place in heads)
    elif differ[keys] or not (differ[features] or layer.in_shapes[1 - side][features] == 1 or not any(differ)):
        reason = f"it sums features of {layer.inputs[1 - side]!r}, not locations, and "
        reasons[layer.output] = reason + (
            "what it leaves are neither of them" if softmax else f"{layer.inputs[side]!r} is no softmax over them"
        )
        return
    made.append(_put(wiring, layer, side, heads))


def _settle_state(wiring: Wiring, reasons: Mapping[str, str], places: Mapping[str, int]) -> tuple[Problem, ...]:
    """Softmaxes and products that no path leads through become kinds of state; products on a path become Gaps."""
    paths, problems = on_paths(wiring), []
    for layer in [layer for layer in wiring.layers if isinstance(layer, Softmax | Contraction)]:
        if layer.output not in paths:
            state = _state(layer)
            if state is not None:
                wiring.replace(state)
        elif isinstance(layer, Contraction):
            a, b = layer.inputs
            reason = reasons.get(
                layer.output,
                f"it multiplies {a!r} and {b!r}, which both depend on the input, and neither is a softmax over what "
                "is summed: no attention",
            )
            problem = Problem(layer.label, reason, places.get(layer.output, 0))
            problems.append(problem)
            wiring.leave(layer, problem)
    return tuple(problems)


def _state(layer: Softmax | Contraction) -> Layer | None:
    """The kind of state that a layer of the draft is; None for what is none."""
    if isinstance(layer, Contraction):
        return Scores(
            name=layer.name,
            inputs=layer.inputs,
            output=layer.output,
            in_shapes=layer.in_shapes,
            out_shape=layer.out_shape,
        )
    axis = _normalised(layer)
    if layer.function != "Softmax" or axis is None:
        return None
    return SoftmaxWeights(
        name=layer.name,
        inputs=layer.inputs,
        output=layer.output,
        in_shapes=layer.in_shapes,
        out_shape=layer.out_shape,
        axis=axis + 1,
    )


def _normalised(layer: Softmax | SoftmaxWeights) -> int | None:
    """The axis of the sample over which a softmax normalises; None where these are several."""
    if isinstance(layer, SoftmaxWeights):
        return layer.axis - 1
    if layer.axis is not None:
        return layer.axis
    long = [axis for axis, length in enumerate(layer.out_shape) if length > 1]
    return None if len(long) > 1 or not layer.out_shape else (*long, len(layer.out_shape) - 1)[0]


def _weights(wiring: Wiring, layer: Contraction) -> int | None:
    """Which operand comes from a softmax over what is summed; None where none does, or both."""
    rank = len(layer.out_shape)
    answers = [_softmax_over(wiring, name, rank - 1 - side) for side, name in enumerate(layer.inputs)]
    return answers.index(True) if answers[0] != answers[1] else None


def _softmax_over(wiring: Wiring, name: str, axis: int) -> bool:
    """Whether a tensor is made of a softmax over its axis, counted without the batch, by moves, masks and factors, or
    by mixing what several heads have there, as talking heads do (Shazeer et al. 2020).
    """
    chain: list[Wired] = []
    while (layer := wiring.maker(name)) is not None:
        if isinstance(layer, Softmax | SoftmaxWeights):
            return _stays(layer, chain, axis)
        chain.append(layer)
        if isinstance(layer, Reshape | Transpose | Slice | Gather | Affine | Where | TokenDense) or _pointwise(layer):
            name = layer.inputs[0]
        elif isinstance(layer, Gate):
            # A mask is told for the content where the weights come from a softmax.
            made = [one for one in layer.inputs if _made_of_softmax(wiring, one)]
            if layer.function == "Div" and layer.inputs[0] in made:
                # Weights that are brought to a sum of one once more.
                made = [layer.inputs[0]]
            if len(made) != 1:
                return False
            name = made[0]
        else:
            return False
    return False


def _pointwise(layer: Wired) -> bool:
    return isinstance(layer, Conv) and layer.window.pointwise


def _made_of_softmax(wiring: Wiring, name: str) -> bool:
    while (layer := wiring.maker(name)) is not None and len(layer.inputs) == 1:
        if isinstance(layer, Softmax | SoftmaxWeights):
            return True
        name = layer.inputs[0]
    return False


def _stays(softmax: Softmax | SoftmaxWeights, chain: Sequence[Wired], axis: int) -> bool:
    """Whether what a softmax normalises over is, behind a chain of layers, that axis and no other."""
    normalised = _normalised(softmax)
    if normalised is None:
        return False
    shape = softmax.out_shape
    along = np.arange(shape[normalised], dtype=np.int32).reshape(-1, *(1,) * (len(shape) - normalised - 1))
    ids = moved(np.broadcast_to(along, shape), chain[::-1])
    alone = ids[tuple(slice(None) if i == axis else 0 for i in range(ids.ndim))]
    same = bool(np.all(ids == alone.reshape([-1 if i == axis else 1 for i in range(ids.ndim)])))
    return same and len({*alone.tolist()}) == len(alone)


def _differing(wiring: Wiring, layer: Contraction, side: int, told: Mapping[str, int], *, softmax: bool) -> list[bool]:
    """Of each axis of the content, whether its features differ along it; of none where nothing moves it, and nothing
    needs to tell.

    Two elements are of one feature where they come from the same one of the tensor in front of the moves. What a
    product without a softmax makes has the features of its own content.
    """
    name, rank = layer.inputs[1 - side], len(layer.in_shapes[1 - side])
    chain: list[Wired] = []
    while isinstance(one := wiring.maker(name), Reshape | Transpose | Slice | Gather):
        chain.append(one)
        name = one.input
    shape = chain[-1].in_shape if chain else layer.in_shapes[1 - side]
    axis = told.get(name, len(shape))
    product = wiring.maker(name)
    if not softmax and isinstance(product, Contraction) and (frozen := frozen_side(wiring, product)) is not None:
        axis = len(shape) - frozen
    elif not chain and (softmax or name not in told):
        return [False] * rank
    along = np.arange(shape[axis - 1], dtype=np.int32).reshape(-1, *(1,) * (len(shape) - axis))
    ids = moved(np.broadcast_to(along, shape), chain[::-1])
    return [bool(np.any(np.ptp(ids, axis=place))) for place in range(rank)]


def _put(wiring: Wiring, layer: Contraction, side: int, heads: tuple[int, ...]) -> str:
    """Put an Attention in the place of a product, between the moves that bring its operands to its form.

    Returns the tensor that it makes.
    """
    laid = LaidOut(wiring, layer.output)
    content, weights = (Laid(layer.inputs[i], layer.in_shapes[i]) for i in (1 - side, side))
    rank = len(content.shape)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if side == 1:
        content, weights = laid.turned(content, swapped), laid.turned(weights, swapped)
    *lead, keys, features = content.shape
    queries = weights.shape[-2]
    if all(weights.shape[axis] == 1 for axis in heads):
        apart: tuple[int, ...] = ()
    else:
        apart = heads
        weights = laid.repeated(weights, {axis: lead[axis] for axis in heads if weights.shape[axis] != lead[axis]})
    around = tuple(axis for axis in range(rank - 2) if axis not in heads)
    count = prod(lead[axis] for axis in apart)
    wide = prod(lead[axis] for axis in heads) * features
    turned = laid.turned(content, (*around, rank - 2, *heads, rank - 1))
    content = laid.shaped(turned, (*turned.shape[: len(around)], keys, wide))
    turned = laid.turned(weights, (*around, *heads, rank - 2, rank - 1))
    weights = laid.shaped(turned, (*turned.shape[: len(around)], count, queries, keys))
    spread = np.broadcast_shapes(content.shape[: len(around)], weights.shape[: len(around)])
    shape: Shape = (*spread, queries, wide)
    made = laid.placed(
        Attention(
            name=layer.name,
            inputs=(content.name, weights.name),
            output=laid.name("attention"),
            in_shapes=(content.shape, weights.shape),
            out_shape=shape,
            heads=count,
        )
    )
    parted = laid.shaped(made, (*spread, queries, *(lead[axis] for axis in heads), features))
    order = (*around, rank - 2, *heads, rank - 1)
    back = laid.turned(parted, tuple(int(place) for place in np.argsort(order)))
    if side == 1:
        back = laid.turned(back, swapped)
    laid.end(back, layer.output)
    return layer.output if back == made else made.name


def _told(wiring: Wiring) -> dict[str, int]:
    """The axes of channels, as far as layers tell."""
    layers = [layer for layer in wiring.layers if isinstance(layer, Layer)]
    readers: dict[str, list[tuple[Layer, int]]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, [])
        readers.setdefault(layer.output, [])
    for layer in layers:
        for slot, name in enumerate(layer.inputs):
            readers[name].append((layer, slot))
    return told_axes(layers, readers)
