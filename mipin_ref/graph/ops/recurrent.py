"""LSTM and GRU: what the candidate takes of the sequence, the layer, and the tensors that the operator hands out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.selections import add_selection
from mipin_ref.layers import GRU, LSTM, Concat, HostArray, Reshape, TokenDense
from mipin_ref.layers.kind import Pick

REVERSE = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
BLOCKS = {"LSTM": LSTM.gates + 1, "GRU": GRU.gates + 1}
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@handles("LSTM", "GRU")
def recurrent(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    reverse = _checked(node, x)
    (steps, features), blocks, directions = x.sample, BLOCKS[node.op], len(reverse)
    weight, recurrence = draft.weight(node.inputs[1]), draft.weight(node.inputs[2])
    size = recurrence.shape[-1]
    shapes = ((directions, blocks * size, features), (directions, blocks * size, size))
    if (weight.shape, recurrence.shape) != shapes:
        raise Refused(f"weights of shape {weight.shape} and {recurrence.shape} do not fit {readable(x.shape)}")
    bias = draft.weight(node.input(3)) if node.input(3) else np.zeros((directions, 2 * blocks * size), draft.dtype)
    if bias.shape != (directions, 2 * blocks * size):
        raise Refused(f"its bias of shape {bias.shape} does not fit {directions} directions of {size} units")
    of_input, of_past = (part.reshape(directions, blocks, size) for part in np.split(bias, 2, axis=1))
    # ONNX has the candidate last: "iofc" and "zrh". Sums in double precision: gates are made so.
    summed = of_input.astype(np.float64) + of_past
    given = weight.reshape(directions, blocks, size, features)
    width = directions * size
    named = replace(node, outputs=tuple(filter(None, node.outputs)))
    candidate, whole = draft.inner_name(named, "candidate"), draft.inner_name(named, "steps")
    draft.add(
        TokenDense(
            name=candidate,
            inputs=(x.name,),
            output=candidate,
            in_shapes=(x.sample,),
            out_shape=(steps, width),
            weight=np.ascontiguousarray(given[:, -1].reshape(width, features).T),
            bias=of_input[:, -1].reshape(width),
            axis=2,
            inner=True,
        ),
        axis=1,
    )
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
        "weight": np.ascontiguousarray(given[:, :-1]),
        "recurrence": recurrence.reshape(directions, blocks, size, size),
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


def _checked(node: Node, x: Signal) -> tuple[bool, ...]:
    """Of each direction whether it goes back. Refused where an option is none that is followed."""
    if node.attributes.get("layout", 0):
        raise Refused("its layout is 1, which onnxruntime does not run: export it with layout 0")
    if len(x.shape) != 3 or x.folded or x.axis != 1:
        raise Refused(f"the batch is axis {x.axis} of {readable(x.shape)}, and its steps are axis 0")
    if node.input(4):
        raise Refused(
            "it is given sequence lengths, which are not followed: leave them out where all samples are whole"
        )
    if node.input(7):
        raise Refused("it has peephole weights, which are not followed")
    if "clip" in node.attributes or node.attributes.get("input_forget", 0):
        raise Refused("it clips its gates, or couples them, which is not followed")
    direction = node.attributes.get("direction", "forward")
    if direction not in REVERSE:
        raise Refused(f"its direction is {direction!r}")
    reverse = REVERSE[direction]
    functions = [
        name.decode() if isinstance(name, bytes) else str(name) for name in node.attributes.get("activations", ())
    ]
    wanted = FUNCTIONS[node.op] * len(reverse)
    if functions and [name.lower() for name in functions] != [name.lower() for name in wanted]:
        raise Refused(f"its activations are {', '.join(functions)}; followed are {', '.join(FUNCTIONS[node.op])}")
    return reverse


def initial_state(node: Node, draft: Draft, place: int, directions: int, size: int) -> HostArray | Signal:
    """The state before the first step: [D, H] for all samples, or the tensor that holds it."""
    name = node.input(place)
    if name in draft.signals:
        given = draft.signals[name]
        if given.sample != (directions, size) or given.axis != 1:
            raise Refused(f"its initial state {name!r} is {readable(given.shape)}")
        return given
    if not name:
        return np.zeros((directions, size), draft.dtype)
    value = draft.weight(name)
    if value.ndim != 3 or (value.shape[0], value.shape[2]) != (directions, size):
        raise Refused(f"its initial state {name!r} of shape {value.shape} does not fit {directions} directions")
    if np.any(value != value[:, :1]):
        raise Refused(f"its initial state {name!r} differs from sample to sample")
    if value.shape[1] not in (1, draft.file_batch):
        raise Refused(f"its initial state {name!r} is for {value.shape[1]} samples")
    draft.alone = draft.alone or (draft.file_batch is None and name not in draft.spread)
    return value[:, 0]


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
