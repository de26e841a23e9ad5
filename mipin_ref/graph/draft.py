"""The draft that reading fills: every tensor has a value or a shape; some layers must still dissolve into others."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from mipin_ref.graph.layer import Array, Layer, Shape
from mipin_ref.graph.node import MAX_ELEMENTS, Node

BATCH = 1_000_003
"""Stands for the batch size while shapes are computed: a prime no network has, so it survives products unmistaken."""


class Refused(Exception):
    """Why a node cannot be handled; becomes one entry of UnsupportedModel."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Layer):
    """x -> x · scale + shift; both of the rank of the per-sample shape, with axes of length one where constant.

    labels: the file's nodes that it stands for.
    """

    kind = "Affine"
    labels: tuple[str, ...]
    scale: Array
    shift: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Layer):
    """Zeros around the sample; begin and end have one entry per axis of the per-sample shape."""

    kind = "Pad"
    begin: tuple[int, ...]
    end: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Layer):
    """Softmax, LogSoftmax, or the two-class [1 - sigmoid(z), sigmoid(z)] ("TwoClassSigmoid")."""

    kind = "Softmax"
    function: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Gap(Layer):
    """Where a refused node stood: reading goes on behind it, so that every other problem is found too."""

    kind = "Gap"


@dataclass(frozen=True)
class Signal:
    """A tensor that depends on the input.

    name: of its batch-first form; shape: as in the file, with BATCH at `axis`.
    """

    name: str
    shape: Shape
    axis: int

    @property
    def sample(self) -> Shape:
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]


@dataclass
class Draft:
    """The state of the pass: what handlers read and extend.

    behind: tensors of unknown shape because a node before them was refused; grown: elements that folded constants
    have beyond those they were made of.
    """

    opset: int
    file_batch: int | None
    dtype: np.dtype[np.floating]
    constants: dict[str, Array] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    grown: int = 0

    def constant(self, name: str) -> Array | None:
        """The value of a known tensor; None where it is left out. Refused where it depends on the input."""
        if not name:
            return None
        if name not in self.constants:
            raise Refused(f"input {name!r} is not a constant")
        return self.constants[name]

    def weight(self, name: str) -> Array:
        """A constant in the network's dtype. Refused where it is missing or not finite."""
        value = self.constant(name)
        if value is None:
            raise Refused("a weight is missing")
        if not np.issubdtype(value.dtype, np.floating):
            raise Refused(f"weight {name!r} is {value.dtype}, not floating point")
        if not np.all(np.isfinite(value)):
            raise Refused(f"weight {name!r} holds NaN or Inf")
        return value.astype(self.dtype, copy=False)

    def option(self, node: Node, attribute: str, index: int) -> Array | None:
        """A parameter that newer opsets take as input `index` and older ones as an attribute."""
        if attribute in node.attributes:
            return np.asarray(node.attributes[attribute])
        return self.constant(node.input(index))

    def signal(self, node: Node, *, batch_first: bool = True) -> Signal:
        """The one input of the node that depends on the network's input, which must be its first."""
        dependent = [n for n in node.inputs if n in self.signals]
        if len(dependent) > 1:
            raise Refused("it joins several branches")
        if node.inputs[0] not in self.signals:
            raise Refused(f"input {dependent[0]!r} is not a constant")
        found = self.signals[node.inputs[0]]
        if batch_first and found.axis != 0:
            raise Refused(f"the batch is axis {found.axis} of {node.inputs[0]!r}")
        return found

    def add(self, layer: Layer, *, axis: int = 0) -> None:
        """Append a layer whose output has the batch at `axis` in the file."""
        shape = (*layer.out_shape[:axis], BATCH, *layer.out_shape[axis:])
        if prod(layer.out_shape) > MAX_ELEMENTS:
            raise Refused(f"its output has {prod(layer.out_shape)} elements a sample")
        self.layers.append(layer)
        self.signals[layer.output] = Signal(layer.output, shape, axis)

    def alias(self, node: Node, source: Signal, shape: Shape | None = None, axis: int | None = None) -> None:
        """Output 0 of the node is its input under another name (and batch position)."""
        moved = Signal(source.name, source.shape if shape is None else shape, source.axis if axis is None else axis)
        self.signals[node.outputs[0]] = moved
        self.aliases[node.outputs[0]] = source.name


def readable(shape: Shape) -> str:
    """A shape for an error message, with N for the batch."""
    return "[" + ", ".join("N" if d == BATCH else str(d) for d in shape) + "]"
