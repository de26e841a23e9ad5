"""The nodes of a graph by what they make, and what is known of their operands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from mipin_ref.graph.inferred import lengths
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.prune import read_by
from mipin_ref.layers import HostArray


class Nodes:
    """makers: the node of the standard domain that makes a tensor."""

    def __init__(self, proto: ModelProto) -> None:
        graph, self._proto = proto.graph, proto
        self.makers: dict[str, NodeProto] = {
            name: node for node in graph.node if node.domain in STANDARD for name in node.output if name
        }
        self._held = {tensor.name: tensor for tensor in graph.initializer}
        self._values: dict[str, HostArray | None] = {}

    def constant(self, name: str) -> HostArray | None:
        """The value of a tensor that the file holds as an initializer or a Constant; None of any other."""
        if name not in self._values:
            self._values[name] = self._value(name)
        return self._values[name]

    def row(self, name: str) -> HostArray | None:
        """Constant numbers [K], [1, K], or [N, K] of N times the same row, as [K]; None of any other tensor."""
        value = self.constant(name)
        if value is None or value.ndim not in (1, 2) or not value.size or value.dtype.kind != "f":
            return None
        rows = value.reshape(-1, value.shape[-1])
        return rows[0] if np.all(rows == rows[0]) else None

    def width(self, name: str) -> int | None:
        """The length of a tensor's last axis; None where onnx does not infer it."""
        constant = self.row(name)
        return constant.size if constant is not None else (self._lengths.get(name) or (None,))[-1]

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """A tensor's lengths, None for one that is open; None as a whole where onnx infers nothing of it."""
        value = self.constant(name)
        return self._lengths.get(name) if value is None else value.shape

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """A tensor's lengths where all are known; None where one is open."""
        shape = self.shape(name)
        known = () if shape is None else tuple(length for length in shape if length is not None)
        return known if shape is not None and len(known) == len(shape) else None

    @cached_property
    def _lengths(self) -> dict[str, tuple[int | None, ...]]:
        return lengths(self._proto)

    @cached_property
    def readers(self) -> dict[str, list[NodeProto]]:
        """The nodes of any domain that read a tensor, in subgraphs too."""
        found: dict[str, list[NodeProto]] = {}
        for node in self._proto.graph.node:
            for name in dict.fromkeys(read_by(node)):
                found.setdefault(name, []).append(node)
        return found

    def whole(self, name: str) -> tuple[int, ...] | None:
        """The integers of a constant, in a row; None where it is none, or holds other numbers."""
        value = self.constant(name)
        return None if value is None or value.dtype.kind not in "iu" else tuple(int(one) for one in value.ravel())

    def made(self, name: str, *ops: str) -> NodeProto | None:
        """The node that makes a tensor, where it is of one of these operators. Identities are passed through."""
        node = self.makers.get(name)
        while node is not None and node.op_type == "Identity":
            node = self.makers.get(node.input[0])
        return node if node is not None and node.op_type in ops else None

    def axes(self, node: NodeProto) -> tuple[int, ...] | None:
        """The axes that a node is told as its second input or as an attribute."""
        if len(node.input) > 1:
            return self.whole(node.input[1])
        told = told_of(node, "axes")
        return None if told is None else tuple(told)

    def _value(self, name: str) -> HostArray | None:
        if name in self._held:
            return numpy_helper.to_array(self._held[name])
        node = self.makers.get(name)
        if node is not None and node.op_type in ("Identity", "Transpose"):
            # As torch writes the weights of a layer without a bias.
            value = self.constant(node.input[0])
            return value if value is None or node.op_type == "Identity" else value.transpose(told_of(node, "perm"))
        if node is not None and node.op_type == "Unsqueeze":
            value, axes = self.constant(node.input[0]), self.axes(node)
            return None if value is None or axes is None else np.expand_dims(value, axes)
        if node is None or node.op_type != "Constant":
            return None
        told = {one.name: one for one in node.attribute}
        if "value" in told:
            return numpy_helper.to_array(told["value"].t)
        for kind, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32)):
            if kind in told:
                return np.asarray(helper.get_attribute_value(told[kind]), dtype)
        return None


def told_of(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute of a node."""
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def read_of(nodes: Iterable[NodeProto]) -> set[str]:
    """All that some nodes read."""
    return {name for node in nodes for name in node.input}
