"""The records that a network is made of: one frozen class a kind of layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy.typing as npt

from mipin_ref.errors import UnsupportedModel
from mipin_ref.window import Window

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

ELEMENT, TAP = 64, 32
"""Multiply-adds of a matrix product that take onnxruntime as long as an element that is read or written, and as one
location under a window of a pool."""

THIN = 8
"""Output channels of a group below which a convolution is slower, and by how much."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One step from tensors `inputs` to tensor `output`; shapes are per sample, the batch is always the first axis."""

    kind: ClassVar[str] = ""
    name: str
    inputs: tuple[str, ...]
    output: str
    in_shapes: tuple[Shape, ...]
    out_shape: Shape

    @property
    def input(self) -> str:
        """The first input; of all layers but Add and Concat the only one."""
        return self.inputs[0]

    @property
    def in_shape(self) -> Shape:
        """The shape of `input`."""
        return self.in_shapes[0]

    @property
    def parameters(self) -> int:
        return 0

    @property
    def work(self) -> int:
        """What running it takes a sample, in multiply-adds of a large matrix product."""
        return ELEMENT * (prod(self.out_shape) + sum(map(prod, self.in_shapes)))

    @property
    def room(self) -> int:
        """Elements a sample of its input once it is padded; 0 where that is the input itself."""
        return 0

    def describe(self) -> str:
        """What a reader of the layer table wants to know beyond kind and shapes."""
        return ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense(Layer):
    """x [n, in] -> x @ weight [in, out] + bias [out]."""

    kind = "Dense"
    weight: Array
    bias: Array

    @property
    def parameters(self) -> int:
        return int(self.weight.size + self.bias.size)

    @property
    def work(self) -> int:
        return super().work + int(self.weight.size)


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Layer):
    """x [n, in, *map] -> cross-correlation with weight [out, in / groups, *kernel], plus bias [out]."""

    kind = "Conv"
    weight: Array
    bias: Array
    window: Window
    groups: int

    @property
    def parameters(self) -> int:
        return int(self.weight.size + self.bias.size)

    @property
    def work(self) -> int:
        # The products of many small groups are small, and slower.
        slow = 1 if self.weight.shape[0] >= THIN * self.groups else THIN
        return super().work + slow * prod(self.out_shape) * prod(self.weight.shape[1:])

    @property
    def room(self) -> int:
        return self.in_shape[0] * prod(self.window.padded(self.out_shape[1:], self.in_shape[1:]))

    @property
    def columns(self) -> int:
        """Elements a sample of the matrix (im2col) that onnxruntime writes out in float64, one group at a time."""
        return 0 if self.window.pointwise else prod(self.weight.shape[1:]) * prod(self.out_shape[1:])

    def describe(self) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.weight.shape[0]}@{self.window.describe()}{groups}"


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Layer):
    kind = "MaxPool"
    window: Window
    ceil_mode: bool

    @property
    def work(self) -> int:
        return super().work + TAP * prod(self.out_shape) * self.window.taps

    @property
    def room(self) -> int:
        return self.in_shape[0] * prod(self.window.padded(self.out_shape[1:], self.in_shape[1:]))

    def describe(self) -> str:
        return self.window.describe() + (", ceil" if self.ceil_mode else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(Layer):
    """count_include_pad: whether the declared padding counts in the mean; what ceil_mode adds never does."""

    kind = "AveragePool"
    window: Window
    ceil_mode: bool
    count_include_pad: bool

    @property
    def work(self) -> int:
        return super().work + TAP * prod(self.out_shape) * self.window.taps

    @property
    def room(self) -> int:
        return self.in_shape[0] * prod(self.window.padded(self.out_shape[1:], self.in_shape[1:]))

    def describe(self) -> str:
        padded = self.count_include_pad and (any(self.window.begin) or any(self.window.end))
        return self.window.describe() + (", ceil" if self.ceil_mode else "") + (", pads count" if padded else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class GlobalAveragePool(Layer):
    """x [n, C, *map] -> the mean over the map [n, C, 1, ...]."""

    kind = "GlobalAveragePool"


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Layer):
    """x -> x · scale + shift; both of the rank of the per-sample shape, with axes of length one where constant."""

    kind = "Affine"
    scale: Array
    shift: Array

    @property
    def parameters(self) -> int:
        return int(self.scale.size + self.shift.size)


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Layer):
    """Element-wise function, or LRN; `function` is the ONNX operator, `options` its attributes, `slope` PRelu's input.

    keeps_zero: whether the output is zero wherever the input is.
    """

    kind = "Activation"
    function: str
    options: Mapping[str, float | int | str] = field(default_factory=dict)
    slope: Array | None = None
    keeps_zero: bool = True

    @property
    def parameters(self) -> int:
        return 0 if self.slope is None else int(self.slope.size)

    @property
    def work(self) -> int:
        # LRN sums over neighbouring channels, each as often as it is near.
        near = min(int(self.options.get("size", 1)), 2 * self.in_shape[0]) if self.in_shape else 1
        return super().work + ELEMENT * near * prod(self.out_shape)

    def describe(self) -> str:
        given = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.options.items())
        return f"{self.function}({given})" if given else self.function


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Layer):
    """The sum of two or more tensors of one shape."""

    kind = "Add"


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Layer):
    """axis: counted with the batch, so never 0."""

    kind = "Concat"
    axis: int

    def describe(self) -> str:
        return f"axis {self.axis}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Layer):
    """The box [begin, end) of the sample, one entry per axis of the per-sample shape; also one output of a Split."""

    kind = "Slice"
    begin: tuple[int, ...]
    end: tuple[int, ...]

    def describe(self) -> str:
        cut = zip(self.begin, self.end, self.in_shape, strict=True)
        return ", ".join(f"{b}:{e}" if (b, e) != (0, n) else ":" for b, e, n in cut)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Layer):
    """A constant around the sample; begin and end have one entry per axis of the per-sample shape."""

    kind = "Pad"
    begin: tuple[int, ...]
    end: tuple[int, ...]
    value: float = 0.0

    def describe(self) -> str:
        around = ", ".join(f"{b}+{e}" for b, e in zip(self.begin, self.end, strict=True))
        return around + (f" of {self.value:g}" if self.value else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Layer):
    kind = "Reshape"


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(Layer):
    """perm: the batched permutation, perm[0] == 0."""

    kind = "Transpose"
    perm: tuple[int, ...]

    def describe(self) -> str:
        return f"perm {self.perm}"


