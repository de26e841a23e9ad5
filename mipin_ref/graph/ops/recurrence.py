"""What LSTM, GRU and RNN are told alike: directions, weights and states; and what a candidate takes of the sequence."""

from __future__ import annotations

from collections.abc import Sequence, Set
from math import prod
from typing import NamedTuple

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.layers import HostArray, TokenDense
from mipin_ref.layers.recurrent.squash import NUMBERS, Squash

REVERSE = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


class Parameters(NamedTuple):
    """weight [D, B, H, C] of the sequence, recurrence [D, B, H, H] of the hidden state, and the biases that go with
    them [D, B, H]; B: blocks of rows, one a gate and the candidate's.
    """

    weight: HostArray
    recurrence: HostArray
    of_input: HostArray
    of_past: HostArray


def check_form(node: Node, draft: Draft, x: Signal) -> None:
    """Refused where the batch or the steps of a recurrent operator are not where they are followed."""
    if node.attributes.get("layout", 0):
        raise Refused("its layout is 1, which onnxruntime does not run: export it with layout 0")
    if len(x.shape) != 3 or x.axis != 1:
        raise Refused(
            f"the batch is axis {x.axis} of {readable(x.shape)}, and its steps are axis 0; a file of one sequence, "
            "without a batch, is one by option 'input_shape' with the sizes of all axes of the input"
        )
    if node.input(4):
        _check_lengths(node.input(4), draft, x)


def _check_lengths(name: str, draft: Draft, x: Signal) -> None:
    """Refused where lengths of samples are not the number of steps of x; others that are computed are written out
    before.
    """
    lengths, steps, rows = draft.constant(name), x.shape[0], prod(x.rows)
    if lengths is None or lengths.ndim != 1 or lengths.dtype.kind not in "iu" or np.any(lengths != steps):
        raise Refused(f"its lengths {name!r} are constants other than its {steps} steps{_advice(lengths, steps)}")
    if lengths.size not in ({rows} if name in draft.spread else {1, rows * (draft.file_batch or 1)}):
        raise Refused(f"its lengths {name!r} are of {lengths.size} samples")
    draft.alone = draft.alone or (draft.file_batch is None and name not in draft.spread)


def _advice(lengths: HostArray | None, steps: int) -> str:
    """What is wrong with constant lengths, and what to do."""
    if lengths is None or not lengths.size or np.any(lengths != lengths.flat[0]):
        return ": make them an input where samples differ"
    length = int(lengths.flat[0])
    if length == 0:
        return ", all 0, so that no sample has a step"
    if 0 < length < steps:
        return f", all {length}: cut its sequence to as many"
    return f", all {length}, and lengths go from 0 to {steps}"


def directions_of(node: Node) -> tuple[bool, ...]:
    """Of each direction whether it goes back. Refused where ONNX has no such direction."""
    direction = node.attributes.get("direction", "forward")
    if direction not in REVERSE:
        raise Refused(f"its direction is {direction!r}")
    return REVERSE[direction]


def activations_of(node: Node) -> list[str]:
    """The names of the activations that it is told; none where it has ONNX's own."""
    return [name.decode() if isinstance(name, bytes) else str(name) for name in node.attributes.get("activations", ())]


def functions_of(node: Node, usual: Sequence[str], directions: int, followed: Sequence[Set[str]]) -> list[Squash]:
    """The functions of a layer, in ONNX's order. usual: where it is told none; followed: at each place. Refused where
    directions differ in them, or where one is of another kind.
    """
    names, count = activations_of(node) or [*usual] * directions, len(usual)
    known = {name.lower(): name for names in followed for name in names}
    told = [known.get(name.lower(), name) for name in names]
    if len(told) != count * directions or any(name not in followed[i % count] for i, name in enumerate(told)):
        wanted = "; ".join(" or ".join(sorted(one)) for one in followed)
        raise Refused(f"its activations are {', '.join(names)}; followed are {wanted}")
    numbers = {name: list(node.attributes.get(f"activation_{name}", ())) for name in ("alpha", "beta")}
    made = []
    for name in told:
        options = NUMBERS.get(name, {})
        given = {key: float(numbers[key].pop(0)) for key in options if numbers[key]}
        made.append(Squash(name, tuple({**options, **given}.items())))
    if made != made[:count] * directions:
        raise Refused("its directions differ in their activations")
    return made[:count]


