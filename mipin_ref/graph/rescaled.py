"""Whether a file divides pixels itself, right behind its input, as Rescaling and Normalization of Keras do."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from mipin_ref.graph.nodes import Nodes

LEAST, MOST = 32.0, 512.0
"""What pixels of 0 to 255 are divided by: 255, 127.5, or their standard deviation, of ImageNet 57."""

MOVING = frozenset({"Cast", "Identity", "Transpose", "Reshape", "Slice", "Resize", "Squeeze", "Unsqueeze", "Pad"})
SHIFTING = frozenset({"Add", "Sub"})


def divisor_of(proto: ModelProto, data: str) -> float | None:
    """What the values of input `data` are divided by before anything else is made of them, of several the mean; None
    where that is nothing, or nothing that pixels are divided by.
    """
    known, name = Nodes(proto), data
    for _ in proto.graph.node:
        reading = [one for one in known.readers.get(name, ()) if one.op_type != "Shape" and name in one.input]
        if len(reading) != 1:
            return None
        (node,) = reading
        if node.op_type in ("Mul", "Div"):
            return _divisor(known, [*node.input], name, divides=node.op_type == "Div")
        moves = node.op_type in MOVING and node.input[0] == name
        shifts = node.op_type in SHIFTING and any(known.constant(one) is not None for one in node.input)
        if not moves and not shifts:
            return None
        name = str(node.output[0])
    return None


def _divisor(known: Nodes, names: list[str], name: str, *, divides: bool) -> float | None:
    if len(names) != 2 or names.count(name) != 1 or (divides and names[0] != name):
        return None
    value = known.constant(names[1 - names.index(name)])
    if value is None or value.dtype.kind != "f" or value.size not in (1, 3) or not np.all(value > 0):
        return None
    divisors = value if divides else 1 / value
    mean = float(np.mean(divisors, dtype=np.float64))
    return mean if np.all((divisors >= LEAST) & (divisors <= MOST)) else None
