"""One step of a recurrent cell, recognised by what it computes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import NodeProto

from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.unrolled.plain import plain_steps
from mipin_ref.graph.unrolled.step import Step
from mipin_ref.graph.unrolled.sums import Sums, apart, stacked, sums


def steps_of(nodes: Nodes, name: str) -> list[Step]:
    """The steps that a tensor may be the hidden state of: where rows are as wide as states, either may be the row."""
    return [*_lstm(nodes, name), *_gru(nodes, name), *plain_steps(nodes, name)]


def _lstm(nodes: Nodes, hidden: str) -> list[Step]:
    """h = σ(o) · tanh(c)."""
    last, told = pair_of(nodes, hidden, "Mul", "Sigmoid", "Tanh"), list[Step]()
    if last is None:
        return told
    output, cell = last
    for (new, forget, candidate), before, inner in kept_cell(nodes, cell):
        made = known([new, sums(nodes, output), forget, candidate])
        for row, past in apart(made, 4):
            told.append(Step("LSTM", row, (past, before), (hidden, cell), *stacked(made, row, past), inner))
    return told


def kept_cell(nodes: Nodes, cell: str) -> list[tuple[tuple[Sums | None, ...], str, tuple[str, ...]]]:
    """c = σ(f) · c' + σ(i) · tanh(g): the sums i, f and g, c', and what is inner."""
    added, told = nodes.made(cell, "Add"), list[tuple[tuple[Sums | None, ...], str, tuple[str, ...]]]()
    for one, other in orders(added):
        new, kept = pair_of(nodes, one, "Mul", "Sigmoid", "Tanh"), nodes.made(other, "Mul")
        for gate, before in orders(kept):
            forget = nodes.made(gate, "Sigmoid")
            if new is not None and forget is not None:
                made = tuple(sums(nodes, part) for part in (new[0], forget.input[0], new[1]))
                told.append((made, before, (one, other, gate)))
    return told


def _gru(nodes: Nodes, hidden: str) -> list[Step]:
    """h = (1 - σ(z)) · n + σ(z) · h' in either spelling, n = tanh(W x + r · (R h')) or tanh(W x + R (r · h'))."""
    told = []
    for update, candidate, before, inner in mixed(nodes, hidden):
        tanh, gate = nodes.made(candidate, "Tanh"), nodes.made(update, "Sigmoid")
        if tanh is None or gate is None:
            continue
        for part, reset, behind in _candidates(nodes, tanh.input[0], before):
            made = known([sums(nodes, gate.input[0]), sums(nodes, reset), part])
            for row, past in apart(made, 3):
                if past == before:
                    names = (candidate, update, *inner)
                    blocks = stacked(made, row, past)
                    told.append(Step("GRU", row, (before,), (hidden,), *blocks, names, behind))
    return told


def mixed(nodes: Nodes, hidden: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Update gate, candidate and state before of n + z · (h' - n), or of z · h' + (1 - z) · n; and what is inner."""
    added, told = nodes.made(hidden, "Add"), list[tuple[str, str, str, tuple[str, ...]]]()
    for one, other in orders(added):
        product = nodes.made(one, "Mul")
        for a, b in orders(product):
            difference = nodes.made(a, "Sub")
            if difference is not None and difference.input[1] == other:
                told.append((b, other, str(difference.input[0]), (one, a)))
            rest = nodes.made(other, "Mul")
            for c, candidate in orders(rest):
                left = nodes.made(c, "Sub")
                ones = None if left is None else nodes.constant(left.input[0])
                if left is not None and left.input[1] == a and ones is not None and np.all(ones == 1):
                    told.append((a, candidate, b, (one, other, c)))
    return told


def _candidates(nodes: Nodes, name: str, before: str) -> list[tuple[Sums, str, bool]]:
    """The sums that a GRU's candidate is of x and of the state before, what its reset gate is the sigmoid of, and
    whether that multiplies behind the matrix.
    """
    told = []
    whole = sums(nodes, name)
    for part, reset in resets(nodes, () if whole is None else tuple(whole.parts), before):
        if whole is not None:
            parts = {before if one == part else one: value for one, value in whole.parts.items()}
            told.append((Sums(parts, whole.rest), reset, False))
    added = nodes.made(name, "Add")
    for one, other in orders(added):
        product, row = nodes.made(one, "Mul"), sums(nodes, other)
        for gate, past in orders(product):
            reset_gate, of_past = nodes.made(gate, "Sigmoid"), sums(nodes, past)
            if reset_gate is None or row is None or of_past is None or row.parts.keys() & of_past.parts.keys():
                continue
            if of_past.parts.keys() == {before} and not np.any(of_past.rest):
                told.append((Sums({**row.parts, **of_past.parts}, row.rest), str(reset_gate.input[0]), True))
    return told


def resets(nodes: Nodes, names: tuple[str, ...], before: str) -> list[tuple[str, str]]:
    """Those of some tensors that are the state before times a sigmoid, and what that is the sigmoid of."""
    told = []
    for name in names:
        product = nodes.made(name, "Mul")
        for gate, past in orders(product):
            sigmoid = nodes.made(gate, "Sigmoid")
            if sigmoid is not None and past == before:
                told.append((name, str(sigmoid.input[0])))
    return told


def pair_of(nodes: Nodes, name: str, op: str, first: str, second: str) -> tuple[str, str] | None:
    """What two functions are taken of, where a tensor is their product."""
    product = nodes.made(name, op)
    for one, other in orders(product):
        a, b = nodes.made(one, first), nodes.made(other, second)
        if a is not None and b is not None:
            return str(a.input[0]), str(b.input[0])
    return None


def orders(node: NodeProto | None) -> list[tuple[str, str]]:
    """Two operands in both orders."""
    if node is None or len(node.input) != 2:
        return []
    a, b = map(str, node.input)
    return [(a, b), (b, a)]


def known(made: Iterable[Sums | None]) -> list[Sums]:
    return [part for part in made if part is not None]