def parameters(layer: Layer) -> dict[str, Array]:
    """The arrays of a layer that were trained, by field."""
    if isinstance(layer, Dense | Conv):
        return {"weight": layer.weight, "bias": layer.bias}
    if isinstance(layer, Affine):
        return {"scale": layer.scale, "shift": layer.shift}
    if isinstance(layer, Activation):
        return {} if layer.slope is None else {"slope": layer.slope}
    if isinstance(layer, MaxPool | AveragePool | GlobalAveragePool | Add | Concat | Slice | Pad | Reshape | Transpose):
        return {}
    raise unknown_kind(layer, "the list of trained arrays")


def disjoint(slices: Sequence[Slice]) -> bool:
    """Whether no two of the boxes meet."""
    for i, a in enumerate(slices):
        for b in slices[:i]:
            axes = zip(a.begin, a.end, b.begin, b.end, strict=True)
            if all(begin < other_end and other_begin < end for begin, end, other_begin, other_end in axes):
                return False
    return True


def unknown_kind(layer: Layer, step: str) -> UnsupportedModel:
    """The error of a step, named as in "the plan of inverses", that knows nothing of a layer's kind."""
    kind = layer.kind or type(layer).__name__
    return UnsupportedModel(f"{step} does not know layer {layer.name!r} of kind {kind}")
