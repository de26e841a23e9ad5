"""The typed layer list: what the rest of the package knows of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod

import numpy as np

from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.forward import logits
from mipin_ref.graph.head import Head, HeadKind, probabilities
from mipin_ref.graph.layer_list import LayerList
from mipin_ref.layers import HostArray, Shape
from mipin_ref.table import format_table


@dataclass(frozen=True, eq=False)
class Network(LayerList):
    """An ONNX classifier as layers, in execution order, all of them on the way from `input` to the logits.

    input_shape: per sample; the batch is free whatever the file says. dtype: of weights and activations.
    output_names: every output of the file; output: the one explained; logits: the tensor explained, which is the
    output itself or, where a head was removed, what stands in front of it; axes of length one beside the classes are
    taken off, and an output [N] has the one class 0. removed: the head, a final Softmax or Sigmoid. aliases: names of
    the file whose tensor survives under another name; folded: names of the file whose values a rewrite took away.
    sha256: of the file, followed by the weights that lie beside it, as it names them.
    """

    output_names: tuple[str, ...]
    output: str
    aliases: Mapping[str, str]
    folded: frozenset[str]
    sha256: str
    removed: Head | None = None

    @property
    def head(self) -> HeadKind | None:
        """What was removed behind the logits: "softmax", "sigmoid" (of each class by itself), or None."""
        return None if self.removed is None else self.removed.kind

    @property
    def probability(self) -> str | None:
        """What a probability of this network is, in words; None where it has none: one logit without a head."""
        if self.head == "sigmoid":
            return "the sigmoid of the class's logit"
        if self.head == "softmax":
            return "the softmax over the classes"
        if self.classes > 1:
            return "the softmax over the classes, of logits that have no head in the file"
        return None

    def probabilities(self, logits: HostArray) -> HostArray:
        """The probabilities of logits [N, classes], float64 of the same shape.

        Softmax over the classes for a softmax head, and for logits without a head in a file of two or more outputs; the
        sigmoid of each class by itself for a sigmoid head. Raises InvalidData where the network has no probability (one
        logit without a head), and for logits of another shape.
        """
        values = np.asarray(logits)
        if values.ndim != 2 or values.shape[1] != prod(self.shapes[self.logits]) or values.dtype.kind != "f":
            raise InvalidData(
                f"logits must be floats [N, {prod(self.shapes[self.logits])}], not {values.dtype} of shape "
                f"{list(values.shape)}"
            )
        if self.probability is None:
            raise InvalidData(
                f"output {self.output!r} is one number without a Softmax or Sigmoid behind it: it has no probability"
            )
        return probabilities(self.head or "softmax", values)

    def predict(self, x: HostArray, *, batch_size: int = 256) -> tuple[HostArray, HostArray]:
        """The probabilities [N, classes] of x [N, *input_shape], float64, and the logits [N, classes].

        What a probability is, says `probabilities`; of a single sigmoid output it is that of class 1 against class 0.
        Raises InvalidData where x is empty or does not fit, and where the network has no probability.
        """
        scores = logits(self, x, batch_size=batch_size)
        return self.probabilities(scores), scores

    @property
    def classes(self) -> int:
        """Length of the last axis of the logits."""
        return self.shapes[self.logits][-1]

    def tensor(self, name: str) -> str:
        """The surviving name of a tensor of the file.

        Raises InvalidData, with the nearest names, where the network has no such tensor.
        """
        if not isinstance(name, str):
            raise InvalidData(f"a tensor is named by a string, not by {shown(name)}")
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

    def check_target(self, target: object) -> int:
        """The target as an int. Raises InvalidData where it is not an index into logits [N, classes]."""
        if prod(self.shapes[self.logits]) != self.classes:
            raise InvalidData(
                f"output {self.output!r} has shape [N, {_dims(self.shapes[self.logits])}]; a target needs [N, classes]"
            )
        if isinstance(target, bool | np.bool_) or not isinstance(target, int | np.integer):
            raise InvalidData(f"target must be an integer class index, not {shown(target)}")
        if not 0 <= target < self.classes:
            raise InvalidData(
                f"target {shown(int(target))} is out of range: output {self.output!r} has classes 0..{self.classes - 1}"
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
        if self.branches:
            number = {self.input: "input"} | {layer.output: str(i) for i, layer in enumerate(self.layers)}
            head.insert(1, "from")
            for row, layer in zip(rows, self.layers, strict=True):
                row.insert(1, " ".join(number[name] for name in layer.inputs))
        if extra is not None:
            head.append(extra[0])
            rows = [[*row, cell] for row, cell in zip(rows, extra[1], strict=True)]
        total = sum(layer.parameters for layer in self.layers)
        removed = f" (final {', '.join(self.removed.operators)} removed)" if self.removed else ""
        return (
            f"{format_table(head, rows)}\n"
            f"input {self.input!r} [N, {_dims(self.input_shape)}] {self.dtype}, "
            f"logits {self.logits!r} [N, {_dims(self.shapes[self.logits])}]{removed}, {total:,} parameters"
        )

    def __str__(self) -> str:
        return self.table()


def _dims(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"
