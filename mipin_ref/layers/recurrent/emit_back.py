"""The way back through an LSTM or GRU as ONNX: gates at all steps at once, and the steps by doubling.

S(C_t) = a_t + F_t ⊙ S(C_{t+1}) of T steps takes ⌈log₂ T⌉ rounds, whatever T: a_t ← a_t + F_t ⊙ a_{t+k},
F_t ← F_t ⊙ F_{t+k} for k = 1, 2, 4, … (Hillis and Steele, Data Parallel Algorithms, 1986).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipin_ref.layers.kind import BackWriter

if TYPE_CHECKING:
    from mipin_ref.layers.recurrent.kind import Recurrent


def emit_gates(layer: Recurrent, writer: BackWriter) -> str:
    """The gates [n, gates, T, D·H] of recorded values."""
    parts, rank = [], len(layer.in_shape) + 1
    shape = (*layer.in_shape[:-1], layer.gates, layer.size)
    for direction in range(len(layer.reverse)):
        total = sums(layer, writer, hidden_before(layer, writer, direction), direction)
        made = writer.append(layer.opening.name, [total], "gates", **dict(layer.opening.options))
        apart = writer.append("Reshape", [made, writer.whole("apart", 0, *shape)], "apart")
        parts.append(writer.append("Transpose", [apart], "turned", perm=(0, rank - 1, *range(1, rank - 1), rank)))
    return writer.append("Concat", parts, "directions", axis=rank) if len(parts) > 1 else parts[0]


def hidden_before(layer: Recurrent, writer: BackWriter, direction: int) -> str:
    """The hidden state before each step of a direction, [n, T, H]."""
    begin, end = (1, layer.steps) if layer.reverse[direction] else (0, layer.steps - 1)
    y, size = writer.value(layer.output), layer.size
    own = cut(writer, y, direction * size, (direction + 1) * size, features(layer))
    return _behind_first(layer, writer, cut(writer, own, begin, end, 1) if layer.steps > 1 else "", direction)


def sums(layer: Recurrent, writer: BackWriter, before: str, direction: int) -> str:
    """What the gates of a direction take of sequence, hidden state and bias, [n, T, gates · H]."""
    x, size, count = writer.value(layer.inputs[1]), layer.size, layer.gates
    given = layer.weight[direction].reshape(count * size, -1).T
    recurrent = layer.recurrence[direction, :count].reshape(count * size, size).T
    total = writer.append("MatMul", [x, writer.weight("gates", given)], "of sequence")
    past = writer.append("MatMul", [before, writer.weight("recurrence", recurrent)], "of past")
    total = writer.append("Add", [total, past], "with past")
    return writer.append("Add", [total, writer.weight("bias", layer.bias[direction, :count].reshape(-1))], "sum")


def _behind_first(layer: Recurrent, writer: BackWriter, rest: str, direction: int) -> str:
    """The hidden state before each step [n, T, H]: the initial one, and `rest` [n, T - 1, H], '' where T is 1."""
    backwards = layer.reverse[direction]
    if "hidden" in layer.computed:
        given = writer.value(layer.inputs[2 + layer.computed.index("hidden")])
        first = cut(writer, given, direction, direction + 1, 1)
    else:
        # Of as many samples as there are.
        some = cut(writer, cut(writer, writer.value(layer.output), 0, 1, 1), 0, layer.size, features(layer))
        none = writer.append("Sub", [some, some], "none")
        first = writer.append("Add", [none, writer.weight("initial", layer.hidden[direction])], "first")
    if not rest:
        return first
    return writer.append("Concat", [rest, first] if backwards else [first, rest], "before", axis=1)


def emit_through_time(layer: Recurrent, writer: BackWriter, signal: str) -> str:
    """Signals [2n, T, D·H], or with a row for the last cell, back at the candidate [2n, T, D·H]."""
    steps, shape, state = layer.steps, layer.in_shape, writer.state()
    gates = []
    for gate in range(layer.gates):
        one = cut(writer, state, gate, gate + 1, 1)
        gates.append(writer.append("Squeeze", [one, writer.whole("gate axis", 1)], "gate"))
    enter, carry = layer.flows(gates)
    entered = cut(writer, signal, 0, steps, 1) if layer.last else signal
    if enter is not None:
        entered = writer.times(entered, enter, shape)
    parts = []
    for direction in range(len(layer.reverse)):
        size = layer.size
        place = direction * size, (direction + 1) * size
        flow, factor = cut(writer, entered, *place, features(layer)), cut(writer, carry, *place, features(layer))
        if layer.last:
            cell = cut(writer, cut(writer, signal, steps, steps + 1, 1), *place, features(layer))
            flow = writer.append(
                "Add", [flow, _padded(layer, writer, cell, steps - 1, behind=layer.reverse[direction])], "with cell"
            )
        parts.append(_doubled(layer, writer, flow, factor, direction))
    joined = writer.append("Concat", parts, "directions", axis=features(layer)) if len(parts) > 1 else parts[0]
    return writer.times(joined, layer.emit_leaving(writer, gates), shape)


def _doubled(layer: Recurrent, writer: BackWriter, flow: str, factor: str, direction: int) -> str:
    """S(C) [2n, T, H] of what enters each step and the factor of the step after it."""
    steps, around, backwards = layer.steps, (*layer.rows, layer.size), layer.reverse[direction]
    reach = 1
    if steps > 1:
        factor = cut(writer, factor, *((0, steps - 1) if backwards else (1, steps)), 1)
    while reach < steps:
        left = steps - reach
        moved = cut(writer, flow, *((0, left) if backwards else (reach, steps)), 1)
        moved = writer.times(moved, factor, (left, *around))
        flow = writer.append("Add", [flow, _padded(layer, writer, moved, reach, behind=not backwards)], "flow")
        if left > reach:
            both = [cut(writer, factor, 0, left - reach, 1), cut(writer, factor, reach, left, 1)]
            factor = writer.append("Mul", both, "factor")
        reach *= 2
    return flow


def _padded(layer: Recurrent, writer: BackWriter, signal: str, missing: int, *, behind: bool) -> str:
    """A signal with zeros at so many steps more, behind it or in front."""
    if not missing:
        return signal
    along, none = (0, missing, *(0 for _ in layer.in_shape[1:])), (0,) * (len(layer.in_shape) + 1)
    ends = (none, along) if behind else (along, none)
    return writer.append("Pad", [signal, writer.whole("pads", *ends[0], *ends[1])], "padded")


def features(layer: Recurrent) -> int:
    """The axis of the features, in [n, T, D·H] as in [n, T, R, D·H]."""
    return len(layer.in_shape)


def cut(writer: BackWriter, tensor: str, begin: int, end: int, axis: int) -> str:
    """A box of a tensor along one axis."""
    ends = writer.whole("begin", begin), writer.whole("end", end), writer.whole("axis", axis)
    return writer.append("Slice", [tensor, *ends], "cut")
