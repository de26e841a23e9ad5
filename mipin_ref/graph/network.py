"""The typed layer list: what the rest of the package knows of an ONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from math import prod

import numpy as np

from mipin_ref.display import LONGEST
from mipin_ref.errors import InvalidData, UnsupportedModel, shown
from mipin_ref.graph.forward import Recorder, Scoring, logits, with_others
from mipin_ref.graph.head import Head, HeadKind, probabilities
from mipin_ref.graph.layer_list import LayerList
from mipin_ref.graph.problem import Problem, unsupported
from mipin_ref.graph.targeted import Targeted, dims
from mipin_ref.layers import HostArray
from mipin_ref.table import format_table
from mipin_ref.text import printable

OPERATORS = 12
"""Operators that a line counts by name, at most."""

NEAR = 3
"""Names of tensors that are proposed in place of a wrong one, at most."""

MADE = 4
"""Tensors in front of the layers that a line names, at most."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Network(LayerList, Targeted):
    """An ONNX classifier as layers, in execution order, all of them on the way from `input` to the logits.

    input_shape: per sample; the batch is free whatever the file says. dtype: of weights and activations. output_names:
    every output of the file; logits: the tensor explained, which is the output itself or, where a head was removed,
    what stands in front of it; output, target_shape: see Targeted. removed: the head, a final Softmax or Sigmoid.
    aliases: names of the file whose tensor survives under another name; folded: names of the file whose values a
    rewrite took away. sha256: of the file, followed by the weights that lie beside it, as it names them, and of what
    its inputs were bound to. apart: source -> tensor -> the nodes without an inverse that lie between them; hides: the
    same by all ways, those that are state included; problems: all of these; above: tensors of the file in front of the
    sources. embeddings: those of the sources that the input's ids
    look up in a table. metadata: of the file; labels: names of the classes that its nodes hold, if any. divides: what
    the file divides pixels by itself, right behind the input, None where it does not.
    """

    output_names: tuple[str, ...]
    aliases: Mapping[str, str]
    folded: frozenset[str]
    sha256: str
    removed: Head | None = None
    apart: Mapping[str, Mapping[str, tuple[Problem, ...]]] = field(default_factory=dict)
    hides: Mapping[str, Mapping[str, tuple[Problem, ...]]] = field(default_factory=dict)
    above: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    divides: float | None = None

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
        return probabilities("softmax", values) if self.removed is None else self.removed.probabilities(values)

    def predict(self, x: HostArray | Mapping[str, HostArray], *, batch_size: int = 256) -> tuple[HostArray, HostArray]:
        """The probabilities [N, classes] of x [N, *input_shape], float64, and the logits [N, classes].

        What a probability is, says `probabilities`; of a single sigmoid output it is that of class 1 against class 0.
        Raises InvalidData where x is empty or does not fit, and where the network has no probability.

        >>> import mipin_ref as mr
        >>> digits = mr.data.builtin("mnist_cnn")
        >>> net = mr.load(digits.model)
        >>> x = mr.data.open_data(digits.calibration)[:50]
        >>> probabilities, logits = net.predict(x[:5])
        >>> probabilities.argmax(axis=1)
        array([0, 1, 2, 3, 4])
        """
        scores = logits(self, x, batch_size=batch_size)
        return self.probabilities(scores), scores

    def scoring(self) -> Scoring:
        """The forward pass, from samples to the logits of every target: see `Scoring`. Raises as a Recorder does."""
        recorder = Recorder(self, [self.logits], keep=True)
        return lambda x, first: recorder(with_others(self, x), first).values[self.logits].reshape(len(x), -1)

    def probable(self) -> Scoring:
        """The same up to the probabilities. Raises InvalidData where there are none."""
        scores = self.scoring()
        return lambda x, first: self.probabilities(scores(x, first))

    @property
    def forward_bytes(self) -> int:
        """What the forward pass of a sample takes, at most: all tensors at once."""
        return self.dtype.itemsize * sum(map(prod, self.shapes.values()))

    @cached_property
    def blocked(self) -> dict[str, tuple[Problem, ...]]:
        """The tensors that nodes without an inverse keep apart from the logits, each with those nodes."""
        return self._behind_sources(self.apart)

    @cached_property
    def hidden(self) -> dict[str, tuple[Problem, ...]]:
        """The same, whether signals would come back to them or they are state."""
        return self._behind_sources(self.hides)

    def _behind_sources(self, apart: Mapping[str, Mapping[str, tuple[Problem, ...]]]) -> dict[str, tuple[Problem, ...]]:
        reasons: dict[str, dict[Problem, None]] = {}
        for source in self.sources:
            for name, problems in apart.get(source, {}).items():
                reasons.setdefault(name, {}).update(dict.fromkeys(problems))
        return {name: tuple(some) for name, some in reasons.items()}

    def tensor(self, name: str) -> str:
        """The surviving name of a tensor of the file.

        Raises InvalidData, with the nearest names, where the network has no such tensor.
        """
        if not isinstance(name, str):
            raise InvalidData(f"a tensor is named by a string, not by {shown(name)}")
        resolved = self.aliases.get(name, name)
        if resolved in self.folded:
            near = self.beside(resolved)
            raise InvalidData(
                f"tensor {name!r} was folded into a neighbouring layer: explain one before or after it"
                + (f", {' or '.join(map(repr, near))}" if near else "")
            )
        if resolved not in self.shapes and (resolved in self.above or resolved in self.hidden):
            raise self.unreached(resolved) if resolved in self.blocked else self.state(resolved)
        if resolved not in self.shapes:
            raise InvalidData(f"tensor {name!r} is not on the way from the input to the logits{self._near(name)}")
        return resolved

    def _near(self, name: str) -> str:
        """What a person may have meant by a tensor's name; without a guess, how many there are, and one of them."""
        known = [*(one for one in self.shapes if one not in self.inner), *self.aliases]
        wanted = _letters(name)
        # Exporters put the module in front and the operator behind, as /relu2/Relu_output_0.
        holding = [one for one in known if wanted and wanted in _letters(one)]
        near = get_close_matches(name, known, n=NEAR) or holding[:NEAR]
        if near:
            return f"; did you mean {', '.join(map(repr, near))}?"
        return f"; {len(self.layers)} outputs of layers are, such as {self.layers[-1].output!r}, or 'input'"

    def told_tensor(self, name: str) -> str:
        """The same of a tensor that a person names, which the file must have."""
        resolved = self.tensor(name)
        if resolved not in self.inner:
            return resolved
        raise InvalidData(
            f"tensor {name!r} is none of the file's: the node that makes {self.within(resolved)!r} is several layers, "
            f"and it lies between them; explain {' or '.join(map(repr, self.beside(resolved)))}"
        )

    def state(self, name: str) -> InvalidData:
        """The error for a tensor that is read as state alone, as a gate is."""
        return InvalidData(
            f"tensor {name!r} is state: a gate or the like is made of it, and no signal comes back there; explain what "
            "is gated"
        )

    def unreached(self, name: str, instead: str = "") -> UnsupportedModel:
        """The error for a tensor that nodes without an inverse keep apart from the logits; it lists them.

        instead: the tensor furthest down that can be explained.
        """
        between = {*self.blocked.get(name, self.hidden.get(name, self.problems))}
        return unsupported(
            f"between {name!r} and the logits are nodes that cannot be inverted; option 'at' 'auto' explains what is "
            f"behind them{f', from {instead!r} on' if instead else ''}",
            [problem for problem in self.problems if problem in between],
        )

    def cells(self, extra: tuple[str, Sequence[str]] | None = None) -> tuple[list[str], list[list[str]]]:
        """Heading and rows of the table of layers; extra: as of `table`."""
        head = ["#", "layer", "detail", "input", "output", "parameters", "output tensor"]
        rows = [
            [
                str(i),
                layer.kind,
                layer.describe(),
                dims(layer.in_shape),
                dims(layer.out_shape),
                f"{layer.parameters:,}" if layer.parameters else "",
                self.called(layer.output),
            ]
            for i, layer in enumerate(self.layers)
        ]
        if self.branches:
            number = dict.fromkeys(self.sources, "file") | {self.input: "input"}
            number |= {layer.output: str(i) for i, layer in enumerate(self.layers)}
            head.insert(1, "from")
            for row, layer in zip(rows, self.layers, strict=True):
                row.insert(1, " ".join(number[name] for name in layer.inputs))
        if extra is not None:
            head.append(extra[0])
            rows = [[*row, cell] for row, cell in zip(rows, extra[1], strict=True)]
        return head, rows

    def table(self, extra: tuple[str, Sequence[str]] | None = None) -> str:
        """The layers as a readable table; extra: heading and cells, one a layer, of one more column."""
        return f"{format_table(*self.cells(extra))}\n{self.ends}"

    @property
    def ends(self) -> str:
        """Lines on what goes in and what comes out, below the table of layers."""
        removed = f" (final {', '.join(self.removed.operators)} removed)" if self.removed else ""
        return (
            f"input {self.input!r} [N, {dims(self.input_shape)}] {self.dtype}, "
            f"logits {self.logits!r} [N, {dims(self.shapes[self.logits])}]{removed}, {self.parameters:,} parameters"
            + (f"\n{self.front}" if self.front else "")
        )

    @property
    def front(self) -> str:
        """Lines on the nodes in front of the layers; empty where there are none."""
        made = [f"{name!r} [N, {dims(shape)}]" for name, shape in self.sources.items() if name not in self.given]
        if self.stem is None or not made:
            return ""
        run, more = self.stem.operators, len(made) - MADE
        lines = [f"above the layers onnxruntime runs nodes of the file as they are: {_counted(run)}"]
        lines += [f"  without an inverse: {self.no_inverse}"] if self.no_inverse else []
        return "\n".join([*lines, f"  they make {', '.join(made[:MADE])}" + (f" and {more} more" if more > 0 else "")])

    @property
    def no_inverse(self) -> str:
        """The nodes that keep inverses from reaching the input, by operator; empty where they reach it."""
        return _counted(Counter(problem.operator for problem in self.hidden.get(self.input, ())))

    @property
    def integers(self) -> np.dtype[np.generic] | None:
        """The integers that the file reads, None where it reads floats."""
        return self.stem.bound.dtype if self.stem is not None and self.whole else None

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(layer.parameters for layer in self.layers)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        count = len(self.layers)
        return printable(
            f"Network({shown(self.input, LONGEST)} [N, {dims(self.input_shape)}] {self.integers or self.dtype} -> "
            f"{shown(self.logits, LONGEST)} [N, {dims(self.shapes[self.logits])}], "
            f"{count} layer{'s' if count != 1 else ''}, {self.parameters:,} parameters, head {self.head})"
        )


def _counted(operators: Counter[str]) -> str:
    """Operators with their counts, the most frequent first; the last of many are counted together."""
    told = [f"{count:,} {operator}" for operator, count in operators.most_common(OPERATORS)]
    others = operators.total() - sum(count for _, count in operators.most_common(OPERATORS))
    return ", ".join([*told, *([f"{others:,} others"] if others else [])])


def _letters(name: str) -> str:
    """The letters and digits of a name, in lower case: what people remember of it."""
    return "".join(one for one in name.casefold() if one.isalnum())
