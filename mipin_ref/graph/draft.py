"""The draft that reading fills: every tensor has a value or a shape, every node that acts on a signal its layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np

from mipin_ref.graph.layout import ALONE, Layout, Rows
from mipin_ref.graph.limits import TENSOR, Spent
from mipin_ref.graph.node import Node
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.steps import Blur, Held, States, Step
from mipin_ref.layers import Gather, HostArray, Reshape, Shape, Slice, Wired

BATCH = 1_000_003
"""Stands for the batch size while shapes are computed: a prime no network has, so it survives products unmistaken."""


class Refused(Exception):
    """Why a node has no inverse here; too_large: because it asks for more than the file may; reads: the tensors of
    layers that it and the nodes told with it start from, where these are several.
    """

    def __init__(self, reason: str, *, too_large: bool = False, reads: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.too_large = too_large
        self.reads = reads


class _Passing(Wired):
    """What stands in the draft alone, as no layer of a network is of its kind."""

    room = 0
    columns = 0

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {}

    @property
    def work(self) -> int:
        return self.touched


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(_Passing):
    """Softmax or LogSoftmax."""

    kind = "Softmax"
    function: str
    axis: int | None = None
    """The axis of a sample along which it normalises; None for all its entries together."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Log(_Passing):
    """The natural logarithm, which belongs to the head that it stands behind."""

    kind = "Log"


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(_Passing):
    """Two tensors multiplied, or the first divided by the second, before it is known what that is: an activation
    written out, or a gate.
    """

    kind = "Product"
    function: Literal["Mul", "Div"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Contraction(_Passing):
    """The matrix product of two tensors [..., a, b] and [..., b, c] of one rank, whose other axes broadcast, before it
    is known whether it is attention. label: of its node.
    """

    kind = "Contraction"
    label: str

    @property
    def work(self) -> int:
        return self.touched + prod(self.out_shape) * self.in_shape[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Gap(_Passing):
    """Where a refused node stood: what is behind it may have an inverse all the same.

    problems: its own, and those of nodes before it of whose outputs nothing is known.
    """

    kind = "Gap"
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Signal:
    """A tensor that depends on the input.

    name: of its batch-first form; shape: as in the file, with BATCH at `axis`, or a multiple of it where rows of a
    sample are folded into that axis; floating: whether it holds such numbers; rows: how many of these vary slower than
    the sample, and how many faster.
    """

    name: str
    shape: Shape
    axis: int
    floating: bool = True
    rows: Rows = ALONE

    @property
    def folded(self) -> bool:
        """Whether the axis of the batch holds several rows of each sample."""
        return self.rows != ALONE

    @property
    def sample(self) -> Shape:
        """The shape of a sample, in which folded rows are an axis where the file has the batch."""
        rows = (prod(self.rows),) if self.folded else ()
        return (*self.shape[: self.axis], *rows, *self.shape[self.axis + 1 :])

    @property
    def layout(self) -> Layout:
        return Layout(self.axis, self.rows)

    def inner(self, axis: int) -> int:
        """The axis of the sample that an axis of the file is. Refused where it is that of the batch."""
        if axis == self.axis:
            raise Refused("it works along the batch")
        return axis - (axis > self.axis and not self.folded)


@dataclass(frozen=True)
class Unknown:
    """A tensor of which nothing is known but the signals that it depends on and why: problems of nodes before it."""

    signals: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass
class Draft:
    """The state of the pass: what handlers read and extend.

    names: of all tensors of the file; read: those that a node reads or that are the output; behind: tensors of
    unknown shape because a node before them was refused; sparse: weights that the file holds as sparse tensors;
    selections: the layers that pick values of a tensor; rows: those that make one row of it; spent: what the model
    has asked for up to here; makers: of tensors; spelled: what tensors are of one that may be normalised (see
    spelled_norms); absorbed: tensors whose nodes are told as part of another; maps: tensors with rows folded into
    the batch as they are with their channels first (see rows); steps: how tensors of the file that hold small
    integers count; held: where the file holds the values of tensors of layers as such (see quantised); blurred:
    products of what is quantised by its own range; states: of recurrent layers that are so, where the file holds what
    they make; positive: what is known of the sign of tensors; fusions: the
    version of onnxruntime's own operators; unwritten: why some of these stand as they are, by their first output;
    alone: whether the file holds a state of one sample, and so runs one at a time; dropping: whether nodes that
    drop the axis of the samples are asked for (see lone); drops: whether one would have been; spread: constants
    that the file repeats for each sample, and the axis of the batch, along which they are kept once; seats:
    tensors with the batch on another axis (see seats); reshaped: what the output of a Reshape was.
    """

    opset: int
    file_batch: int | None
    dtype: np.dtype[np.floating]
    spent: Spent
    names: frozenset[str] = frozenset()
    constants: dict[str, HostArray] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    layers: list[Wired] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    behind: dict[str, Unknown] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    sparse: set[str] = field(default_factory=set)
    makers: dict[str, Node] = field(default_factory=dict)
    spelled: dict[str, Any] = field(default_factory=dict)
    absorbed: frozenset[str] = frozenset()
    steps: dict[str, Step] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    blurred: dict[str, Blur] = field(default_factory=dict)
    states: dict[str, States] = field(default_factory=dict)
    positive: dict[str, bool] = field(default_factory=dict)
    fusions: int = 1
    unwritten: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    dropping: bool = False
    drops: bool = False
    spread: dict[str, int] = field(default_factory=dict)
    selections: dict[str, list[Slice | Gather]] = field(default_factory=dict)
    rows: dict[str, list[Reshape]] = field(default_factory=dict)
    maps: dict[str, Signal] = field(default_factory=dict)
    seats: dict[tuple[str, Shape, int], Signal] = field(default_factory=dict)
    reshaped: dict[str, Signal] = field(default_factory=dict)
    _shared: set[int] = field(default_factory=set)

    def constant(self, name: str) -> HostArray | None:
        """The value of a known tensor; None where it is left out. Refused where it depends on the input."""
        if not name:
            return None
        if name not in self.constants:
            raise Refused(f"input {name!r} is not a constant")
        return self.constants[name]

    def weight(self, name: str) -> HostArray:
        """A constant in the network's dtype. Refused where it is missing or not finite."""
        value = self.constant(name)
        if value is None:
            raise Refused("a weight is missing")
        if not np.issubdtype(value.dtype, np.floating):
            raise Refused(f"weight {name!r} is {value.dtype}, not floating point")
        if not np.all(np.isfinite(value)):
            raise Refused(f"weight {name!r} holds NaN or Inf")
        typed = value.astype(self.dtype, copy=False)
        if typed is value:
            self._shared.add(id(typed))
        return typed

    def shift(self, name: str) -> HostArray:
        """The same of what is added, in which minus infinity, as masks of a softmax have it, is a large number: behind
        the softmax both are zero.
        """
        value = self.constants.get(name)
        if value is not None and value.dtype.kind == "f" and np.any(np.isneginf(value)):
            lowest = np.finfo(self.dtype).min / 4
            value = np.where(np.isneginf(value), lowest, value.astype(self.dtype, copy=False))
            if not np.all(np.isfinite(value)):
                raise Refused(f"weight {name!r} holds NaN or Inf")
            return np.asarray(value, self.dtype)
        return self.weight(name)

    def option(self, node: Node, attribute: str, index: int) -> HostArray | None:
        """A parameter that newer opsets take as input `index` and older ones as an attribute."""
        if attribute in node.attributes:
            return np.asarray(node.attributes[attribute])
        return self.constant(node.input(index))

    def signal(self, node: Node, *, batch_first: bool = True) -> Signal:
        """The one input of the node that depends on the network's input, which must be its first."""
        if node.inputs[0] not in self.signals:
            other = next(name for name in node.inputs if name in self.signals)
            raise Refused(f"input {other!r} is not a constant")
        source = self.signals[node.inputs[0]]
        if batch_first:
            check_batch_first(source, node.inputs[0])
        return source

    def inner_name(self, node: Node, role: str) -> str:
        """A name that the file does not have, for a tensor between the layers of one node."""
        name = f"{node.outputs[0]}:{role}"
        while name in self.names:
            name += "'"
        return name

    def add(self, layer: Wired, *, axis: int = 0, rows: Rows = ALONE) -> None:
        """Append a layer whose output has the batch, with rows of each sample, at `axis` in the file."""
        shape = in_file(layer.out_shape, axis, rows)
        if prod(layer.out_shape) > TENSOR:
            raise Refused(f"its output has {prod(layer.out_shape):,} elements a sample", too_large=True)
        if layer.room > TENSOR:
            raise Refused(f"its input has {layer.room:,} elements a sample once it is padded", too_large=True)
        # Weights that are the constants themselves take nothing more.
        self.spent.hold(sum(array.nbytes for array in layer.arrays.values() if id(array) not in self._shared))
        self.layers.append(layer)
        self.signals[layer.output] = Signal(layer.output, shape, axis, rows=rows)

    def nothing(self, name: str, shape: Shape, axis: int) -> None:
        """Let a tensor of the file be zeros, the same for each sample: kept once along the axis of the batch."""
        self.constants[name], self.spread[name] = np.zeros(shape, self.dtype), axis

    def alias(self, name: str, source: Signal, shape: Shape | None = None, axis: int | None = None) -> None:
        """Let tensor `name` of the file be `source` under another name (and batch position)."""
        place = source.axis if axis is None else axis
        self.alias_as(name, replace(source, shape=shape or source.shape, axis=place, floating=True))

    def alias_as(self, name: str, signal: Signal) -> None:
        """Let tensor `name` of the file be that of a signal, as this says how the file has it."""
        self.signals[name] = signal
        self.aliases[name] = signal.name


def check_batch_first(x: Signal, name: str) -> None:
    """Raise Refused where the batch is not the first axis of tensor `name` of the file."""
    if x.axis != 0:
        raise Refused(
            f"the batch is axis {x.axis} of {name!r}, where it should be the first; a file of one sample, without a "
            "batch, is one by option 'input_shape' with the sizes of all axes of the input"
        )


def in_file(sample: Shape, axis: int, rows: Rows = ALONE) -> Shape:
    """The shape in the file of a tensor of samples, in which rows, where they are folded, are the axis `axis`."""
    behind = sample[axis:] if rows == ALONE else sample[axis + 1 :]
    return (*sample[:axis], BATCH * prod(rows), *behind)


def readable(shape: Shape) -> str:
    """A shape for an error message, with N for the batch."""
    return "[" + ", ".join(_length(d) for d in shape) + "]"


def of_batch(length: int) -> bool:
    """Whether the length of an axis was computed of the batch's stand-in."""
    return length >= BATCH and length % BATCH == 0


def _length(d: int) -> str:
    if not of_batch(d):
        return str(d)
    return "N" if d == BATCH else f"{d // BATCH}·N"


def without_stand_in(message: str) -> str:
    """A message with N for the batch, wherever a number of it was computed of its stand-in."""
    return re.sub(r"\d{1,3}(,\d{3}){2,}|\d{7,}", _spoken, message)


def _spoken(match: re.Match[str]) -> str:
    number = int(match[0].replace(",", ""))
    if number % BATCH or not number:
        return match[0]
    return "N" if number == BATCH else f"{number // BATCH}·N"
