"""Steps that hand on their states: which of them are one operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onnx import ModelProto

from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.ops.plain_recurrent import STEPS
from mipin_ref.graph.unrolled.cells import steps_of
from mipin_ref.graph.unrolled.partial import first_steps, last_cells
from mipin_ref.graph.unrolled.places import Place, place_of
from mipin_ref.graph.unrolled.plain import FUNCTIONS
from mipin_ref.graph.unrolled.step import Step

STATES = {"Mul", "Add", *FUNCTIONS}
"""What the hidden state of a step is made by."""


@dataclass(frozen=True, eq=False)
class Placed:
    """step: a step of a cell; place: of the row that it reads, None where that is none of a sequence."""

    step: Step
    place: Place | None

    @property
    def sequence(self) -> tuple[str, int] | None:
        """The sequence that it reads, and the axis of steps."""
        return None if self.place is None else (self.place.sequence, self.place.axis)

    def follows(self, other: Placed) -> bool:
        """Whether it is the step of the same cell, along the same sequence, behind another one."""
        return self.sequence is not None and self.sequence == other.sequence and self.step.goes_on(other.step)


Chain = list[tuple[Step, Place]]


def chain_of(proto: ModelProto, left: set[str]) -> Chain | None:
    """The first chain that is one operator; None where there is none.

    All steps along one sequence that hand on their states are one operator, or none of them is: where one of them has
    other weights, or where steps along another sequence come in between, they stay as they are. left: hidden states of
    steps that stay; those that are found to stay are added.
    """
    placed = _placed(proto)
    before = {one: _before(one, placed) for one in placed}
    gone_on = {*before.values()}
    for end in placed:
        if end in gone_on:
            continue
        linked: list[Placed] = []
        one: Placed | None = end
        while one is not None:
            linked.insert(0, one)
            one = before[one]
        if (chain := _first(linked, placed, left)) is not None:
            return chain
    return None


def _first(linked: Sequence[Placed], placed: Sequence[Placed], left: set[str]) -> Chain | None:
    """The first sequence along which steps are one operator; placed: all steps of the file."""
    for sequence in dict.fromkeys(one.sequence for one in linked):
        along = [one for one in linked if one.sequence == sequence]
        chain = [(one.step, one.place) for one in along if one.place is not None]
        if len(chain) < 2 or left & {one.step.states[0] for one in along}:
            continue
        # Where rows are as wide as states, a cell above may be read as what goes on with the states of this one.
        if any(one.follows(along[-1]) for one in placed):
            continue
        start = linked.index(along[0])
        together = along == [*linked[start : start + len(along)]]
        # A plain cell of more steps than are written out is no operator that can be read; as it stands, it can.
        short = chain[0][0].op != "RNN" or len(chain) <= STEPS
        if short and together and all(later.follows(one) for one, later in pairwise(along)):
            return chain
        left.update(step.states[0] for step, _ in chain)
    return None


def _placed(proto: ModelProto) -> list[Placed]:
    """All that may be steps, and those of which nothing reads the hidden state, in the order of the file."""
    nodes, placed = Nodes(proto), list[Placed]()
    by_cell: dict[str, list[Step]] = {}
    for node in proto.graph.node:
        for step in steps_of(nodes, node.output[0]) if node.op_type in STATES else ():
            placed.append(Placed(step, place_of(nodes, step.x)))
            by_cell.setdefault(step.states[-1], []).append(step)
    for node in proto.graph.node:
        name = node.output[0]
        if node.op_type != "Add" or name in by_cell:
            continue
        behind = [step for cell in _factors(nodes, name) for step in by_cell.get(cell, ())]
        last = [(step, earlier) for earlier in behind for step in last_cells(nodes, name, earlier)]
        # Where rows are as wide as states, the step before was read in two ways, of which one goes on.
        agreeing = [pair for pair in last if pair[0].goes_on(pair[1])]
        placed += [Placed(step, place_of(nodes, step.x)) for step, _ in agreeing or last]
    hidden = {one.step.states[0] for one in placed}
    firsts = [
        (step, one.step) for one in placed if one.step.before[0] not in hidden for step in first_steps(nodes, one.step)
    ]
    agreeing = [pair for pair in firsts if pair[1].goes_on(pair[0])]
    placed += [Placed(step, place_of(nodes, step.x)) for step, _ in agreeing or firsts]
    return placed


def _factors(nodes: Nodes, name: str) -> list[str]:
    """The factors of the products that a tensor is the sum of."""
    added = nodes.made(name, "Add")
    products = [] if added is None else [nodes.made(one, "Mul") for one in added.input]
    return [str(factor) for product in products if product is not None for factor in product.input]


def _before(one: Placed, placed: Sequence[Placed]) -> Placed | None:
    """The step that hands its states to another: the same cell's along the same sequence, or else any."""
    step = one.step
    given = [other for other in placed if other.step.op == step.op and other.step.states == step.before]
    # Where rows are as wide as states, either was taken for the row: that of a sequence is.
    given.sort(key=lambda other: (not one.follows(other), one.sequence != other.sequence))
    return given[0] if given else None