def parameters_of(node: Node, draft: Draft, x: Signal, directions: int, blocks: int) -> Parameters:
    """Weights and biases. Refused where they do not fit the sequence x [T, N, C] or each other."""
    features = x.sample[-1]
    weight, recurrence = draft.weight(node.inputs[1]), draft.weight(node.inputs[2])
    size = recurrence.shape[-1]
    shapes = ((directions, blocks * size, features), (directions, blocks * size, size))
    if (weight.shape, recurrence.shape) != shapes:
        raise Refused(f"weights of shape {weight.shape} and {recurrence.shape} do not fit {readable(x.shape)}")
    bias = draft.weight(node.input(3)) if node.input(3) else np.zeros((directions, 2 * blocks * size), draft.dtype)
    if bias.shape != (directions, 2 * blocks * size):
        raise Refused(f"its bias of shape {bias.shape} does not fit {directions} directions of {size} units")
    of_input, of_past = (part.reshape(directions, blocks, size) for part in np.split(bias, 2, axis=1))
    return Parameters(
        weight.reshape(directions, blocks, size, features),
        recurrence.reshape(directions, blocks, size, size),
        of_input,
        of_past,
    )


def taken_of(node: Node, draft: Draft, x: Signal, weight: HostArray) -> tuple[Signal, HostArray]:
    """What a candidate takes of the sequence x [T, N, C], and its weights [D, H, C].

    Of a Concat whose last parts have weights of zero the first, as where a feature tells that a sample is over.
    """
    joined = draft.makers.get(node.inputs[0])
    if joined is None or joined.op != "Concat" or joined.inputs[0] not in draft.signals:
        return x, weight
    first = draft.signals[joined.inputs[0]]
    if int(joined.attributes["axis"]) not in (2, -1) or first.shape[:-1] != x.shape[:-1] or first.layout != x.layout:
        return x, weight
    features = first.sample[-1]
    return (x, weight) if np.any(weight[..., features:]) else (first, weight[..., :features])


def add_candidate(draft: Draft, name: str, x: Signal, weight: HostArray, bias: HostArray) -> Signal:
    """Draft W x + b of all steps [T, D · H]. weight: [D, H, C]; bias: [D, H]."""
    directions, size, features = weight.shape
    width = directions * size
    draft.add(
        TokenDense(
            name=name,
            inputs=(x.name,),
            output=name,
            in_shapes=(x.sample,),
            out_shape=(*x.sample[:-1], width),
            weight=np.ascontiguousarray(weight.reshape(width, features).T),
            bias=bias.reshape(width),
            axis=len(x.sample),
            inner=True,
        ),
        axis=1,
        rows=x.rows,
    )
    return draft.signals[name]


def initial_state(node: Node, draft: Draft, place: int, x: Signal, directions: int, size: int) -> HostArray | Signal:
    """The state before the first step of x: [D, H] for all samples, or the tensor that holds it."""
    name = node.input(place)
    if name in draft.signals:
        given = draft.signals[name]
        if given.sample != (directions, *x.sample[1:-1], size) or given.layout != x.layout:
            raise Refused(f"its initial state {name!r} is {readable(given.shape)}")
        return given
    if not name:
        return np.zeros((directions, size), draft.dtype)
    value = draft.weight(name)
    if value.ndim != 3 or (value.shape[0], value.shape[2]) != (directions, size):
        raise Refused(f"its initial state {name!r} of shape {value.shape} does not fit {directions} directions")
    if np.any(value != value[:, :1]):
        raise Refused(f"its initial state {name!r} differs from sample to sample")
    rows = prod(x.rows)
    if value.shape[1] not in ({rows} if name in draft.spread else {1, rows * (draft.file_batch or 1)}):
        raise Refused(f"its initial state {name!r} is for {value.shape[1]} samples")
    draft.alone = draft.alone or (draft.file_batch is None and name not in draft.spread)
    return value[:, 0]
