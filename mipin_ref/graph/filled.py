"""Where of a mask that is computed, with another fill than zeros: content beside the mask as it was recorded.

Two tensors are written a · m + b · (1 - m), and so is a constant that masks scores in front of a Softmax. Another
constant c is a · m + (a · m + c) · (1 - m), of which a product is zero wherever the other is not: it rounds nothing, as
(a - c) · m + c does where a is small; and what is filled has no signal. A mask m that compares a tensor
with a number is written max(sign(x - number), 0): where all of it is made of one tensor, element by element, that is an
activation written out (method, section 10, fine print 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from mipin_ref.graph.exponentials import LARGEST as EXPONENT
from mipin_ref.graph.exponentials import bounded, exponential
from mipin_ref.graph.fusions.writer import Surroundings, Writer, written_out
from mipin_ref.graph.inferred import kinds
from mipin_ref.graph.masked import ALONG, FIRST, MOVES, is_masking, of_inputs
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.presentable import standard_opset

LARGEST = 100.0
"""A constant beyond it is no value of a network, but stands for minus infinity, or is one that sums round away."""

HEADS = frozenset({"Softmax", "LogSoftmax", "Cast"})
"""What a final head is made of, beside moves."""

TYPES: Mapping[int, type[np.floating]] = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}


def fills_written_out(proto: ModelProto) -> ModelProto:
    """The model in which each such Where is written out; itself where there is none.

    Masks of minus infinity in front of a Softmax stay as they are: of them is told which samples they leave nothing.
    """
    if standard_opset(proto) < FIRST or not any(node.op_type == "Where" for node in proto.graph.node):
        return proto
    known, around, made, types = Nodes(proto), Surroundings.of(proto), of_inputs(proto), kinds(proto)

    def written(node: NodeProto) -> Writer | None:
        if node.op_type != "Where" or node.domain not in STANDARD or types.get(node.output[0]) not in TYPES:
            return None
        nothing = [place for place in (1, 2) if _is_nan(node.input[place], known)]
        if len(nothing) == 1 and node.input[3 - nothing[0]] in made:
            # There is nothing to explain where it puts that.
            writer = Writer(node, around)
            writer.node("Identity", writer.input(3 - nothing[0]), role="kept", out=writer.output(0))
            return writer
        constants = [known.constant(name) for name in node.input[1:]]
        sides = [place for place in (1, 2) if constants[place - 1] is None]
        if not sides or _divides(node.output[0], known):
            return None
        writer = Writer(node, around)
        chains = {side: _exponential(writer, side, known, types) for side in sides}
        ends = {one.output[0] for chain in chains.values() for one in chain[:1]}
        if not all(is_masking(node, side, made, known.makers, ends) for side in sides):
            return None
        contents = {side: _content(writer, side, chains.get(side, ()), known, types) for side in (1, 2)}
        weighs = _weighs(node.output[0], known)
        if len(sides) == 2:
            return None if weighs else _either(writer, contents, known, types)
        fill = constants[2 - sides[0]]
        if fill is None or fill.shape not in ((), (1,)):
            return None
        if _ends(node.output[0], known):
            if np.all(np.abs(fill) <= LARGEST):
                return _filled(writer, contents, sides[0], known, types)
            return _either(writer, contents, known, types) if np.all(np.isfinite(fill)) else None
        if weighs:
            masks = np.all(np.isfinite(fill) & (fill < -LARGEST))
            return _either(writer, contents, known, types) if masks else None
        return _filled(writer, contents, sides[0], known, types) if np.all(np.abs(fill) <= LARGEST) else None

    return written_out(proto, written)


def _ends(name: str, known: Nodes) -> bool:
    """Whether a tensor is an output, or what comes to outputs by moves and a head alone: scores, some left out."""
    through = MOVES | HEADS
    return all(
        node.op_type in through | {"ArgMax"} for _, reading in _read_on(name, known, _handed_on) for node in reading
    )


def _handed_on(name: str, node: NodeProto) -> bool:
    return node.op_type in MOVES | HEADS


def _is_nan(name: str, known: Nodes) -> bool:
    """Whether a tensor holds NaN alone, whatever the input."""
    value, maker = known.constant(name), known.makers.get(name)
    if value is None and maker is not None and maker.op_type == "ConstantOfShape":
        told = told_of(maker, "value")
        value = None if told is None else numpy_helper.to_array(told)
    return value is not None and value.dtype.kind == "f" and bool(value.size) and bool(np.all(np.isnan(value)))


def _exponential(writer: Writer, side: int, known: Nodes, types: Mapping[str, int]) -> Sequence[NodeProto]:
    """What makes a side of the exponential of the tensor that the condition compares, where the condition takes that
    side below a number alone; else nothing.
    """
    compared = _compared(writer, known, types)
    if compared is None or compared[2] == (side == 1) or not np.all(compared[1] <= EXPONENT):
        return ()
    return exponential(writer.input(side), compared[0], known)


def _content(writer: Writer, side: int, chain: Sequence[NodeProto], known: Nodes, types: Mapping[str, int]) -> str:
    """An input of the Where, as it is written. chain: what makes it of an exponential, where it does."""
    compared = _compared(writer, known, types)
    if not chain or compared is None:
        return writer.input(side)
    return bounded(writer, chain, writer.constant("bound", compared[1].astype(TYPES[types[writer.output(0)]])))


def _filled(writer: Writer, contents: Mapping[int, str], side: int, known: Nodes, types: Mapping[str, int]) -> Writer:
    """Writes a · m + (a · m + c) · (1 - m); contents: by which input they are; side: which of them a is."""
    masks = [_mask(writer, known, types, kept=kept) for kept in (side == 1, side == 2)]
    product = writer.node("Mul", contents[side], masks[0], role="kept part")
    above = writer.node("Add", product, contents[3 - side], role="kept part and fill")
    filled = writer.node("Mul", above, masks[1], role="fill")
    writer.node("Add", product, filled, role="filled", out=writer.output(0))
    return writer


def _either(writer: Writer, contents: Mapping[int, str], known: Nodes, types: Mapping[str, int]) -> Writer:
    """Writes a · m + b · (1 - m)."""
    parts = [
        writer.node("Mul", contents[side], _mask(writer, known, types, kept=side == 1), role=f"part {side}")
        for side in (1, 2)
    ]
    writer.node("Add", *parts, role="either", out=writer.output(0))
    return writer


def _mask(writer: Writer, known: Nodes, types: Mapping[str, int], *, kept: bool) -> str:
    """Ones where the condition holds, or where it does not, as numbers of the Where's own type."""
    kind, role = types[writer.output(0)], "kept" if kept else "left"
    compared = _compared(writer, known, types)
    if compared is None:
        asked = writer.input(0) if kept else writer.node("Not", writer.input(0), role="not")
        return writer.node("Cast", asked, role=f"{role} mask", to=kind)
    tensor, number, above, itself = compared
    bound = writer.constant(f"{role} bound", number.astype(TYPES[kind]))
    # Where the number itself counts, it is what the condition leaves that lies strictly beyond it.
    order = (tensor, bound) if above != itself else (bound, tensor)
    apart = writer.node("Sub", *order, role=f"{role} difference")
    beyond = writer.node("Relu", writer.node("Sign", apart, role=f"{role} sign"), role=f"{role} beyond")
    if kept != itself:
        return beyond
    one = writer.constant(f"{role} one", np.ones((), TYPES[kind]))
    return writer.node("Sub", one, beyond, role=f"{role} mask")


