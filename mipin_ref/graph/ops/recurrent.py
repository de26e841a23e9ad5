"""LSTM and GRU: the layer behind what its candidate takes of the sequence, and the tensors that it hands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.recurrence import (
    activations_of,
    add_candidate,
    check_form,
    directions_of,
    initial_state,
    parameters_of,
    taken_of,
)
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.selections import add_selection
from mipin_ref.layers import GRU, LSTM, Concat, Reshape
from mipin_ref.layers.kind import Pick

BLOCKS = {"LSTM": LSTM.gates + 1, "GRU": GRU.gates + 1}
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@handles("LSTM", "GRU")
def recurrent(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    reverse = _checked(node, draft, x)
    (steps, _), directions = x.sample, len(reverse)
    weight, recurrence, of_input, of_past = parameters_of(node, draft, x, directions, BLOCKS[node.op])
    # ONNX has the candidate last: "iofc" and "zrh". Sums in double precision: gates are made so.
    summed, size = of_input.astype(np.float64) + of_past, recurrence.shape[-1]
    width = directions * size
    named = replace(node, outputs=tuple(filter(None, node.outputs)))
    candidate, whole = draft.inner_name(named, "candidate"), draft.inner_name(named, "steps")
    add_candidate(draft, candidate, *taken_of(node, draft, x, weight[:, -1]), of_input[:, -1])
    states = {"hidden": initial_state(node, draft, 5, directions, size)}
    if node.op == "LSTM":
        states["cell"] = initial_state(node, draft, 6, directions, size)
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
        "in_shapes": ((steps, width), x.sample, *(state.sample for state in computed.values())),
        "out_shape": (steps + last, width),
        "weight": np.ascontiguousarray(weight[:, :-1]),
        "recurrence": recurrence,
        "bias": np.concatenate([summed[:, :-1], of_past[:, -1:]], axis=1),
        "reverse": reverse,
        "computed": tuple(computed),
        **constant,
    }
    if node.op == "LSTM":
        draft.add(LSTM(**said, last=last), axis=1)
    else:
        draft.add(GRU(**said, reset_behind=bool(node.attributes.get("linear_before_reset", 0))), axis=1)
    _hand_out(named.outputs[0], node, draft, draft.signals[whole], reverse, steps, size)


def _checked(node: Node, draft: Draft, x: Signal) -> tuple[bool, ...]:
    """Of each direction whether it goes back. Refused where an option is none that is followed."""
    check_form(node, draft, x)
    if node.input(7):
        raise Refused("it has peephole weights, which are not followed")
    if "clip" in node.attributes or node.attributes.get("input_forget", 0):
        raise Refused("it clips its gates, or couples them, which is not followed")
    reverse, functions = directions_of(node), activations_of(node)
    wanted = FUNCTIONS[node.op] * len(reverse)
    if functions and [name.lower() for name in functions] != [name.lower() for name in wanted]:
        raise Refused(f"its activations are {', '.join(functions)}; followed are {', '.join(FUNCTIONS[node.op])}")
    return reverse


def _hand_out(
    label: str, node: Node, draft: Draft, whole: Signal, reverse: Sequence[bool], steps: int, size: int
) -> None:
    """Draft the outputs of the node, Y [T, D, N, H], Y_h and Y_c [D, N, H], of the layer's [T, N, D·H]."""
    outputs, directions = [*node.outputs, "", ""][:3], len(reverse)
    every: list[Pick] = [None if steps == whole.sample[0] else np.arange(steps), None]
    if outputs[0] and outputs[0] in draft.read:
        kept = whole
        if every[0] is not None:
            name = draft.inner_name(replace(node, outputs=(label,)), "hidden")
            kept = add_selection(draft, name, name, whole, every)
        _apart(draft, kept, outputs[0], (steps, directions, size), 2)
    if outputs[1] and outputs[1] in draft.read:
        parts = []
        for direction, backwards in enumerate(reverse):
            picks: list[Pick] = [np.array([0 if backwards else steps - 1]), None]
            name = outputs[1]
            if directions > 1:
                picks[1] = np.arange(direction * size, (direction + 1) * size)
                name = draft.inner_name(replace(node, outputs=(outputs[1],)), f"direction {direction}")
            parts.append(add_selection(draft, name, name, whole, picks))
        if directions > 1:
            draft.add(
                Concat(
                    name=outputs[1],
                    inputs=tuple(part.name for part in parts),
                    output=outputs[1],
                    in_shapes=tuple(part.sample for part in parts),
                    out_shape=(directions, size),
                    axis=1,
                ),
                axis=1,
            )
    if outputs[2] and outputs[2] in draft.read:
        name = draft.inner_name(replace(node, outputs=(outputs[2],)), "row")
        row = add_selection(draft, name, name, whole, [np.array([steps]), None])
        _apart(draft, row, outputs[2], (directions, size), 1)


def _apart(draft: Draft, x: Signal, output: str, sample: tuple[int, ...], axis: int) -> None:
    draft.add(Reshape(name=output, inputs=(x.name,), output=output, in_shapes=(x.sample,), out_shape=sample), axis=axis)
