"""LSTM and GRU forward as ONNX: the operator itself, which takes the candidate's share of the sequence as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mipin_ref.layers.kind import HostArray, Shape, Writer
from mipin_ref.layers.recurrent.squash import attributes_of

if TYPE_CHECKING:
    from mipin_ref.layers.recurrent.kind import Recurrent


def emit_operator(layer: Recurrent, writer: Writer, attributes: Mapping[str, Any]) -> None:
    """Nodes for the layer: time in front of the batch, as ONNX has it, and back. Several sequences of a sample are as
    many samples there.

    The operator reads the sequence and, beside it, the first input, which its candidate takes one by one: products with
    ones and zeros are exact.
    """
    steps, directions, size, output = layer.steps, len(layer.reverse), layer.size, layer.output
    turned = [
        _time_first(layer, writer, layer.inputs[slot], role) for slot, role in ((1, "sequence"), (0, "candidate"))
    ]
    joined = writer.inner("joined")
    writer.append("Concat", turned, joined, axis=2)
    weight = writer.weight("weight", _beside(layer))
    recurrence = writer.weight("recurrence", layer.recurrence.reshape(directions, -1, size))
    bias = layer.bias.reshape(directions, -1)
    biases = writer.weight("bias", np.concatenate([np.zeros_like(bias), bias], axis=1))
    states = [_initial(layer, writer, "hidden", joined)]
    if layer.kind == "LSTM":
        states.append(_initial(layer, writer, "cell", joined))
    if "peepholes" in layer.arrays:
        states.append(writer.weight("peepholes", layer.arrays["peepholes"].reshape(directions, -1)))
    while states and not states[-1]:
        del states[-1]
    given = [joined, weight, recurrence, biases, *(["", *states] if states else [])]
    made, first, cell = writer.inner("made"), writer.inner("samples first"), writer.inner("cell")
    outputs = [made, "", cell] if layer.last else [made]
    if layer.functions != layer.usual:
        attributes = {**attributes, **attributes_of(layer.functions, directions)}
    writer.several(layer.kind, given, outputs, hidden_size=size, direction=layer.direction, **attributes)
    if layer.rows:
        made = _several(layer, writer, made, (steps, directions))
    writer.append("Transpose", [made], first, perm=(2, 0, 3, 1, 4) if layer.rows else (2, 0, 1, 3))
    whole = writer.inner("steps") if layer.last else output
    writer.append("Reshape", [first, writer.whole("shape", 0, steps, *layer.rows, directions * size)], whole)
    if layer.last:
        cells, row = writer.inner("cells first"), writer.inner("row")
        if layer.rows:
            cell = _several(layer, writer, cell, (directions,))
        writer.append("Transpose", [cell], cells, perm=(1, 2, 0, 3) if layer.rows else (1, 0, 2))
        writer.append("Reshape", [cells, writer.whole("row shape", 0, 1, *layer.rows, directions * size)], row)
        writer.append("Concat", [whole, row], output, axis=1)


def _time_first(layer: Recurrent, writer: Writer, source: str, role: str) -> str:
    """A tensor [n, T, C] as [T, n, C], or [n, T, R, C] as [T, n·R, C]."""
    name = writer.inner(role)
    if not layer.rows:
        writer.append("Transpose", [source], name, perm=(1, 0, 2))
        return name
    first = writer.inner(f"{role} first")
    writer.append("Transpose", [source], first, perm=(1, 0, 2, 3))
    (of_source,) = {shape for one, shape in zip(layer.inputs, layer.in_shapes, strict=True) if one == source}
    writer.append("Reshape", [first, writer.whole(f"{role} rows", of_source[0], -1, of_source[-1])], name)
    return name


def _several(layer: Recurrent, writer: Writer, tensor: str, front: Shape) -> str:
    """A tensor [*front, n·R, H] as [*front, n, R, H]."""
    name = writer.inner(f"sequences of {tensor}")
    writer.append("Reshape", [tensor, writer.whole(f"{name} shape", *front, -1, *layer.rows, layer.size)], name)
    return name


def _beside(layer: Recurrent) -> HostArray:
    """The input weights [D, (gates + 1) · H, C + D·H]: the gates' of the sequence, ones for the candidate's share."""
    directions, gates, size, features = layer.weight.shape
    whole = np.zeros((directions, gates + 1, size, features + directions * size), layer.weight.dtype)
    whole[:, :gates, :, :features] = layer.weight
    for direction in range(directions):
        part = layer.part(direction)
        whole[direction, gates, :, features + part.start : features + part.stop] = np.eye(size)
    return whole.reshape(directions, (gates + 1) * size, -1)


def _initial(layer: Recurrent, writer: Writer, name: str, sequence: str) -> str:
    """An initial state [D, n, H]; '' where it is zero."""
    made = writer.inner(f"initial {name}")
    if name in layer.computed:
        return _time_first(layer, writer, layer.inputs[2 + layer.computed.index(name)], f"initial {name}")
    value: HostArray = getattr(layer, name)
    if not np.any(value):
        return ""
    sizes, batch, whole = (writer.inner(f"{name} {role}") for role in ("sizes", "batch", "shape"))
    writer.append("Shape", [sequence], sizes)
    ends = (writer.whole(f"{name} begin", 1), writer.whole(f"{name} end", 2))
    writer.append("Slice", [sizes, *ends], batch)
    directions, size = value.shape
    writer.append(
        "Concat", [writer.whole(f"{name} D", directions), batch, writer.whole(f"{name} H", size)], whole, axis=0
    )
    writer.append("Expand", [writer.weight(f"{name} value", value[:, None]), whole], made)
    return made