def _compared(writer: Writer, known: Nodes, types: Mapping[str, int]) -> tuple[str, np.ndarray, bool, bool] | None:
    """The tensor and the number that a condition compares, whether it holds above, and whether at the number itself;
    None where it is another condition.
    """
    node = known.made(writer.input(0), "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    if node is None:
        return None
    tensors = [name for name in node.input if known.constant(name) is None]
    numbers = [value for name in node.input if (value := known.constant(name)) is not None]
    if len(tensors) != 1 or numbers[0].size != 1 or types.get(tensors[0]) != types[writer.output(0)]:
        return None
    above = node.op_type.startswith("Greater") == (tensors[0] == node.input[0])
    return tensors[0], numbers[0], above, node.op_type.endswith("OrEqual")


def _divides(name: str, known: Nodes) -> bool:
    """Whether a tensor comes, by moves and by operators of no other tensor, to nothing but divisors, roots and
    logarithms: then it is filled to guard them, and is state.
    """
    ended = False
    for one, reading in _read_on(name, known, lambda one, node: not _is_guarded(node, one, known)):
        for node in reading:
            if _is_guarded(node, one, known):
                ended = True
                continue
            free = {other for other in node.input if other and known.constant(other) is None}
            if node.op_type not in ALONG | MOVES or free != {one} or len(node.output) != 1:
                return False
        if not reading:
            return False
    return ended


def _is_guarded(node: NodeProto, name: str, known: Nodes) -> bool:
    """Whether an operator is one that a value is filled for: that no zero, or nothing below it, may come to."""
    if node.op_type == "Pow":
        power = known.constant(node.input[1])
        return power is None or bool(np.any((power < 0) | (power != np.round(power))))
    return node.op_type in ("Reciprocal", "Log", "Sqrt") or (node.op_type == "Div" and [*node.input].index(name) == 1)


def _weighs(name: str, known: Nodes) -> bool:
    """Whether a tensor comes to a Softmax by moves and sums alone."""
    through = MOVES | {"Add", "Cast"}
    reached = _read_on(name, known, lambda one, node: node.op_type in through)
    return any(node.op_type in ("Softmax", "LogSoftmax") for _, reading in reached for node in reading)


def _read_on(
    name: str, known: Nodes, through: Callable[[str, NodeProto], bool]
) -> Iterator[tuple[str, Sequence[NodeProto]]]:
    """A tensor, and those that are made of it by nodes that are gone through, each with the nodes that read it."""
    waiting, seen = [name], set[str]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        reading = known.readers.get(one, ())
        yield one, reading
        waiting.extend(output for node in reading if through(one, node) for output in node.output)
