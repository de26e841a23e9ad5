"""A file that onnxruntime runs, whatever its operators: what methods need that ask for the forward pass alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mipin_ref.display import LONGEST, OneLine
from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.forward import Scoring, as_integers, check_batch, check_finite
from mipin_ref.graph.front import Front
from mipin_ref.graph.head import HeadKind
from mipin_ref.graph.layer_list import image_size, usual_axis
from mipin_ref.graph.stem import Stem
from mipin_ref.graph.targeted import Targeted, dims
from mipin_ref.layers import HostArray, Shape
from mipin_ref.text import printable
from mipin_ref.threads import BLAS_THREADS


@dataclass(frozen=True, eq=False, kw_only=True)
class ForwardOnly(OneLine, Targeted):
    """A classifier of which nothing is known but what it computes.

    input, input_shape: per sample, the batch is free whatever the file says; dtype: in which it computes; reads: the
    integers that the input holds, None where it holds none; output_names: every output of the file; logits: the tensor
    explained, the output itself or, where that is one Softmax or Sigmoid, what stands in front of it; head: which of
    the two; shares: whether the output looks like probabilities, from 0 to 1; sha256: as of a Network; stem: runs
    the file; forward_bytes: what a run takes, about; reason: why the file is no Network; metadata, labels,
    divides: as of a Network.
    """

    input: str
    input_shape: Shape
    dtype: np.dtype[np.floating]
    reads: np.dtype[np.generic] | None
    output_names: tuple[str, ...]
    logits: str
    head: HeadKind | None
    shares: bool
    sha256: str
    stem: Stem
    forward_bytes: int
    reason: str
    metadata: Mapping[str, str]
    labels: tuple[str, ...]
    divides: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The one input that each sample has values of."""
        return (self.input,)

    @property
    def whole(self) -> bool:
        """Whether the input holds integers."""
        return self.reads is not None

    @property
    def input_size(self) -> tuple[int, int] | None:
        """The height and width of the input where it is an image."""
        return image_size(self.input_shape, self.channel_axis(self.input))

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Per-sample shape of the one tensor that can be explained."""
        return {self.input: self.input_shape}

    @property
    def probability(self) -> str | None:
        """What a probability is, in words; None where the output is none."""
        return f"output {self.output!r} of the file" if self.head is not None or self.shares else None

    def channel_axis(self, name: str) -> int | None:
        """The axis, counted with the batch, that holds the channels of the input, by its shape; None where none does.

        Raises InvalidData for another tensor.
        """
        return usual_axis(self.input_shape if self.tensor(name) == self.input else ())

    def tensor(self, name: object) -> str:
        """The name of the input. Raises InvalidData for any other: nothing else of the file is known."""
        if name != self.input:
            raise InvalidData(
                f"tensor {name!r} cannot be explained: of this file only the input {self.input!r} can be, {self.reason}"
            )
        return self.input

    def predict(self, x: HostArray, *, batch_size: int = 256) -> tuple[HostArray, HostArray | None]:
        """The output [N, classes] of x [N, *input_shape], float64, which are probabilities where `probability` says so;
        and the logits [N, classes], None where the file does not end in one Softmax or Sigmoid.

        Raises InvalidData where x is empty or does not fit.
        """
        check_batch(self, x)
        if not len(x):
            raise InvalidData("the data hold no sample")
        parts = [self._run(x[i : i + batch_size], i) for i in range(0, len(x), batch_size)]
        output, logits = (np.concatenate(some) for some in zip(*parts, strict=True))
        return output, None if self.head is None else logits

    def scoring(self) -> Scoring:
        """The forward pass: see `Scoring`. Raises InvalidData for what does not fit, NaN and Inf, there and back."""
        return lambda x, first: self._run(x, first)[1]

    def probable(self) -> Scoring:
        """The same of the output, which are probabilities where `probability` says so."""
        return lambda x, first: self._run(x, first)[0]

    def _run(self, x: HostArray, first: int) -> tuple[HostArray, HostArray]:
        """Output and logits [n, classes] of one batch."""
        check_batch(self, x)
        told = f"samples {first}..{first + len(x) - 1},"
        with np.errstate(over="ignore"):  # what is too large for the file's dtype is told as Inf
            given = np.ascontiguousarray(x, self.dtype) if self.reads is None else as_integers(x, self.reads)
        check_finite(given, f"the data, {told}")
        names = list(dict.fromkeys([self.output, self.logits]))
        made = Front(self.stem, names, BLAS_THREADS.count)(given, np.dtype(np.float64))
        for name, value in made.items():
            try:
                check_finite(value, f"the output {name!r}, {told}")
            except InvalidData as error:
                if (constant := self.stem.spoilt) is None:
                    raise
                raise InvalidData(f"{error}: {constant!r}, a constant of the model, holds NaN") from error
        return made[self.output].reshape(len(x), -1), made[self.logits].reshape(len(x), -1)

    def __repr__(self) -> str:
        return printable(
            f"ForwardOnly({shown(self.input, LONGEST)} [N, {dims(self.input_shape)}] {self.reads or self.dtype} -> "
            f"{shown(self.logits, LONGEST)} [N, {dims(self.target_shape)}], head {self.head})"
        )

    def __str__(self) -> str:
        head = f", in front of a {self.head}" if self.head is not None else ""
        return (
            f"a file that is run as it is ({self.reason})\n"
            f"input {self.input!r} [N, {dims(self.input_shape)}] {self.reads or self.dtype}, "
            f"output {self.output!r} [N, {dims(self.target_shape)}], explained at {self.logits!r}{head}"
        )
