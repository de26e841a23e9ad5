"""ONNX -> draft layers: one pass over the nodes, in which constants fold and every tensor has a shape or a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from onnx import ModelProto, numpy_helper

from mipin_ref.errors import CorruptFile, InvalidData, UnsupportedModel
from mipin_ref.graph.bind import FLOATS, Bound
from mipin_ref.graph.conditions import Decided
from mipin_ref.graph.draft import BATCH, Draft, Gap, Refused, Signal, Unknown, in_file, without_stand_in
from mipin_ref.graph.fold import FOLDABLE, fold
from mipin_ref.graph.inferred import sample_shapes
from mipin_ref.graph.integer_products import gathered
from mipin_ref.graph.label import columns_of, probabilities_in_front, proposal, scores_behind, scores_in_front
from mipin_ref.graph.layer_list import leading_to
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.limits import CONSTANT, Spent, TooLarge
from mipin_ref.graph.lone import Dropped, check_dropped
from mipin_ref.graph.loops import check_repeated
from mipin_ref.graph.measure import Measure, Measured
from mipin_ref.graph.node import Node, node_of
from mipin_ref.graph.one_sample import on_one
from mipin_ref.graph.ops import HANDLERS
from mipin_ref.graph.ops.registry import FOLLOWS_ROWS
from mipin_ref.graph.presentable import BLOCKED, FOREIGN, standard_opset
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.prune import read_by
from mipin_ref.graph.quantised import check_moves, hand_on, standardised
from mipin_ref.graph.rows import on_rows
from mipin_ref.graph.seats import UNFIT, seated
from mipin_ref.graph.spelled_norms import spelled
from mipin_ref.graph.spelled_softmax import draft_guard, draft_softmax
from mipin_ref.graph.spread import draft_spread
from mipin_ref.graph.steps import Blur, Held, States
from mipin_ref.graph.strided import draft_view
from mipin_ref.layers import HostArray, Shape, Wired

COMPUTED_MASK = (
    "it chooses by a mask that is computed or given; followed are masks that put finite numbers or another tensor in "
    "place of what they leave out"
)
"""What is said of a Where that is not written out (see masked and filled)."""


@dataclass(frozen=True)
class Drafted:
    """The draft layers of the chosen output, in execution order, still to be canonicalised.

    logits: the tensor of the layers that the output is; None where it lies behind a node of which nothing is known;
    layout: of the output in the file; names: of all tensors of the file; problems: one a node that has no inverse,
    in whose place stands a Gap; layouts: by tensor of the file; places: of the nodes, by output;
    too_large: whether one of them asks for more than the file may; spent: what constants and weights take; held: the
    tensors of layers that the file holds as integers; blurred: products whose operand it quantises by its range;
    alone: whether the file runs one sample at a time; drops: see Draft; states: of recurrent layers with such products,
    where the file holds what they make.
    """

    layers: list[Wired]
    aliases: dict[str, str]
    bound: Bound
    output: str
    logits: str | None
    layout: Layout
    names: frozenset[str]
    problems: tuple[Problem, ...]
    layouts: dict[str, Layout]
    places: dict[str, int]
    too_large: bool
    spent: Spent
    held: Mapping[str, Held]
    blurred: Mapping[str, Blur]
    alone: bool = False
    drops: bool = False
    states: Mapping[str, States] = field(default_factory=dict)

    @property
    def input(self) -> str:
        return self.bound.data

    @property
    def input_shape(self) -> Shape:
        return self.bound.shape

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self.bound.compute

    @property
    def file_batch(self) -> int | None:
        """The batch size that the file fixes, None where it is free."""
        return self.bound.file_batch


def choose_output(proto: ModelProto, wanted: str | None) -> str:
    """The name of the tensor to explain: an output, or the scores that one tells the largest of (ArgMax).

    Raises InvalidData where the choice is not possible or not clear.
    """
    values = list(proto.graph.output)
    names: list[str] = [value.name for value in values]
    # Class labels (integers, strings) ride along in scikit-learn's exports; they hold no logit to explain.
    scores = [
        v.name for v in values if not v.type.HasField("tensor_type") or v.type.tensor_type.elem_type in (0, *FLOATS)
    ]
    if wanted is not None:
        if wanted not in names and not any(
            wanted in (*scores_in_front(proto, name), *probabilities_in_front(proto, name)) for name in names
        ):
            raise InvalidData(f"the network has no output {wanted!r}; its outputs are {', '.join(names)}")
        meant = scores_behind(proto, wanted)
        if meant in names and meant not in scores:
            raise UnsupportedModel(_no_scores(f"output {meant!r}", proto, [meant]))
        return meant
    choices = scores or [name for name in names if scores_behind(proto, name) != name]
    if not choices:
        raise UnsupportedModel(_no_scores(f"none of the network's outputs ({', '.join(names)})", proto, names))
    chosen = {scores_behind(proto, name) for name in choices}
    if len(chosen) > 1 and (whole := columns_of(proto, choices)) is not None:
        return whole
    if len(chosen) > 1:
        raise InvalidData(
            f"the network has {len(choices)} outputs ({', '.join(choices)}): name the one to explain, option 'output'"
        )
    return chosen.pop()


def _no_scores(what: str, proto: ModelProto, names: Sequence[str]) -> str:
    """That something which is told is no score, and what to explain in its place."""
    hints = list(filter(None, (proposal(proto, name) for name in names)))
    told = f"{what} is a floating-point tensor" if what.startswith("none") else f"{what} is no floating-point tensor"
    return "; ".join([told, *hints])


def read(
    proto: ModelProto,
    output: str,
    bound: Bound,
    measure: Measure | None = None,
    unwritten: Mapping[str, str] | None = None,
    *,
    loops: bool = False,
    dropping: bool = False,
) -> Drafted:
    """The draft layers of one output of a model that holds nothing else (see prune).

    bound: its inputs; measure: shapes behind nodes that have no inverse; without it onnx infers some of them;
    unwritten, dropping: see Draft; loops: whether Loops that may run a known number of times are asked for.
    Raises UnsupportedModel where the output does not depend on the input, Decided where an If is one on a constant,
    Repeated at such a Loop, Dropped where a node drops the axis of the samples.
    """
    if all(value.name != bound.data for value in proto.graph.input):
        # What read it is gone with the branch of an If that is not taken.
        raise UnsupportedModel(f"output {output!r} does not depend on the network's input {bound.data!r}")
    constants = _initializers(proto)
    constants.update({name: one.value for name, one in bound.given.items() if one.axis is None})
    nodes = [node_of(node) for node in proto.graph.node]
    names = frozenset(
        [bound.data, *bound.given, *bound.beside, *constants, *(name for node in nodes for name in node.outputs)]
    )
    spent = Spent(proto.ByteSize())
    nodes = gathered([standardised(node) for node in nodes], [output])
    draft = Draft(_opset(proto), bound.file_batch, bound.compute, spent, names, constants)
    draft.fusions = next((int(one.version) for one in proto.opset_import if one.domain == FOREIGN), 1)
    draft.unwritten, draft.dropping = unwritten or {}, dropping
    draft.read = frozenset([output, *(name for node in nodes for name in read_by(node.proto))])
    draft.signals[bound.data] = Signal(bound.data, in_file(bound.shape, bound.axis), bound.axis, not bound.whole)
    for name, one in bound.given.items():
        if one.axis is not None:
            shape = (*one.value.shape[: one.axis], BATCH, *one.value.shape[one.axis + 1 :])
            draft.signals[name] = Signal(name, shape, one.axis, one.value.dtype.kind == "f")
    for name, other in bound.beside.items():
        draft.signals[name] = Signal(name, (BATCH, *other.shape), 0, other.dtype.kind == "f")
    draft.sparse.update(tensor.values.name for tensor in proto.graph.sparse_initializer)

    problems: list[Problem] = []
    refused: dict[Problem, Node] = {}
    shapes: Callable[[str], Measured | None] | None = measure
    too_large = False
    for place, node in enumerate(nodes):
        try:
            draft.makers.update(dict.fromkeys(node.outputs, node))
            if not (draft_softmax(node, draft) or draft_guard(node, draft) or draft_view(node, draft)):
                _step(node, draft, sure=measure is not None or not problems, loops=loops)
        except Behind:
            _leave_gap(node, draft, (), shapes or _nothing)
        except Refused as reason:
            problem = Problem(node.label, without_stand_in(str(reason)), place)
            problems.append(problem)
            refused[problem] = node
            too_large = too_large or reason.too_large
            if shapes is None:
                shapes = sample_shapes(proto, bound.file_batch).get
            _leave_gap(node, draft, (problem,), shapes, reason.reads)
    end = draft.signals.get(output)
    problems = [problem for problem in problems if not _absorbed(refused[problem], draft, end)]
    if not problems and output not in draft.signals:
        raise UnsupportedModel(f"output {output!r} does not depend on the network's input")
    return Drafted(
        layers=draft.layers,
        aliases=draft.aliases,
        bound=bound,
        output=output,
        logits=None if end is None or not end.floating else end.name,
        layout=Layout() if end is None else end.layout,
        names=names,
        problems=tuple(problems),
        layouts={name: signal.layout for name, signal in draft.signals.items()},
        places={name: place for place, node in enumerate(nodes) for name in node.outputs},
        too_large=too_large,
        spent=spent,
        held=draft.held,
        blurred=draft.blurred,
        alone=draft.alone,
        drops=draft.drops,
        states=draft.states,
    )


class Behind(Exception):
    """A node that reads what a node without an inverse made, of which nothing is known."""


def _step(node: Node, draft: Draft, *, sure: bool, loops: bool) -> None:
    """Take a node into the draft. sure: whether all shapes so far are those that the file has when it is run; loops:
    see read.
    """
    dependent = [name for name in node.inputs if name in draft.signals]
    unknown = [n for n in node.inputs if n and n not in draft.signals and n not in draft.constants]
    try:
        if not unknown and draft_spread(node, draft):
            return
    except TooLarge as error:
        raise Refused(str(error), too_large=True) from error
    if node.standard and not dependent and not unknown and node.op in FOLDABLE:
        _fold(node, draft)
        return
    if sure and node.standard and node.op == "If" and node.inputs[0] in draft.constants:
        raise Decided(node.first, bool(np.any(draft.constants[node.inputs[0]])))
    if spelled(node, draft):
        return
    if draft.unwritten.get(node.first):
        raise Refused(draft.unwritten[node.first])
    if sure and loops and node.standard and node.op == "Loop":
        check_repeated(node, draft)
    handler = HANDLERS.get(node.qualified)
    if node.domain == FOREIGN and draft.fusions != 1:
        raise Refused(f"version {draft.fusions} of {FOREIGN} is not known: save the file without optimisations")
    if node.domain == BLOCKED:
        raise Refused(
            "it is laid out for one processor: save the file with onnxruntime's optimisation 'extended' or less"
        )
    if handler is None:
        raise Refused(
            "it runs subgraphs, which have no inverse" if node.has_subgraph else "no inverse is known for this operator"
        )
    for name in draft.sparse.intersection(unknown):
        raise Refused(f"input {name!r} is a sparse tensor; only dense weights are read")
    if unknown:
        if not draft.behind.keys() & {*unknown}:
            raise Refused(f"input {unknown[0]!r} is a second output of a node, or nothing at all")
        raise Behind
    if node.op not in ("Shape", "Size") and not all(draft.signals[name].floating for name in dependent):
        raise Refused(COMPUTED_MASK if node.op == "Where" else "it computes with integers")
    if not dependent:
        raise Refused("it does not depend on the network's input, and cannot be computed beforehand")
    try:
        if sure and loops:
            _ask_dropped(node, draft)
        seated(check_moves(node, draft), draft, _handled, on_one)
        hand_on(node, draft)
    except TooLarge as error:
        raise Refused(str(error), too_large=True) from error
    except UNFIT as error:
        # The door checks each node alone; that arrays do not fit together shows only here.
        raise Refused(f"its inputs do not fit together: {error}") from error


def _ask_dropped(node: Node, draft: Draft) -> None:
    """Raises Dropped where a node drops the axis of the samples, and is asked for."""
    try:
        check_dropped(node, draft)
    except Dropped:
        draft.drops = True
        if draft.dropping:
            raise


def _handled(node: Node, draft: Draft) -> None:
    folded = any(draft.signals[name].folded for name in node.inputs if name in draft.signals)
    (on_rows if folded and node.qualified not in FOLLOWS_ROWS else HANDLERS[node.qualified])(node, draft)


def _fold(node: Node, draft: Draft) -> None:
    known = [draft.constants[name] if name else None for name in node.inputs]
    try:
        values = fold(node, known, draft.opset, draft.spent)
    except TooLarge as error:
        raise Refused(str(error), too_large=True) from error
    draft.constants.update(zip(node.outputs, values, strict=True))


def _absorbed(node: Node, draft: Draft, end: Signal | None) -> bool:
    """Whether a refused node is told as part of another, and nothing else reads it."""
    if not draft.absorbed.issuperset(node.outputs):
        return False
    if end is None:
        return True
    return not {layer.output for layer in leading_to(draft.layers, {end.name})}.intersection(node.outputs)


def _leave_gap(
    node: Node,
    draft: Draft,
    problems: tuple[Problem, ...],
    shapes: Callable[[str], Measured | None],
    reads: tuple[str, ...] = (),
) -> None:
    """Go on behind a node without an inverse where its outputs are known; reads: see Refused."""
    read = [name for name in read_by(node.proto) if name in draft.signals or name in draft.behind]
    unknown = [draft.behind[name] for name in read if name in draft.behind]
    reached = [*(draft.signals[name].name for name in read if name in draft.signals)]
    dependent = reads or tuple(dict.fromkeys([*reached, *(one for some in unknown for one in some.signals)]))
    if not reads:
        problems = tuple(dict.fromkeys([*(one for some in unknown for one in some.problems), *problems]))
    for name in filter(None, node.outputs):
        known = shapes(name) if dependent else None
        if known is not None:
            gap = Gap(
                name=node.label,
                inputs=dependent,
                output=name,
                in_shapes=tuple(_sample_of(one, draft) for one in dependent),
                out_shape=known.sample,
                problems=problems,
            )
            draft.layers.append(gap)
            shape = (*known.sample[: known.axis], BATCH, *known.sample[known.axis :])
            draft.signals[name] = Signal(name, shape, known.axis, known.floating)
        elif name not in draft.signals and name not in draft.constants:
            draft.behind[name] = Unknown(dependent, problems)


def _sample_of(tensor: str, draft: Draft) -> Shape:
    """The shape of a sample of a layer's tensor, which mostly has the file's name too."""
    named = draft.signals.get(tensor)
    signals = [named] if named is not None and named.name == tensor else draft.signals.values()
    return next(signal.sample for signal in signals if signal.name == tensor)


def _nothing(name: str) -> Measured | None:
    return None


def _initializers(proto: ModelProto) -> dict[str, HostArray]:
    values: dict[str, HostArray] = {}
    for tensor in proto.graph.initializer:
        if prod(tensor.dims) > CONSTANT:
            raise UnsupportedModel(f"initializer {tensor.name!r} asks for {prod(tensor.dims)} elements")
        try:
            values[tensor.name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptFile(f"initializer {tensor.name!r} cannot be decoded: {error}") from error
    return values


def _opset(proto: ModelProto) -> int:
    opset = standard_opset(proto)
    if opset < 7:
        raise UnsupportedModel(f"the file uses opset {opset}; opset 7 is the oldest supported")
    return opset
