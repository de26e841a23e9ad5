"""The convolutional inverse as least squares (paper, Eq. 7), one problem a group, streamed in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.adjoint_rows import adjoint_rows, whole
from mipin_ref.solve.correlation_gram import CorrelationGram, transform_size
from mipin_ref.solve.gram import Accumulator, Gram, Rows, Solution, accumulator_bytes
from mipin_ref.window import Window

CHUNK_BYTES = 32 << 20
"""Size of one chunk of rows or spectra: large enough for full-speed products, small beside any memory limit."""

Form = Literal["rows", "im2col", "correlation"]


class Im2colGram:
    """Rows of the adjoint written out and added to normal equations, or kept for the dual form.

    slab: how many positions of the first spatial axis are written out at a time.
    """

    def __init__(self, backend: Backend, window: Window, size: tuple[int, ...], sums: Accumulator, slab: int) -> None:
        self._backend, self._window, self._sums, self._slab = backend, window, sums, slab
        self._region = whole(window, size)

    @property
    def rows(self) -> int:
        return self._sums.rows

    def update(self, s: Array, x: Array) -> None:
        """Add samples: s [n, o, *locations] and x [n, m, *size] of the compute dtype."""
        xp, last = self._backend.xp, (0, *range(2, s.ndim), 1)
        s, x = xp.permute_dims(s, last), xp.permute_dims(x, last)
        (first, end), *others = self._region
        for start in range(first, end, self._slab):
            stop = min(start + self._slab, end)
            z = adjoint_rows(self._backend, s, self._window, ((start, stop), *others))
            self._sums.update(z, xp.reshape(x[:, start - first : stop - first, ...], (-1, x.shape[-1])))

    def merge(self, other: Im2colGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        self._sums.merge(other._sums)

    def solve(self, ridge: float) -> Solution:
        """Weights [taps·o, m], taps outermost, and the intercept [m]."""
        return self._sums.solve(ridge)


class ConvGram:
    """Sums to reconstruct x [n, m, *size] by the adjoint of a convolution applied to s [n, o, *locations].

    channels: (o, m); form: from ConvProblem.form.
    """

    def __init__(
        self,
        backend: Backend,
        window: Window,
        size: tuple[int, ...],
        locations: tuple[int, ...],
        channels: tuple[int, int],
        groups: int,
        *,
        intercept: bool,
        form: Form,
    ) -> None:
        self._backend, self._window, self._size = backend, window, size
        self._outputs, self._inputs = channels[0] // groups, channels[1] // groups
        self._form = form
        plane = backend.itemsize * self._outputs * window.taps * prod(size[1:])
        self._slab = min(size[0], max(1, CHUNK_BYTES // plane))
        each = plane * self._slab if form != "correlation" else backend.itemsize * self._outputs * 2 * prod(locations)
        self._chunk = max(1, CHUNK_BYTES // each)
        self._groups = [self._new(locations, intercept) for _ in range(groups)]

    def _new(self, locations: tuple[int, ...], intercept: bool) -> Im2colGram | CorrelationGram:
        channels = (self._outputs, self._inputs)
        if self._form == "correlation":
            return CorrelationGram(self._backend, self._window, self._size, locations, channels, intercept=intercept)
        kind = Rows if self._form == "rows" else Gram
        sums = kind(self._backend, self._outputs * self._window.taps, self._inputs, intercept=intercept)
        return Im2colGram(self._backend, self._window, self._size, sums, self._slab)

    @property
    def rows(self) -> int:
        return self._groups[0].rows

    def update(self, s: Array, x: Array) -> None:
        """Add samples: s [n, o, *locations] and x [n, m, *size] of the compute dtype."""
        for start in range(0, s.shape[0], self._chunk):
            rows = slice(start, min(start + self._chunk, s.shape[0]))
            for group, sums in enumerate(self._groups):
                o, m = group * self._outputs, group * self._inputs
                sums.update(s[rows, o : o + self._outputs, ...], x[rows, m : m + self._inputs, ...])

    def merge(self, other: ConvGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if (other._window, other._size, other._form) != (self._window, self._size, self._form):
            raise InvalidData("only sums of the same problem can be merged")
        for mine, theirs in zip(self._groups, other._groups, strict=True):
            mine.merge(theirs)  # type: ignore[arg-type]

    def solve(self, ridge: float) -> list[Solution]:
        """One solution a group: weights [taps·o/groups, m/groups], taps outermost."""
        return [sums.solve(ridge) for sums in self._groups]


@dataclass(frozen=True)
class ConvProblem:
    """One group's problem by its numbers: o outputs at `locations` reconstruct m inputs of `size`."""

    window: Window
    size: tuple[int, ...]
    locations: tuple[int, ...]
    outputs: int
    inputs: int
    samples: int

    @property
    def features(self) -> int:
        return self.outputs * self.window.taps

    def bytes_of(self, form: Form) -> int:
        """What the sums of one group hold at their largest, one batch's products included."""
        plain = accumulator_bytes(self.features, self.inputs, self.samples * prod(self.size))
        if form != "correlation":
            return plain
        length = transform_size(self.window, self.size, self.locations)
        frequencies = prod(length[:-1]) * (length[-1] // 2 + 1)
        return 32 * frequencies * self.outputs * (self.outputs + self.inputs + 1) + plain

    def form(self, memory: int, *, rounding: float = 0.0) -> Form:
        """The cheapest form by counted operations a sample, within `memory` bytes a group where one is.

        A spectrum's operations count threefold for their memory traffic; its border is written out like im2col's rows.
        rounding: eps of the products where they will be centred; correlations cannot be shifted beforehand, so in
        single precision the rows are written out.
        """
        if self.samples * prod(self.size) < self.features:
            return "rows"
        if rounding > 1e-10:
            return "im2col"
        plain = prod(self.size) * self.features * (self.features + 8)
        pads = zip(self.window.begin, self.window.end, self.size, strict=True)
        cut = min(1.0, sum((b + e) / n for b, e, n in pads))
        length = transform_size(self.window, self.size, self.locations)
        fast = 3 * prod(length) * self.outputs * (4 * self.outputs + 40) + int(cut * plain)
        return "correlation" if fast < plain and self.bytes_of("correlation") <= memory else "im2col"
