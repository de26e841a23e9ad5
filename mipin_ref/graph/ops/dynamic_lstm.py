"""Dynamic int8: an LSTM with quantised weights is the LSTM with the numbers that they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import HANDLERS, handles
from mipin_ref.graph.quantised import USE_FLOAT, check_steps
from mipin_ref.graph.steps import Blur, States
from mipin_ref.layers import HostArray

PLAIN = 8
"""How many inputs it has in common with LSTM; behind them scale and zero point of each weight."""

ROUNDED = 2.0
"""Steps that a sum of weights of norm 1 may be off: what is rounded is off by 0.29 of a step in the mean of squares;
gates hand on less than what they read is off, but a cell adds up that of several steps.
"""


@handles("com.microsoft.DynamicQuantizeLSTM")
def dynamic_lstm(node: Node, draft: Draft) -> None:
    """Its weights are [D, C, 4H] and [D, H, 4H], those of LSTM turned. onnxruntime quantises the sequence by its range,
    and the hidden state of each step by its own.
    """
    weights = {}
    for place, role in ((1, "weight"), (2, "recurrence")):
        scale, zero = (node.input(PLAIN + 2 * (place - 1) + offset) for offset in (0, 1))
        weights[place] = draft.inner_name(replace(node, outputs=(node.first,)), role)
        draft.constants[weights[place]] = _turned(draft, node.input(place), scale, zero)
    inputs = [weights.get(place, node.input(place)) for place in range(PLAIN)]
    plain = replace(node, op="LSTM", domain="", inputs=tuple(inputs))
    before = len(draft.layers)
    HANDLERS["LSTM"](plain, draft)
    draft.makers.update(dict.fromkeys(filter(None, node.outputs), plain))
    candidate, whole = draft.layers[before : before + 2]
    gains = [ROUNDED * float(np.max(np.linalg.norm(draft.constants[name], axis=2))) for name in weights.values()]
    draft.blurred[candidate.output] = Blur(node.inputs[0], gains[0])
    draft.blurred[whole.output] = Blur(node.first, gains[1])
    width = candidate.out_shape[1]
    draft.states[whole.output] = States(node.first, width, whole.out_shape[0] > candidate.out_shape[0])


def _turned(draft: Draft, name: str, scale: str, zero: str) -> HostArray:
    """A weight [D, 4H, C] as the numbers that its integers [D, C, 4H] stand for. Scales are one a direction, or one for
    each of 4H besides.
    """
    integers, scales = draft.constant(name), draft.constant(scale)
    zeros = draft.constant(zero) if zero else None
    if integers is None or scales is None or integers.dtype.kind not in "iu" or integers.ndim != 3:
        raise Refused(f"its weight {name!r} is none of integers with a scale: {USE_FLOAT}")
    check_steps(scales, zeros)
    directions, _, rows = integers.shape
    if scales.size not in (directions, directions * rows):
        raise Refused(f"it has {scales.size} scales for {rows} rows of {name!r} in {directions} directions")
    draft.spent.compute(integers.size * draft.dtype.itemsize)
    offset = 0 if zeros is None else zeros.astype(np.int32).reshape(directions, 1, -1)
    counted = (integers.astype(np.int32) - offset).astype(draft.dtype)
    made = counted * scales.astype(draft.dtype).reshape(directions, 1, -1)
    return np.ascontiguousarray(made.transpose(0, 2, 1))
