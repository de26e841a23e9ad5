"""LSTM and GRU: the layer behind what its candidate takes of the sequence, and the tensors that it hands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.recurrence import (
    add_candidate,
    check_form,
    directions_of,
    functions_of,
    initial_state,
    parameters_of,
    taken_of,
)
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.selections import add_selection
from mipin_ref.layers import GRU, LSTM, Concat, HostArray, Reshape, Shape, Transpose
from mipin_ref.layers.kind import Pick

BLOCKS = {"LSTM": LSTM.gates + 1, "GRU": GRU.gates + 1}
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
OPENING = {"Sigmoid", "HardSigmoid"}
"""Functions of gates, which are parts of one."""
OTHERS = {*OPENING, "Tanh", "Relu", "LeakyRelu", "Elu", "Softsign", "Softplus"}
"""Those of candidates and cells."""


@handles("LSTM", "GRU", folded=True)
def recurrent(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    reverse = _checked(node, draft, x)
    followed = [OPENING, *[OTHERS] * (len(FUNCTIONS[node.op]) - 1)]
    opening, renewing, *leaves = functions_of(node, FUNCTIONS[node.op], len(reverse), followed)
    (steps, *several, _), directions = x.sample, len(reverse)
    weight, recurrence, of_input, of_past = parameters_of(node, draft, x, directions, BLOCKS[node.op])
    # ONNX has the candidate last: "iofc" and "zrh". Sums in double precision: gates are made so.
    summed, size = of_input.astype(np.float64) + of_past, recurrence.shape[-1]
    width = directions * size
    named = replace(node, outputs=tuple(filter(None, node.outputs)))
    candidate, whole = draft.inner_name(named, "candidate"), draft.inner_name(named, "steps")
    add_candidate(draft, candidate, *taken_of(node, draft, x, weight[:, -1]), of_input[:, -1])
    states = {"hidden": initial_state(node, draft, 5, x, directions, size)}
    if node.op == "LSTM":
        states["cell"] = initial_state(node, draft, 6, x, directions, size)
    computed = {name: state for name, state in states.items() if isinstance(state, Signal)}
    constant = {
        name: np.zeros((directions, size), draft.dtype) if isinstance(state, Signal) else state
        for name, state in states.items()
    }
    last = node.op == "LSTM" and len(node.outputs) > 2 and node.outputs[2] in draft.read
    said: dict[str, Any] = {
        "name": layer_name(named),
        "inputs": (candidate, x.name, *(state.name for state in computed.values())),
        "output": whole,
        "in_shapes": ((steps, *several, width), x.sample, *(state.sample for state in computed.values())),
        "out_shape": (steps + last, *several, width),
        "weight": np.ascontiguousarray(weight[:, :-1]),
        "recurrence": recurrence,
        "bias": np.concatenate([summed[:, :-1], of_past[:, -1:]], axis=1),
        "reverse": reverse,
        "computed": tuple(computed),
        "opening": opening,
        "renewing": renewing,
        **constant,
    }
    if node.op == "LSTM":
        layer: LSTM | GRU = LSTM(
            **said, last=last, peepholes=_peepholes(node, draft, directions, size), leaves=leaves[0]
        )
    else:
        layer = GRU(**said, reset_behind=bool(node.attributes.get("linear_before_reset", 0)))
    draft.add(layer, axis=1, rows=x.rows)
    _hand_out(named.outputs[0], node, draft, draft.signals[whole], reverse, steps, size)


def _peepholes(node: Node, draft: Draft, directions: int, size: int) -> HostArray | None:
    """What gates see of the cell [D, 3, H]; None where they see nothing of it."""
    if not node.input(7):
        return None
    value = draft.weight(node.input(7))
    if value.shape != (directions, LSTM.gates * size):
        raise Refused(f"its peepholes of shape {value.shape} do not fit {directions} directions of {size} units")
    return value.reshape(directions, LSTM.gates, size) if np.any(value) else None


def _checked(node: Node, draft: Draft, x: Signal) -> tuple[bool, ...]:
    """Of each direction whether it goes back. Refused where an option is none that is followed."""
    check_form(node, draft, x)
    if "clip" in node.attributes or node.attributes.get("input_forget", 0):
        raise Refused("it clips its gates, or couples them, which is not followed")
    return directions_of(node)


def _hand_out(
    label: str, node: Node, draft: Draft, whole: Signal, reverse: Sequence[bool], steps: int, size: int
) -> None:
    """Draft the outputs of the node, Y [T, D, N, H], Y_h and Y_c [D, N, H], of the layer's [T, N, D·H]."""
    outputs, directions = [*node.outputs, "", ""][:3], len(reverse)
    around: list[Pick] = [None] * (len(whole.sample) - 2)
    every: list[Pick] = [None if steps == whole.sample[0] else np.arange(steps), *around, None]
    if outputs[0] and outputs[0] in draft.read:
        kept = whole
        if every[0] is not None:
            name = draft.inner_name(replace(node, outputs=(label,)), "hidden")
            kept = add_selection(draft, name, name, whole, every)
        _apart(replace(node, outputs=(outputs[0],)), draft, kept, (steps,), directions)
    if outputs[1] and outputs[1] in draft.read:
        parts = []
        for direction, backwards in enumerate(reverse):
            picks: list[Pick] = [np.array([0 if backwards else steps - 1]), *around, None]
            name = outputs[1]
            if directions > 1:
                picks[-1] = np.arange(direction * size, (direction + 1) * size)
                name = draft.inner_name(replace(node, outputs=(outputs[1],)), f"direction {direction}")
            parts.append(add_selection(draft, name, name, whole, picks))
        if directions > 1:
            draft.add(
                Concat(
                    name=outputs[1],
                    inputs=tuple(part.name for part in parts),
                    output=outputs[1],
                    in_shapes=tuple(part.sample for part in parts),
                    out_shape=(directions, *parts[0].sample[1:]),
                    axis=1,
                ),
                axis=1,
                rows=whole.rows,
            )
    if outputs[2] and outputs[2] in draft.read:
        name = draft.inner_name(replace(node, outputs=(outputs[2],)), "row")
        row = add_selection(draft, name, name, whole, [np.array([steps]), *around, None])
        _apart(replace(node, outputs=(outputs[2],)), draft, row, (), directions)


def _apart(node: Node, draft: Draft, x: Signal, front: Shape, directions: int) -> None:
    """x [1 or T, N, D·H] as the one output of the node, with directions in front of the batch, [*front, D, N, H]."""
    several, size, (output,) = x.sample[1:-1], x.sample[-1] // directions, node.outputs
    beside, moved = (*front, *several, directions, size), (*front, directions, *several, size)
    # Of one direction, or of one sequence a sample, no number changes its place.
    whole = not several or directions == 1
    made = output if whole else draft.inner_name(node, "beside")
    first = moved if whole else beside
    draft.add(
        Reshape(name=made, inputs=(x.name,), output=made, in_shapes=(x.sample,), out_shape=first),
        axis=len(front) + 1,
        rows=x.rows,
    )
    if not whole:
        perm = (0, *range(1, len(front) + 1), len(front) + 2, len(front) + 1, len(front) + 3)
        turned = Transpose(name=output, inputs=(made,), output=output, in_shapes=(beside,), out_shape=moved, perm=perm)
        draft.add(turned, axis=len(front) + 1, rows=x.rows)
