"""The nodes of an LSTM or a GRU: the operator, time in front of the batch, and its outputs with the batch in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.oracles.spec import GRU, LSTM

Stored = Callable[[str, Any], str]


def recurrent_nodes(op: LSTM | GRU, steps: int, constant: Stored, weight: Stored) -> list[onnx.NodeProto]:
    """The tensor `base:steps` of an op is not in files; what is read of it, `base.rows`, `base.last` and `base.cell`,
    is made of Y, Y_h and Y_c. steps: of the sequence.
    """
    base, kind = op.output.removesuffix(":steps"), type(op).__name__
    directions, size = len(op.reverse), op.size
    width = directions * size
    nodes: list[onnx.NodeProto] = []

    def node(operator: str, output: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    sequence = node("Transpose", f"{base}.sequence", op.inputs[1], perm=(1, 0, 2))
    given = [sequence, weight("W", op.weight), weight("R", op.recurrence)]
    given.append(weight("B", op.bias) if np.any(op.bias) else "")
    given.append("")
    for name, value in (("hidden", op.hidden), ("cell", op.cell)):
        if name == "cell" and isinstance(op, GRU):
            continue
        if name in op.computed:
            state = op.inputs[2 + op.computed.index(name)]
            given.append(node("Transpose", f"{base}.initial {name}", state, perm=(1, 0, 2)))
        elif np.any(value):
            shape = node("Shape", f"{base}.{name} sizes", op.inputs[1])
            batch = node("Gather", f"{base}.{name} batch", shape, constant(f"{name} first", np.asarray([0])))
            edges = [constant(f"{name} {role}", np.asarray([n])) for role, n in (("D", directions), ("H", size))]
            whole = node("Concat", f"{base}.{name} shape", edges[0], batch, edges[1], axis=0)
            given.append(node("Expand", f"{base}.initial {name}", weight(name, value[:, None]), whole))
        else:
            given.append("")
    if op.peepholes is not None:
        given.append(weight("P", op.peepholes))
    while not given[-1]:
        del given[-1]
    direction = "bidirectional" if directions > 1 else "reverse" if op.reverse[0] else "forward"
    more: dict[str, Any] = {"linear_before_reset": int(op.reset_behind)} if isinstance(op, GRU) else {}
    functions = op.functions if isinstance(op, LSTM) else op.functions[:2]
    if functions != type(op).functions[: len(functions)]:
        more["activations"] = [name for name, _ in functions] * directions
        for number in ("alpha", "beta"):
            listed = [options[number] for _, options in functions if number in options] * directions
            more |= {f"activation_{number}": listed} if listed else {}
    outputs = [base, f"{base}_h", *([f"{base}_c"] if isinstance(op, LSTM) else [])]
    nodes.append(helper.make_node(kind, given, outputs, name=base, hidden_size=size, direction=direction, **more))
    turned = node("Transpose", f"{base}.turned", base, perm=(2, 0, 1, 3))
    rows = node("Reshape", f"{base}.rows", turned, constant("rows shape", np.asarray([0, steps, width])))
    for role, output in zip(("last", "cell"), outputs[1:], strict=False):
        first = node("Transpose", f"{base}.{role} turned", output, perm=(1, 0, 2))
        node("Reshape", f"{base}.{role}", first, constant(f"{role} shape", np.asarray([0, 1, width])))
    if op.last:
        node("Concat", op.output, rows, f"{base}.cell", axis=1)
    else:
        node("Identity", op.output, rows)
    return nodes
