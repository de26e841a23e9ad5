"""Which values of a tensor fired (paper, Eq. 9): a byte each, where the values themselves are not needed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, TensorProto, helper, numpy_helper

from mipin_ref.layers import HostArray

Fired = tuple[str, bool]
"""A tensor of which is told what fired, and how: True above zero, False other than zero."""


def fired_of(fired: Fired) -> str:
    """The name of the output that holds it."""
    tensor, positive = fired
    return f"{tensor}:{'above zero' if positive else 'fired'}"


def emit_fired(graph: GraphProto, fired: Iterable[Fired], zero: HostArray, name: str) -> None:
    """Append what tells it. zero: of the tensors' dtype, stored under a name where something is compared with it."""
    stored = False
    for one in fired:
        output, (tensor, positive) = fired_of(one), one
        if positive and not stored:
            graph.initializer.append(numpy_helper.from_array(zero, name))
            stored = True
        if positive:
            node = helper.make_node("Greater", [tensor, name], [output], name=output)
        else:
            node = helper.make_node("Cast", [tensor], [output], name=output, to=TensorProto.BOOL)
        graph.node.append(node)


def fired_among(values: HostArray, fired: Fired) -> npt.NDArray[np.bool_]:
    """The same of values that are at hand."""
    return np.greater(values, 0) if fired[1] else np.not_equal(values, 0)
