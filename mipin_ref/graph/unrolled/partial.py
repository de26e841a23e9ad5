"""Steps of which a file holds a part: the rest is that of a step beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.unrolled.cells import kept_cell, known, mixed, orders, pair_of, resets
from mipin_ref.graph.unrolled.plain import first_plain_steps
from mipin_ref.graph.unrolled.step import Step
from mipin_ref.graph.unrolled.sums import Sums, apart, close, only, stacked, sums
from mipin_ref.layers import HostArray


def last_cells(nodes: Nodes, name: str, earlier: Step) -> list[Step]:
    """The steps behind another one that a tensor may be the cell of, where nothing reads the hidden state.

    A file holds no output gate of such a step: it has that of the step before. No tensor has the name of its hidden
    state.
    """
    told, size = [], earlier.recurrence.shape[1]
    output, of_past = slice(size, 2 * size), slice(5 * size, 6 * size)
    for (new, forget, candidate), before, inner in kept_cell(nodes, name) if earlier.op == "LSTM" else ():
        names = () if candidate is None else tuple(one for one in candidate.parts if one != earlier.states[0])
        if before == earlier.states[1] and len(names) == 1:
            parts = {
                names[0]: (earlier.weight[output].T, earlier.bias[output]),
                earlier.states[0]: (earlier.recurrence[output].T, earlier.bias[of_past]),
            }
            made = known([new, Sums(parts, np.zeros((), earlier.bias.dtype)), forget, candidate])
            for row, past in apart(made, 4):
                blocks = stacked(made, row, past)
                told.append(Step("LSTM", row, (past, before), (f"{name}:hidden", name), *blocks, inner))
    return told


def first_steps(nodes: Nodes, later: Step) -> list[Step]:
    """The steps in front of another one that begin at a constant, so that the file holds no product with their state.

    The recurrent matrix is that of the step behind where the state is zeros and the biases are the same; else it is not
    known, and zeros stand for it, which are of no other step.
    """
    return FIRST[later.op](nodes, later)


def _first_lstm(nodes: Nodes, later: Step) -> list[Step]:
    hidden, told = later.before[0], list[Step]()
    last = pair_of(nodes, hidden, "Mul", "Sigmoid", "Tanh")
    if last is None:
        return told
    output, cell = last
    for (new, forget, candidate), before, inner in kept_cell(nodes, cell):
        state, made = nodes.constant(before), known([new, sums(nodes, output), forget, candidate])
        if state is not None and len(made) == 4 and (row := only(made)) is not None:
            biases = np.concatenate([_bias(part, row) for part in made])
            same = not np.any(state) and close(biases, later.bias.reshape(2, -1).sum(0))
            told.append(Step("LSTM", row, (), (hidden, cell), *_blocks(later, made, row, biases, same), inner))
    return told


def _first_gru(nodes: Nodes, later: Step) -> list[Step]:
    hidden, told = later.before[0], list[Step]()
    for update, candidate, before, inner in mixed(nodes, hidden):
        tanh, gate, state = nodes.made(candidate, "Tanh"), nodes.made(update, "Sigmoid"), nodes.constant(before)
        if tanh is None or gate is None or state is None:
            continue
        for part, past, reset in _first_candidates(nodes, tanh.input[0], before, later.reset_behind):
            made = known([sums(nodes, gate.input[0]), sums(nodes, reset), part])
            if len(made) < 3 or (row := only(made)) is None or np.size(past) not in (1, made[0].width):
                continue
            biases = [_bias(one, row) for one in made]
            of_input, of_past = np.split(later.bias, 2)
            together, size = of_input + of_past, biases[2].size
            candidates = (
                [of_input[-size:], of_past[-size:]] if later.reset_behind else [together[-size:], 0 * biases[2]]
            )
            mine = np.concatenate([*biases, np.broadcast_to(past, biases[2].shape)])
            same = not np.any(state) and close(mine, np.concatenate([together[:-size], *candidates]))
            blocks = _blocks(later, made, row, np.concatenate(biases), same)
            names = (candidate, update, *inner)
            told.append(Step("GRU", row, (), (hidden,), *blocks, names, later.reset_behind))
    return told


def _first_candidates(nodes: Nodes, name: str, before: str, behind: bool) -> list[tuple[Sums, HostArray, str]]:
    """What a candidate is of the row, what the reset gate multiplies besides, and what that is the sigmoid of."""
    told, whole = list[tuple[Sums, HostArray, str]](), sums(nodes, name)
    if whole is not None and not behind:
        for part, reset in resets(nodes, tuple(whole.parts), before):
            parts = {one: value for one, value in whole.parts.items() if one != part}
            told.append((Sums(parts, whole.rest + whole.parts[part][1]), np.zeros(()), reset))
    for one, other in orders(nodes.made(name, "Add")) if behind else ():
        row = sums(nodes, other)
        for gate, past in orders(nodes.made(one, "Mul")):
            reset_gate, value = nodes.made(gate, "Sigmoid"), sums(nodes, past)
            if reset_gate is not None and row is not None and value is not None and not value.parts:
                told.append((row, value.rest, str(reset_gate.input[0])))
    return told


def _bias(part: Sums, row: str) -> HostArray:
    return np.asarray(part.parts[row][1] + part.rest)


def _blocks(
    later: Step, made: Sequence[Sums], row: str, biases: HostArray, same: bool
) -> tuple[HostArray, HostArray, HostArray]:
    weight = np.concatenate([part.parts[row][0].T for part in made])
    if same:
        return weight, later.recurrence, later.bias
    return weight, np.zeros_like(later.recurrence), np.concatenate([biases, np.zeros_like(biases)])


FIRST = {"LSTM": _first_lstm, "GRU": _first_gru, "RNN": first_plain_steps}
"""What looks for the first step of a cell, by its operator."""
