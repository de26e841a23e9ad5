"""A Loop whose number of turns the file tells: its body once for each of them, in place of the node.

As tf2onnx writes GRU, SimpleRNN and masked layers of Keras. What a turn makes of numbers that are known is computed
beforehand, so that a turn holds what depends on the input alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from mipin_ref.graph.conditions import renamed
from mipin_ref.graph.draft import BATCH, Draft, Refused
from mipin_ref.graph.fold import FOLDABLE, fold
from mipin_ref.graph.functions import all_nodes, subgraphs
from mipin_ref.graph.fusions.writer import Surroundings, Writer, tensor_of
from mipin_ref.graph.limits import LOOPS, TURNS, WRITTEN, TooLarge
from mipin_ref.graph.node import STANDARD, Node, node_of
from mipin_ref.graph.prune import read_by, with_nodes
from mipin_ref.layers import HostArray

ENDLESS = "how often it runs depends on the input"
TOO_MANY = f"its turns are more than {TURNS:,} nodes"
TOO_LARGE = f"its turns, with those of Loops in front of it, are more than {WRITTEN:,} bytes"


class Repeated(Exception):
    """A Loop may run a number of times that does not depend on the input. output: the first that it has; draft: what is
    known in front of it.
    """

    def __init__(self, node: Node, draft: Draft) -> None:
        self.output, self.draft = node.first, draft
        super().__init__(f"{node.label} runs a number of times that is known")


class Known(NamedTuple):
    """name: of a tensor outside of the body; value: what it holds, None where that depends on the input."""

    name: str
    value: HostArray | None


def check_repeated(node: Node, draft: Draft) -> None:
    """Raises Repeated where what a Loop is told does not depend on the input, else Refused."""
    if any(name and known_outside(name, draft).value is None for name in node.inputs[:2]):
        raise Refused(ENDLESS)
    raise Repeated(node, draft)


def known_outside(name: str, draft: Draft) -> Known:
    """A tensor in front of a Loop. What is repeated for each sample, or counts samples, is not known."""
    value = draft.constants.get(name)
    if value is None or name in draft.spread:
        return Known(name, None)
    counts = value.dtype.kind in "iu" and np.any((value != 0) & (value % BATCH == 0))
    return Known(name, None if counts else value)


def left_as_loops(proto: ModelProto) -> dict[str, str]:
    """Why all Loops of a model stand as they are where enough of them were written out, by the first output."""
    loops = (node_of(node) for node in proto.graph.node if node.op_type == "Loop")
    return {loop.first: f"more than {LOOPS} are not written out" for loop in loops}


def turns_written_out(proto: ModelProto, repeated: Repeated, most: int) -> ModelProto:
    """The model with the turns of a Loop in its place. most: bytes that it may have.

    Raises Refused where the number of turns is not known after all, or they are too many or too large.
    """
    place = next(i for i, node in enumerate(proto.graph.node) if repeated.output in node.output)
    node = proto.graph.node[place]
    writer = Writer(node, Surroundings.of(proto))
    read = {name for one in proto.graph.node for name in read_by(one)} | {one.name for one in proto.graph.output}
    try:
        _write(writer, repeated.draft, most - proto.ByteSize(), read)
    except TooLarge as error:
        raise Refused(str(error)) from error
    kept = [*proto.graph.node]
    return with_nodes(proto, [*kept[:place], *writer.nodes, *kept[place + 1 :]], writer.constants)


def _write(writer: Writer, draft: Draft, room: int, read: set[str]) -> None:
    """room: bytes that the turns may take; read: what something reads."""
    body = next(graph for attribute in writer.proto.attribute for graph in subgraphs(attribute))
    turns, count = Turns(writer, body, draft, room), len(writer.proto.input) - 2
    most, going_on, *states = (known_outside(name, draft) for name in writer.proto.input)
    if not writer.proto.input[1]:
        # What is told of going on may be left out; a turn reads it as true.
        going_on = turns.constant("go", np.array(True))
    scanned: list[list[Known]] = [[] for _ in body.output[1 + count :]]
    if _goes_on(body) and (most.value is None or most.value.item() * turns.nodes > TURNS):
        raise Refused(TOO_MANY)
    number = 0
    while (going_on.value is None or going_on.value.all()) and (most.value is None or number < most.value.item()):
        going_on, *handed = turns.turn(number, [going_on, *states])
        if going_on.value is None:
            raise Refused(ENDLESS)
        states = handed[:count]
        for rows, row in zip(scanned, handed[count:], strict=True):
            rows.append(row)
        number += 1
    for place, state in enumerate(states):
        if out := writer.output(place):
            writer.node("Identity", turns.stored(state), role=f"state {place}", out=out)
    for place, rows in enumerate(scanned, count):
        out = writer.output(place)
        if not number and out in read:
            raise Refused("it does not run, and what it hands out has no rows")
        if number and out:
            names = map(turns.stored, rows)
            parts = [writer.over("Unsqueeze", name, (0,), f"row {place} of {i}") for i, name in enumerate(names)]
            writer.node("Concat", *parts, role=f"rows {place}", out=out, axis=0)


def _hands_on(node: NodeProto) -> bool:
    return node.op_type == "Identity" and node.domain in STANDARD


def _goes_on(body: GraphProto) -> bool:
    """Whether a turn hands on what it is told of going on, so that nothing is written to find that out."""
    handed = {node.output[0]: node.input[0] for node in body.node if _hands_on(node)}
    last = body.output[0].name
    return bool(handed.get(last, last) == body.input[1].name)


@dataclass
class Turns:
    """writer: writes turn after turn; room: bytes that these may take still; nodes: of a turn, those inside of others
    included; computed: outputs of the body's nodes by place and inputs; held: the constants, by value; unread: those of
    them, by name, that no node reads so far, which are not written.
    """

    writer: Writer
    body: GraphProto
    draft: Draft
    room: int
    computed: dict[tuple[int, tuple[int, ...]], list[HostArray]] = field(default_factory=dict)
    held: dict[int, Known] = field(default_factory=dict)
    unread: dict[str, HostArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A turn without nodes takes its time as well.
        self.nodes = max(1, sum(1 for _ in all_nodes(self.body.node)))
        self.inner = {one.name: self.constant(one.name, numpy_helper.to_array(one)) for one in self.body.initializer}

    def turn(self, number: int, given: list[Known]) -> list[Known]:
        """Write one turn. given: whether it goes on, and the states; returned are these, and the rows, behind it."""
        if (number + 1) * self.nodes > TURNS:
            raise Refused(TOO_MANY)
        first = self.constant(f"turn {number}", np.array(number, np.int64))
        made = self.inner | dict(zip((one.name for one in self.body.input), [first, *given], strict=True))
        for place, proto in enumerate(self.body.node):
            read = {name: self._of(name, made) for name in read_by(proto)}
            if _hands_on(proto):
                # A state that is handed on is that tensor: cells are known by their states.
                made[proto.output[0]] = read[proto.input[0]]
                continue
            if (values := self._values(place, node_of(proto), read)) is not None:
                made |= {name: self.constant(name, value) for name, value in values.items() if name}
                continue
            new = {
                name: Known(self.writer.free(f"turn {number} {_plain(name)}"), None) for name in proto.output if name
            }
            made |= new
            names = {name: self.stored(one) for name, one in (read | new).items()}
            self.room -= proto.ByteSize()
            if self.room < 0:
                raise Refused(TOO_LARGE)
            self.writer.nodes.append(renamed(proto, names, f"{self.writer.output(0)} turn {number} "))
        return [self._of(one.name, made) for one in self.body.output]

    def _of(self, name: str, made: Mapping[str, Known]) -> Known:
        return made[name] if name in made else known_outside(name, self.draft)

    def _values(self, place: int, node: Node, read: Mapping[str, Known]) -> dict[str, HostArray] | None:
        """What a node makes of values that are known; None where it is not folded."""
        given = [read[name].value if name else None for name in node.inputs]
        known = all(value is not None for name, value in zip(node.inputs, given, strict=True) if name)
        if not known or not node.standard or node.has_subgraph or node.op not in FOLDABLE:
            return None
        key = (place, tuple(map(id, given)))
        if key not in self.computed:
            self.computed[key] = fold(node, given, self.draft.opset, self.draft.spent)
        return dict(zip(node.outputs, self.computed[key], strict=True))

    def constant(self, name: str, value: HostArray) -> Known:
        """A constant, under a name of its own that ends with that of a tensor of the body."""
        # The value is kept, so that its identity stays its own.
        if id(value) not in self.held:
            # The number makes the name a new one at once, however many turns there are.
            free = self.writer.free(f"known {len(self.held)} {_plain(name)}")
            self.held[id(value)], self.unread[free] = Known(free, value), value
        return self.held[id(value)]

    def stored(self, known: Known) -> str:
        """The name of a tensor that a node reads. A constant is written now."""
        if (value := self.unread.pop(known.name, None)) is not None:
            self.writer.constants.append(tensor_of(value, known.name))
        return known.name


def _plain(name: str) -> str:
    """The name of a tensor as a part of another's, in which a colon ends the first part."""
    return name.replace(":", " ")
