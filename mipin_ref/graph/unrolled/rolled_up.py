"""A model with LSTM, GRU and RNN in the place of cells that follow one another with the same weights along a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from mipin_ref.graph.fusions.writer import Surroundings, Writer
from mipin_ref.graph.inferred import lengths
from mipin_ref.graph.nodes import read_of
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.prune import with_nodes
from mipin_ref.graph.unrolled.chains import Chain, chain_of
from mipin_ref.graph.unrolled.plain import FUNCTIONS
from mipin_ref.graph.unrolled.step import Step
from mipin_ref.layers import HostArray

FIRST = 7
"""The opset from which on these operators are as they are written here."""

NEEDED = [
    {"Sigmoid", "Tanh", "Mul"},
    *({product, function} for product in ("MatMul", "Gemm") for function in FUNCTIONS),
]
"""What a file holds that any cell is written out in: one of these."""


def rolled_up(proto: ModelProto) -> ModelProto:
    """The model in which each chain of steps is one operator; itself where there is none.

    The hidden states of the steps keep their names, as rows of what the operator makes.
    """
    operators = {node.op_type for node in proto.graph.node}
    if not any(needed <= operators for needed in NEEDED) or standard_opset(proto) < FIRST:
        return proto
    left: set[str] = set()
    while (chain := chain_of(proto, left)) is not None:
        made = _with_operator(proto, chain)
        # What the steps hold inside may be read elsewhere: then they stay.
        kept = {name for node in made.graph.node for name in node.output}
        inner = {name for step, _ in chain for name in (*step.inner, *step.states[1:])} - {*chain[-1][0].states}
        if kept & inner:
            left.add(chain[-1][0].states[0])
        else:
            proto = made
    return proto


def _with_operator(proto: ModelProto, chain: Chain) -> ModelProto:
    """The model with an operator in front of the first step, of which the rows are the states of all."""
    graph, first = proto.graph, chain[0][0]
    gone = {step.states[0] for step, _ in chain} | {*chain[-1][0].states}
    named = next(node for node in graph.node if first.states[0] in node.output)
    writer = Writer(named, Surroundings.of(proto))
    _write(writer, chain, lengths(proto), read_of(graph.node) | {value.name for value in graph.output})
    place = next(i for i, node in enumerate(graph.node) if {*node.output} & gone)
    nodes = [*graph.node]
    kept: list[NodeProto] = [*nodes[:place], *writer.nodes, *nodes[place:]]
    kept = [node for node in kept if not {*node.output} & gone or node in writer.nodes]
    return with_nodes(proto, kept, writer.constants)


def _write(writer: Writer, chain: Chain, known: dict[str, tuple[int | None, ...]], read: set[str]) -> None:
    """known: lengths of tensors; read: the tensors that something reads."""
    (step, place), last = chain[0], chain[-1][0]
    sequence = place.sequence
    if place.axis:
        sequence = writer.node("Transpose", sequence, role="steps first", perm=(1, 0, 2))
    indices = [one.index for _, one in chain]
    if not _whole(indices, known.get(place.sequence, ()), place.axis):
        sequence = writer.node("Gather", sequence, writer.whole("steps", *indices), role="steps", axis=0)
    initial = [writer.over("Unsqueeze", name, (0,), f"state {i}") for i, name in enumerate(step.before)]
    size = step.recurrence.shape[1]
    weights = [writer.constant(role, one[None]) for role, one in _weights(step)]
    told: dict[str, Any] = {"linear_before_reset": int(step.reset_behind)} if step.op == "GRU" else {}
    if step.op == "RNN":
        told["activations"] = [step.function]
    every = writer.node(step.op, sequence, *weights, "", *initial, role="every step", hidden_size=size, **told)
    if len(last.states) > 1 and last.states[1] in read:
        cell = f"{every} cell"
        writer.nodes[-1].output.extend(["", cell])
        writer.over("Squeeze", cell, (0,), "last cell", out=last.states[1])
    rows = writer.over("Squeeze", every, (1,), "rows")
    for number, (one, _) in enumerate(chain):
        if one.states[0] in read:
            index = writer.constant(f"step {number}", np.array(number, np.int64))
            writer.node("Gather", rows, index, role=f"row {number}", out=one.states[0], axis=0)


def _weights(step: Step) -> Sequence[tuple[str, HostArray]]:
    return [("weight", step.weight), ("recurrence", step.recurrence), ("bias", step.bias)]


def _whole(indices: Sequence[int], shape: Sequence[int | None], axis: int) -> bool:
    """Whether the steps are all of a sequence in their order."""
    return len(shape) == 3 and shape[axis] == len(indices) and [*indices] == [*range(len(indices))]
