"""One step of a recurrent cell without gates: h = f(W x + R h' + b), f being tanh or relu."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.unrolled.step import Step
from mipin_ref.graph.unrolled.sums import Sums, apart, close, of_several, only, stacked, sums

FUNCTIONS = ("Tanh", "Relu")


def plain_steps(nodes: Nodes, hidden: str) -> list[Step]:
    """The steps that a tensor may be the state of."""
    node = nodes.made(hidden, *FUNCTIONS)
    # Layers of plain networks are none, whose weights may be large.
    if node is None or not of_several(nodes, node.input[0]) or (whole := _summed(nodes, hidden)) is None:
        return []
    function, made = whole
    return [
        Step("RNN", row, (past,), (hidden,), *stacked([made], row, past), (), function=function)
        for row, past in apart([made], 1)
    ]


def first_plain_steps(nodes: Nodes, later: Step) -> list[Step]:
    """The step in front of another one where the file holds no state before it, as behind zeros.

    Its bias is then that of all steps. With another one it begins at a state that is no longer known: zeros stand for
    the recurrent matrix, which is of no other step.
    """
    hidden = later.before[0]
    whole = _summed(nodes, hidden)
    if whole is None or whole[0] != later.function or (row := only([whole[1]])) is None:
        return []
    weight, bias = whole[1].parts[row]
    biases = np.asarray(bias + whole[1].rest)
    if close(biases, later.bias.reshape(2, -1).sum(0)):
        blocks = weight.T, later.recurrence, later.bias
    else:
        blocks = weight.T, np.zeros_like(later.recurrence), np.concatenate([biases, np.zeros_like(biases)])
    return [Step("RNN", row, (), (hidden,), *blocks, (), function=later.function)]


def _summed(nodes: Nodes, hidden: str) -> tuple[str, Sums] | None:
    """The function that a tensor is, and the sums that it is of."""
    node = nodes.made(hidden, *FUNCTIONS)
    made = None if node is None else sums(nodes, node.input[0])
    return None if node is None or made is None else (node.op_type, made)
