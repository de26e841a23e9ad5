"""Samples that a file puts in order, as torch's packed sequences are by length, and back: as they came.

Every layer leaves samples apart, so that an order of theirs which is undone is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto

from mipin_ref.graph.fusions.writer import Surroundings, Writer, written_out
from mipin_ref.graph.made_of import made_of
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import read_by

FIRST = 11
"""The opset from which on there is a ScatterElements, which undoes an order."""

HANDS_ON = frozenset({"Cast", "Identity"})
"""What leaves places as they are."""

ELEMENTWISE = frozenset({"Add", "Cast", "Identity", "Mul", "Neg", "Sub", "Tanh"})
"""What makes numbers that are equal along an axis of such."""

SIZES = frozenset({"Shape", "Size"})
"""What holds no values of what it reads."""


def samples_as_they_came(proto: ModelProto) -> ModelProto:
    """The model without the orders of samples that it undoes; itself where there are none."""
    for node in proto.graph.node:
        if node.op_type == "TopK" and node.domain in STANDARD and standard_opset(proto) >= FIRST:
            proto = _Order(proto, node, Nodes(proto)).undone()
    return proto


@dataclass
class _Order:
    """An order of samples by a TopK of one number of each. takes, undoes: names of what picks samples in this order,
    and back.
    """

    proto: ModelProto
    sort: NodeProto
    nodes: Nodes
    takes: set[str] = field(default_factory=set)
    undoes: set[str] = field(default_factory=set)

    def undone(self) -> ModelProto:
        """The model without it; itself where something else meets what is in this order, or it is handed out."""
        if len(self.sort.output) < 2 or not self._is_of_samples() or not self._is_read() or not self._is_closed():
            return self.proto
        around = Surroundings.of(self.proto)
        return written_out(self.proto, lambda node: self._written(Writer(node, around)))

    def _written(self, writer: Writer) -> Writer | None:
        """What is written in the place of a node, None where it stays."""
        node = writer.proto
        if not node.output or node.output[0] not in {*self.takes, *self.undoes, self.sort.output[0]}:
            return None
        writer.node("Identity", node.input[0], role="as they came", out=node.output[0])
        if node.output[0] == self.sort.output[0]:
            same = NodeProto()
            same.CopyFrom(node)
            same.output[0] = writer.free("in order")
            writer.nodes.append(same)
        return writer

    def _is_read(self) -> bool:
        """Whether nothing but picks of samples reads places, this way and back, some of each."""
        back = list[str]()
        for node, place in self._readers(self.sort.output[1]):
            if node.op_type == "Gather" and place == 1:
                self.takes.add(node.output[0])
            elif node.op_type == "ScatterElements" and place == 1 and self._counts(node.input[2]):
                back.append(node.output[0])
            elif node.op_type not in SIZES:
                return False
        readers = [one for name in back for one in self._readers(name) if one[0].op_type not in SIZES]
        self.undoes.update(node.output[0] for node, _ in readers)
        return bool(self.takes and readers) and all(one.op_type == "Gather" and place == 1 for one, place in readers)

    def _is_of_samples(self) -> bool:
        """Whether there is one number of each sample, and all are put in order: as many as a shape tells, or the
        file has in each batch.
        """
        shape = self.nodes.shape(self.sort.input[0])
        if shape is None or len(shape) != 1:
            return False
        makers, count = self.nodes.makers, self.sort.input[1]
        made, inputs = made_of(count, makers), {value.name for value in self.proto.graph.input}
        if (whole := self.nodes.whole(count)) is not None:
            keys = inputs & made_of(self.sort.input[0], makers)
            return whole == shape and all((self.nodes.shape(name) or ())[:1] == whole for name in keys)
        return made.isdisjoint(inputs) and any(name in makers and makers[name].op_type in SIZES for name in made)

    def _readers(self, name: str) -> Iterator[tuple[NodeProto, int]]:
        """The nodes that read a tensor, or what only hands it on, and at which place."""
        for node in self.nodes.readers.get(name, []):
            if node.op_type in HANDS_ON:
                yield from self._readers(node.output[0])
                continue
            # A subgraph reads what is no input of its node.
            yield from [(node, place) for place, one in enumerate(node.input) if one == name] or [(node, -1)]

    def _counts(self, name: str) -> bool:
        """Whether a tensor is 0, 1, ... of a Range, or a constant."""
        value = self.nodes.constant(name)
        if value is not None:
            return value.ndim == 1 and np.array_equal(value, np.arange(len(value)))
        node = self.nodes.made(name, "Range", "Cast")
        while node is not None and node.op_type == "Cast":
            node = self.nodes.made(node.input[0], "Range", "Cast")
        if node is None:
            return False
        ends = [self.nodes.whole(node.input[place]) for place in (0, 2)]
        return ends == [(0,), (1,)]

    def _is_closed(self) -> bool:
        """Whether what is in order meets only constants and shapes until it is put back."""
        order, free = {self.sort.output[0]}, {value.name for value in self.proto.graph.input}
        free -= {one.name for one in self.proto.graph.initializer}
        places = {*self.sort.output[1:]}
        for node in self.proto.graph.node:
            read = {*filter(None, read_by(node))}
            if node.op_type in SIZES or not node.output:
                continue
            name = node.output[0]
            if name in self.undoes:
                if node.input[0] not in order:
                    return False
                free.update(node.output)
            elif name in self.takes:
                if node.input[0] in free:
                    order.update(node.output)
                elif not self._is_of_equals(node):
                    return False
            elif read & places:
                places.update(node.output)
            elif read & order:
                if read & free:
                    return False
                order.update(node.output)
            elif read & free and name != self.sort.output[0]:
                free.update(node.output)
        return (order | places).isdisjoint(value.name for value in self.proto.graph.output)

    def _is_of_equals(self, node: NodeProto) -> bool:
        """Whether samples are picked of what is equal for all, as the states that a layer begins at."""
        shape, axis = self.nodes.shape(node.input[0]), told_of(node, "axis", 0)
        return shape is not None and self._is_equal(node.input[0], axis if axis < 0 else axis - len(shape))

    def _is_equal(self, name: str, axis: int) -> bool:
        """Whether a tensor that no input makes is equal all along an axis, of which -1 is the last."""
        value, node = self.nodes.constant(name), self.nodes.makers.get(name)
        if value is not None:
            return value.ndim < -axis or not value.size or bool(np.all(value == value.take([0], axis)))
        if node is None or node.op_type == "ConstantOfShape":
            return node is not None
        read = node.input[:1] if node.op_type == "Expand" else node.input
        return node.op_type in {"Expand", *ELEMENTWISE} and all(self._is_equal(one, axis) for one in read)
