"""Writes standard nodes in the place of one fused node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.graph.node import node_of
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import with_nodes
from mipin_ref.layers import HostArray

AXES_AS_INPUT = 13
"""The opset from which on Unsqueeze and ReduceSum take their axes as an input."""


class Unwritten(Exception):
    """Why a fused node is not written out."""


@dataclass
class Surroundings:
    """What is known of the file around its fused nodes.

    opset: of the standard operators; weights: initializers by name; rank: how many axes a tensor has that was made
    before, None where that is not known; taken: names that the file has.
    """

    opset: int
    weights: Mapping[str, TensorProto]
    rank: Callable[[str], int | None]
    taken: set[str]

    @classmethod
    def of(cls, proto: ModelProto, rank: Callable[[str], int | None] = lambda name: None) -> Surroundings:
        """Those of all nodes of a model."""
        graph = proto.graph
        weights = {tensor.name: tensor for tensor in graph.initializer}
        made = (name for node in graph.node for name in node.output)
        return cls(standard_opset(proto), weights, rank, {*weights, *made, *(value.name for value in graph.input)})


@dataclass
class Writer:
    """nodes, constants: what is written so far in the place of `proto`. Its attributes are those in `attributes`."""

    proto: NodeProto
    around: Surroundings
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attributes: Mapping[str, Any] = node_of(self.proto).attributes

    def input(self, index: int) -> str:
        """The name of input `index`, '' where it is left out."""
        return str(self.proto.input[index]) if index < len(self.proto.input) else ""

    def output(self, index: int) -> str:
        """The name of output `index`, '' where it is left out."""
        return str(self.proto.output[index]) if index < len(self.proto.output) else ""

    def node(self, op: str, *inputs: str, role: str, out: str = "", **attributes: Any) -> str:
        """Append a node. Returns the tensor that it makes: `out`, or one that is called after the role."""
        made = out or self.free(role)
        label = f"{self.proto.name or self.proto.output[0]}:{role}"
        self.nodes.append(helper.make_node(op, inputs, [made], name=label, **attributes))
        return made

    def constant(self, role: str, value: HostArray) -> str:
        name = self.free(role)
        self.constants.append(tensor_of(value, name))
        return name

    def whole(self, role: str, *values: int) -> str:
        """A constant [n] of whole numbers."""
        return self.constant(role, np.array(values, np.int64))

    def number(self, role: str, value: float, dtype: np.dtype[Any]) -> str:
        return self.constant(role, np.array(value, dtype))

    def weight(self, name: str) -> HostArray:
        """The values of an initializer. Raises Unwritten where a tensor is none."""
        if name not in self.around.weights:
            raise Unwritten(f"its weights {name!r} are not held in the file as such")
        value: HostArray = numpy_helper.to_array(self.around.weights[name])
        return value

    def over(self, op: str, name: str, axes: tuple[int, ...], role: str, out: str = "", **attributes: Any) -> str:
        """An operator whose axes are an input or an attribute, by the opset."""
        if self.around.opset >= AXES_AS_INPUT:
            return self.node(op, name, self.whole(f"{role} axes", *axes), role=role, out=out, **attributes)
        return self.node(op, name, role=role, out=out, axes=axes, **attributes)

    def length(self, name: str, axis: int, role: str) -> str:
        """The length of an axis, a scalar."""
        shape = self.node("Shape", name, role=f"{role} shape")
        return self.node("Gather", shape, self.constant(f"{role} axis", np.array(axis, np.int64)), role=role)

    def places(self, count: str, role: str) -> str:
        """0, 1, ... up to a scalar, [count]."""
        zero, one = (self.constant(f"{role} {i}", np.array(i, np.int64)) for i in (0, 1))
        return self.node("Range", zero, count, one, role=role)

    def known(self, *names: str) -> None:
        """Raises Unwritten where an attribute is none of these."""
        unknown = sorted(self.attributes.keys() - {*names})
        if unknown:
            raise Unwritten(
                f"attribute {unknown[0]!r} is not known of this fusion: save the file without optimisations"
            )

    def free(self, role: str) -> str:
        """A name for a tensor that the file does not have, which is taken from now on."""
        name = f"{self.proto.output[0]}:{role}"
        while name in self.around.taken:
            name += "'"
        self.around.taken.add(name)
        return name


def tensor_of(value: HostArray, name: str) -> TensorProto:
    """A constant as a file holds it."""
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)


def written_out(proto: ModelProto, written: Callable[[NodeProto], Writer | None]) -> ModelProto:
    """The model with what is written in the place of each node; itself where nothing is.

    written: what is written in the place of a node, None where it stays.
    """
    writers = [written(node) for node in proto.graph.node]
    if not any(writers):
        return proto
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    for node, writer in zip(proto.graph.node, writers, strict=True):
        nodes.extend([node] if writer is None else writer.nodes)
        constants.extend([] if writer is None else writer.constants)
    return with_nodes(proto, nodes, constants)
