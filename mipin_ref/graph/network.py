"""The typed layer list: what the rest of the package knows of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.table import format_table
from mipin_ref.window import Window

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One step from tensor `input` to tensor `output`; shapes are per sample, the batch is always the first axis."""

    kind: ClassVar[str] = ""
    name: str
    input: str
    output: str
    in_shape: Shape
    out_shape: Shape

    @property
    def parameters(self) -> int:
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

    def describe(self) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.weight.shape[0]}@{self.window.describe()}{groups}"


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Layer):
    kind = "MaxPool"
    window: Window
    ceil_mode: bool

    def describe(self) -> str:
        return self.window.describe() + (", ceil" if self.ceil_mode else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Layer):
    """Element-wise function; `function` is the ONNX operator, `options` its attributes, `slope` PRelu's input."""

    kind = "Activation"
    function: str
    options: Mapping[str, float | str] = field(default_factory=dict)
    slope: Array | None = None
    keeps_zero: bool = True

    @property
    def parameters(self) -> int:
        return 0 if self.slope is None else int(self.slope.size)

    def describe(self) -> str:
        given = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.options.items())
        return f"{self.function}({given})" if given else self.function


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


@dataclass(frozen=True, eq=False)
class Network:
    """An ONNX classifier as a chain of layers from `input` to the logits.

    input_shape: per sample; the batch is free whatever the file says. dtype: of weights and activations.
    output_names: every output of the file; output: the one explained; logits: the tensor explained, which is the
    output itself or, where a final Softmax was removed, that Softmax's input. aliases: names of the file whose
    tensor survives under another name; folded: names of the file whose values a rewrite took away. sha256: of the file,
    followed by its external data in order of file name.
    """

    layers: tuple[Layer, ...]
    input: str
    input_shape: Shape
    dtype: np.dtype[Any]
    output_names: tuple[str, ...]
    output: str
    logits: str
    aliases: Mapping[str, str]
    folded: frozenset[str]
    sha256: str
    removed_softmax: str | None = None

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Per-sample shape of every tensor, in execution order, the input first."""
        return {self.input: self.input_shape} | {layer.output: layer.out_shape for layer in self.layers}

    @property
    def classes(self) -> int:
        """Length of the last axis of the logits."""
        return self.shapes[self.logits][-1]

    def tensor(self, name: str) -> str:
        """The surviving name of a tensor of the file.

        Raises InvalidData, with the nearest names, where the network has no such tensor.
        """
        if not isinstance(name, str):
            raise InvalidData(f"a tensor is named by a string, not by {name!r}")
        resolved = self.aliases.get(name, name)
        if resolved in self.folded:
            raise InvalidData(f"tensor {name!r} was folded into a neighbouring layer: explain one before or after it")
        if resolved not in self.shapes:
            near = get_close_matches(name, [*self.shapes, *self.aliases], n=3)
            raise InvalidData(
                f"tensor {name!r} is not on the way from the input to the logits"
                + (f"; did you mean {', '.join(map(repr, near))}?" if near else "")
            )
        return resolved

    def channel_axis(self, name: str) -> int | None:
        """The axis, counted with the batch, that holds the channels of a tensor; None where it has none.

        It is what a Conv or MaxPool next to the tensor calls axis 1, above it or below it, activations and Transposes
        between them aside. Where there is none, a sample of three axes is [C, H, W], unless only its last axis has a
        typical length (1 or 3).
        """
        position = self._position(name)
        for layer in self.layers[position:]:
            if isinstance(layer, Conv | MaxPool):
                return self._followed(1, self.layers[position : self.layers.index(layer)], back=True)
            if not isinstance(layer, Activation | Transpose):
                break
        for layer in reversed(self.layers[:position]):
            if isinstance(layer, Conv | MaxPool):
                return self._followed(1, self.layers[self.layers.index(layer) + 1 : position], back=False)
            if not isinstance(layer, Activation | Transpose):
                break
        shape = self.shapes[name]
        if len(shape) < 3:
            return None
        return len(shape) if shape[-1] in (1, 3) and shape[0] not in (1, 3) else 1

    @staticmethod
    def _followed(axis: int, layers: Sequence[Layer], *, back: bool) -> int:
        """Where an axis comes from (back) or goes to through the Transposes among `layers`."""
        for layer in reversed(layers) if back else layers:
            if isinstance(layer, Transpose):
                axis = layer.perm[axis] if back else layer.perm.index(axis)
        return axis

    def _position(self, name: str) -> int:
        """How many layers stand before tensor `name` is complete."""
        return list(self.shapes).index(name)

    def check_target(self, target: object) -> int:
        """The target as an int. Raises InvalidData where it is not an index into logits [N, classes]."""
        if prod(self.shapes[self.logits]) != self.classes:
            raise InvalidData(
                f"output {self.output!r} has shape [N, {_dims(self.shapes[self.logits])}]; a target needs [N, classes]"
            )
        if isinstance(target, bool | np.bool_) or not isinstance(target, int | np.integer):
            raise InvalidData(f"target must be an integer class index, not {target!r}")
        if not 0 <= target < self.classes:
            raise InvalidData(
                f"target {target} is out of range: output {self.output!r} has classes 0..{self.classes - 1}"
            )
        return int(target)

    def table(self, extra: tuple[str, Sequence[str]] | None = None) -> str:
        """The layers as a readable table; extra: heading and cells, one a layer, of one more column."""
        head = ["#", "layer", "detail", "input", "output", "parameters", "output tensor"]
        rows = [
            [
                str(i),
                layer.kind,
                layer.describe(),
                _dims(layer.in_shape),
                _dims(layer.out_shape),
                f"{layer.parameters:,}" if layer.parameters else "",
                layer.output,
            ]
            for i, layer in enumerate(self.layers)
        ]
        if extra is not None:
            head.append(extra[0])
            rows = [[*row, cell] for row, cell in zip(rows, extra[1], strict=True)]
        total = sum(layer.parameters for layer in self.layers)
        removed = f" (final {self.removed_softmax} removed)" if self.removed_softmax else ""
        return (
            f"{format_table(head, rows)}\n"
            f"input {self.input!r} [N, {_dims(self.input_shape)}] {self.dtype}, "
            f"logits {self.logits!r} [N, {_dims(self.shapes[self.logits])}]{removed}, {total:,} parameters"
        )

    def __str__(self) -> str:
        return self.table()


def _dims(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"
