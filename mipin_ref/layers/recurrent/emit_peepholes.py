"""Gates that see the cell as ONNX: step by step, as each cell is made of the gates before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipin_ref.layers.kind import BackWriter
from mipin_ref.layers.recurrent.emit_back import cut, features, hidden_before, sums

if TYPE_CHECKING:
    from mipin_ref.layers.recurrent.lstm import LSTM


def emit_seeing_gates(layer: LSTM, writer: BackWriter) -> str:
    """The gates [n, 3, T, D·H] of an LSTM with peepholes, of recorded values."""
    parts = [_direction(layer, writer, direction) for direction in range(len(layer.reverse))]
    return writer.append("Concat", parts, "directions", axis=features(layer) + 1) if len(parts) > 1 else parts[0]


def _direction(layer: LSTM, writer: BackWriter, direction: int) -> str:
    """Those of one direction, [n, 3, T, H]."""
    size, before = layer.size, hidden_before(layer, writer, direction)
    total = sums(layer, writer, before, direction)
    last = features(layer)
    own = cut(writer, writer.value(layer.inputs[0]), direction * size, (direction + 1) * size, last)
    recurrent = writer.weight("candidate", layer.recurrence[direction, -1].T)
    past = writer.append("MatMul", [before, recurrent], "candidate of past")
    past = writer.append("Add", [past, writer.weight("candidate bias", layer.bias[direction, -1])], "candidate past")
    total_own, renewing = writer.append("Add", [own, past], "candidate sum"), layer.renewing
    candidates = writer.append(renewing.name, [total_own], "candidates", **dict(renewing.options))
    cell, made = _initial(layer, writer, before, direction), {}
    for step in layer.order(direction):
        row = cut(writer, total, step, step + 1, 1)
        into, out, forget = (cut(writer, row, gate * size, (gate + 1) * size, last) for gate in range(3))
        into = _gate(layer, writer, into, cell, direction, 0)
        forget = _gate(layer, writer, forget, cell, direction, 2)
        taken = writer.append("Mul", [into, cut(writer, candidates, step, step + 1, 1)], "taken in")
        cell = writer.append("Add", [writer.append("Mul", [forget, cell], "kept"), taken], "cell")
        out = _gate(layer, writer, out, cell, direction, 1)
        made[step] = writer.append("Concat", [into, out, forget], "gates", axis=1)
    steps = [
        writer.append("Unsqueeze", [made[step], writer.whole("step axis", 2)], "step") for step in range(layer.steps)
    ]
    return writer.append("Concat", steps, "steps", axis=2)


def _gate(layer: LSTM, writer: BackWriter, total: str, cell: str, direction: int, gate: int) -> str:
    """σ(total + p ⊙ cell), [n, 1, H]."""
    assert layer.peepholes is not None
    seen = writer.append("Mul", [cell, writer.weight(f"peephole {gate}", layer.peepholes[direction, gate])], "seen")
    whole = writer.append("Add", [total, seen], "sum with cell")
    return writer.append(layer.opening.name, [whole], "gate", **dict(layer.opening.options))


def _initial(layer: LSTM, writer: BackWriter, before: str, direction: int) -> str:
    """The cell before the first step [n, 1, H]; before: a tensor of as many samples."""
    if "cell" in layer.computed:
        given = writer.value(layer.inputs[2 + layer.computed.index("cell")])
        return cut(writer, given, direction, direction + 1, 1)
    some = cut(writer, before, 0, 1, 1)
    none = writer.append("Sub", [some, some], "no cell")
    return writer.append("Add", [none, writer.weight("initial cell", layer.cell[direction])], "first")
