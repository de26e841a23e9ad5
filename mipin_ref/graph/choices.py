"""Choices between two values by a condition, as tf2onnx writes them: condition · one + contrary · other.

Keras counts ids below zero from a table's end in this way, as Gather does by itself, and zeros what a mask leaves out.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from mipin_ref.graph.fusions.writer import Surroundings, Writer, written_out
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of


class Choice(NamedTuple):
    """condition: a tensor of yes and no; yes, no: what is taken by it; products: of the condition and `yes`, and
    of the contrary and `no`, '' where there are none.
    """

    condition: str
    yes: str
    no: str
    products: tuple[str, str]


def choices_read(proto: ModelProto) -> ModelProto:
    """The model in which ids are looked up as they are, and what is masked by a sum is a product; itself where it
    holds neither.
    """
    known, around = Nodes(proto), Surroundings.of(proto)

    def written(node: NodeProto) -> Writer | None:
        if node.domain not in STANDARD:
            return None
        if node.op_type == "Gather" and (ids := _ids(node, known)) is not None:
            return _looked_up(Writer(node, around), ids)
        if node.op_type == "Add" and (choice := _of_sum(node, known)) is not None:
            for value, product in zip((choice.no, choice.yes), choice.products, strict=True):
                if _is_zero(value, known) or _zeros_as(value, product, known):
                    writer = Writer(node, around)
                    writer.node("Identity", product, role="kept", out=writer.output(0))
                    return writer
        return None

    return written_out(proto, written)


def _looked_up(writer: Writer, ids: str) -> Writer:
    made = NodeProto()
    made.CopyFrom(writer.proto)
    made.input[1] = ids
    writer.nodes.append(made)
    return writer


def _ids(node: NodeProto, known: Nodes) -> str | None:
    """The ids of a Gather along the first axis, whose index is ids, or ids and the number of rows where below zero."""
    table = known.constant(node.input[0])
    index = known.made(node.input[1], "Add", "Where")
    if table is None or not table.ndim or told_of(node, "axis", 0) or index is None:
        return None
    choice = _of_where(index) if index.op_type == "Where" else _of_sum(index, known)
    if choice is None:
        return None
    moved = known.made(choice.yes, "Add")
    below = known.made(choice.condition, "Less")
    if moved is None or below is None or not _is_zero(below.input[1], known):
        return None
    cast = known.made(below.input[0], "Cast")
    asked = {below.input[0], *(() if cast is None else cast.input)}
    rows = [known.whole(name) for name in moved.input if name != choice.no]
    whole = rows == [(len(table),)] and choice.no in asked and choice.no in moved.input
    return choice.no if whole else None


def _of_where(node: NodeProto) -> Choice:
    return Choice(node.input[0], node.input[1], node.input[2], ("", ""))


def _of_sum(node: NodeProto, known: Nodes) -> Choice | None:
    products = [known.made(name, "Mul") for name in node.input]
    first, second = products if len(products) == 2 else (None, None)
    if first is None or second is None:
        return None
    for yes, no in permutations((first, second)):
        for condition, chosen in _by_condition(yes, known):
            for contrary, other in _by_condition(no, known):
                turned = known.made(contrary, "Not")
                if turned is not None and turned.input[0] == condition:
                    return Choice(condition, chosen, other, (yes.output[0], no.output[0]))
    return None


def _by_condition(product: NodeProto, known: Nodes) -> list[tuple[str, str]]:
    """The conditions that are cast to numbers as a factor, each with the other factor."""
    casts = [(known.made(one, "Cast"), other) for one, other in permutations(product.input)]
    return [(cast.input[0], other) for cast, other in casts if cast is not None]


def _is_zero(name: str, known: Nodes) -> bool:
    """Whether a tensor is one zero, which gives no axis to what it is summed with."""
    value = known.constant(name)
    return value is not None and value.size == 1 and value.ndim < 2 and not np.any(value)


def _zeros_as(name: str, product: str, known: Nodes) -> bool:
    """Whether a tensor is zeros that are repeated, as states of a cell are at its begin, but along no axis along which
    what it is summed with is not as long.

    product: what it is summed with.
    """
    made = known.made(name, "Expand", "ConstantOfShape")
    if made is None:
        return False
    if made.op_type == "Expand":
        value = known.constant(made.input[0])
        zero = value is not None and value.size == 1 and not np.any(value)
        begun = value is not None and value.ndim < 2
    else:
        told = told_of(made, "value")
        zero, begun = told is None or not np.any(numpy_helper.to_array(told)), True
    wide, other = known.shape(product), _told_lengths(made.input[-1], known)
    if not zero or not begun or wide is None or other is None or len(other) > len(wide):
        return False
    return all(one in (1, there) for one, there in zip(other[::-1], wide[::-1], strict=False))


def _told_lengths(name: str, known: Nodes) -> tuple[int | None, ...] | None:
    """The lengths that a tensor of whole numbers tells; None for one that is computed, or where nothing is known."""
    if (whole := known.whole(name)) is not None:
        return whole
    node = known.made(name, "Shape", "Concat")
    if node is None:
        length = known.shape(name)
        return None if length is None or len(length) != 1 or length[0] is None else (None,) * length[0]
    if node.op_type == "Shape":
        return None if node.attribute else known.shape(node.input[0])
    parts = [_told_lengths(one, known) for one in node.input]
    return None if None in parts else tuple(one for part in parts if part is not None for one in part)
