"""The convolutional inverse as least squares: regressors of the adjoint laid out as rows (im2col), streamed in chunks."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.gram import Accumulator, Solution, make_accumulator
from mipin_ref.window import Window

CHUNK_BYTES = 48 << 20
"""Size of one chunk of rows: large enough for full-speed products, small beside any memory limit."""


class ConvGram:
    """Sums for Eq. 7: reconstruct x [n, m, *size] by the adjoint of a convolution applied to s [n, o, *map].

    One problem a group; its features are (tap, output channel), its rows the locations of x. `rows` in the constructor
    is the number of locations to come, which decides between normal equations and dual form.
    """

    def __init__(
        self,
        backend: Backend,
        window: Window,
        size: tuple[int, ...],
        channels: tuple[int, int],
        groups: int,
        *,
        intercept: bool,
        samples: int,
    ) -> None:
        self._backend = backend
        self._window = window
        self._size = size
        self._outputs, self._inputs = channels[0] // groups, channels[1] // groups
        features = self._outputs * window.taps
        self._groups = [
            make_accumulator(backend, features, self._inputs, intercept=intercept, rows=samples * prod(size))
            for _ in range(groups)
        ]
        self._chunk = max(1, CHUNK_BYTES // (features * prod(size) * backend.itemsize))

    @property
    def rows(self) -> int:
        return self._groups[0].rows

    def update(self, s: Array, x: Array) -> None:
        """Add samples: s [n, o, *map] and x [n, m, *size] of the compute dtype."""
        for start in range(0, s.shape[0], self._chunk):
            rows = slice(start, min(start + self._chunk, s.shape[0]))
            self._update_chunk(s[rows, ...], x[rows, ...])

    def _update_chunk(self, s: Array, x: Array) -> None:
        xp = self._backend.xp
        to_last = (0, *range(2, s.ndim), 1)
        s, x = xp.permute_dims(s, to_last), xp.permute_dims(x, to_last)
        for group, sums in enumerate(self._groups):
            o, m = group * self._outputs, group * self._inputs
            z = adjoint_rows(self._backend, s[..., o : o + self._outputs], self._window, self._size)
            sums.update(z, xp.reshape(x[..., m : m + self._inputs], (-1, self._inputs)))

    def merge(self, other: ConvGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if other._window != self._window or other._size != self._size:
            raise InvalidData("only sums of the same problem can be merged")
        for mine, theirs in zip(self._groups, other._groups, strict=True):
            mine.merge(theirs)

    def solve(self, ridge: float) -> list[Solution]:
        """One solution a group: weights [taps·o/groups, m/groups], taps outermost."""
        return [sums.solve(ridge) for sums in self._groups]


def adjoint_rows(backend: Backend, s: Array, window: Window, size: tuple[int, ...]) -> Array:
    """Rows of regressors for X̂[i] = Σ K[o, u] S[o, j] over all j, u with i = j·stride - begin + u·dilation.

    s: [n, *map, o], channels last; returns [n·locations of size, taps·o].
    """
    xp = backend.xp
    n, channels = s.shape[0], s.shape[-1]
    reach = [e - 1 for e in window.extent]
    spans = [(j - 1) * stride + 1 for j, stride in zip(s.shape[1:-1], window.strides, strict=True)]
    # The canvas holds S spread by the stride; a slice of it that starts at begin + reach - u·dilation is tap u's view.
    canvas_size = [
        max(r + span, r + b + d) for r, span, b, d in zip(reach, spans, window.begin, size, strict=True)
    ]
    canvas = xp.zeros((n, *canvas_size, channels), dtype=s.dtype, device=backend.device)
    spread = tuple(slice(r, r + span, st) for r, span, st in zip(reach, spans, window.strides, strict=True))
    canvas[(slice(None), *spread, slice(None))] = s
    columns = xp.empty((n, *size, window.taps, channels), dtype=s.dtype, device=backend.device)
    for tap, offset in enumerate(window.offsets):
        view = tuple(
            slice(r + b - u, r + b - u + d) for r, b, u, d in zip(reach, window.begin, offset, size, strict=True)
        )
        columns[(..., tap, slice(None))] = canvas[(slice(None), *view, slice(None))]
    return xp.reshape(columns, (n * prod(size), window.taps * channels))

