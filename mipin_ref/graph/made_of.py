"""What the values of a tensor are made of."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto


def made_of(name: str, makers: Mapping[str, NodeProto]) -> set[str]:
    """A tensor and all whose values it is made of, by the nodes that make them; a shape holds no values."""
    waiting, seen = [name], set[str]()
    while waiting:
        one = waiting.pop()
        if one in makers and one not in seen and makers[one].op_type not in ("Shape", "Size"):
            waiting.extend(makers[one].input)
        seen.add(one)
    return seen
