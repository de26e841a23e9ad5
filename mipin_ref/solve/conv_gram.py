"""The convolutional inverse as least squares (paper, Eq. 7), one problem a group, streamed in chunks."""

from __future__ import annotations

from math import prod
from typing import Literal

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.adjoint_rows import adjoint_rows, whole
from mipin_ref.solve.correlation_gram import CorrelationGram
from mipin_ref.solve.gram import Accumulator, Gram, Rows, Solution
from mipin_ref.window import Window

CHUNK_BYTES = 32 << 20
"""Size of one chunk of rows or spectra: large enough for full-speed products, small beside any memory limit."""

Form = Literal["rows", "im2col", "correlation"]


class Im2colGram:
    """Rows of the adjoint written out and added to normal equations, or kept for the dual form."""

    def __init__(self, backend: Backend, window: Window, size: tuple[int, ...], sums: Accumulator) -> None:
        self._backend, self._window, self._sums = backend, window, sums
        self._region = whole(window, size)

    @property
    def rows(self) -> int:
        return self._sums.rows

    def update(self, s: Array, x: Array) -> None:
        xp, last = self._backend.xp, (0, *range(2, s.ndim), 1)
        z = adjoint_rows(self._backend, xp.permute_dims(s, last), self._window, self._region)
        self._sums.update(z, xp.reshape(xp.permute_dims(x, last), (-1, x.shape[1])))

    def merge(self, other: Im2colGram) -> None:
        self._sums.merge(other._sums)

    def solve(self, ridge: float) -> Solution:
        return self._sums.solve(ridge)


class ConvGram:
    """Sums to reconstruct x [n, m, *size] by the adjoint of a convolution applied to s [n, o, *locations].

    channels: (o, m); samples: how many are to come, which decides whether rows are fewer than unknowns;
    form: "rows" (dual), "im2col" (plain) or "correlation" (fast), by default the one that costs least.
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
        samples: int,
        form: Form | None = None,
    ) -> None:
        self._backend, self._window, self._size = backend, window, size
        self._outputs, self._inputs = channels[0] // groups, channels[1] // groups
        self.form = form or choose_form(window, size, locations, self._outputs, samples)
        self._groups = [self._new(locations, intercept) for _ in range(groups)]
        each = self._outputs * (window.taps * prod(size) if self.form != "correlation" else 3 * prod(locations))
        self._chunk = max(1, CHUNK_BYTES // (each * backend.itemsize))

    def _new(self, locations: tuple[int, ...], intercept: bool) -> Im2colGram | CorrelationGram:
        channels = (self._outputs, self._inputs)
        if self.form == "correlation":
            return CorrelationGram(self._backend, self._window, self._size, locations, channels, intercept=intercept)
        kind = Rows if self.form == "rows" else Gram
        sums = kind(self._backend, self._outputs * self._window.taps, self._inputs, intercept=intercept)
        return Im2colGram(self._backend, self._window, self._size, sums)

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
        if (other._window, other._size, other.form) != (self._window, self._size, self.form):
            raise InvalidData("only sums of the same problem can be merged")
        for mine, theirs in zip(self._groups, other._groups, strict=True):
            mine.merge(theirs)  # type: ignore[arg-type]

    def solve(self, ridge: float) -> list[Solution]:
        """One solution a group: weights [taps·o/groups, m/groups], taps outermost."""
        return [sums.solve(ridge) for sums in self._groups]


def choose_form(window: Window, size: tuple[int, ...], locations: tuple[int, ...], outputs: int, samples: int) -> Form:
    """The cheapest exact form by counted operations a sample; a spectrum counts threefold for its memory traffic."""
    features = outputs * window.taps
    if samples * prod(size) < features:
        return "rows"
    padded = [j + -(-(e - 1) // s) for j, e, s in zip(locations, window.extent, window.strides, strict=True)]
    plain = prod(size) * features * (features + 8)
    fast = 3 * prod(padded) * outputs * (4 * outputs + 40)
    cut = sum(b + e for b, e in zip(window.begin, window.end, strict=True)) / max(size)
    fast += int(min(cut, 1.0) * plain)
    return "correlation" if fast < plain else "im2col"
