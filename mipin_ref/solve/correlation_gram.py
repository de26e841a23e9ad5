"""The same normal equations without im2col: their Gram depends on two taps only through the distance between them.

For taps u and v, the sum of Z[(o,u), t] Z[(p,v), t] over every location t that the adjoint touches is the correlation
of S_o and S_p at the lag (u - v)·dilation / stride, and zero where the stride does not divide it. One FFT of S, one
small product a frequency, and one inverse FFT at the end give all of them. Where padding cuts locations off, their rows
are written out and taken off again. The cross term is the weight gradient of the forward convolution: without a stride
the same spectra hold it, with one it is a matrix product a tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import scipy.fft

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.adjoint_rows import adjoint_rows, border
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.joint import Moments, Solution
from mipin_ref.window import Window


class CorrelationGram:
    """Sums for one group: reconstruct x [n, m, *size] from s [n, o, *locations] and own regressors shaped as x."""

    def __init__(
        self,
        backend: Backend,
        window: Window,
        size: tuple[int, ...],
        locations: tuple[int, ...],
        channels: tuple[int, int],
        *,
        own: int = 0,
        intercept: bool,
    ) -> None:
        self._backend, self._window, self._size, self._intercept = backend, window, size, intercept
        self._outputs, inputs = channels
        self._parts = 1 + own
        # A channel of ones beside y gives the sums of the regressors along with the cross term.
        self._width = self._parts * inputs + int(intercept)
        self._border = border(window, size, locations)
        self._dense = all(s == 1 for s in window.strides)
        self._length = transform_size(window, size, locations)
        frequencies = prod(self._length[:-1]) * (self._length[-1] // 2 + 1)
        xp, wide = backend.xp, backend.xp.float64
        columns = self._outputs + (self._width if self._dense else 0)
        self._spectrum = backend.zeros((frequencies, self._outputs, columns), xp.complex128)
        features = window.taps * self._outputs
        self._cut = backend.zeros((features, features), wide)
        self._zy = backend.zeros((window.taps, self._outputs, self._width), wide)
        self._channels = ChannelSums(backend, inputs, self._parts)

    @property
    def rows(self) -> int:
        return self._channels.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples of the compute dtype: one signal, and y = [x, v_1, ..] [n, (1 + r)·m, *size]."""
        (s,) = signals
        xp, wide = self._backend.xp, self._backend.xp.float64
        last = (0, *range(2, s.ndim), 1)
        beside = xp.concat([y, xp.ones_like(y[:, :1, ...])], axis=1) if self._intercept else y
        spectra = [self._transformed(a) for a in ((s, beside) if self._dense else (s,))]
        both = xp.concat(spectra, axis=2) if self._dense else spectra[0]
        left = xp.permute_dims(xp.conj(both[:, :, : self._outputs]), (0, 2, 1))
        self._spectrum += xp.astype(self._backend.matmul_stack(left, both), xp.complex128)
        if not self._dense:
            self._add_cross(xp.permute_dims(s, last), xp.permute_dims(beside, last))
        for box in self._border:
            z = adjoint_rows(self._backend, xp.permute_dims(s, last), self._window, box)
            self._cut += xp.astype(z.T @ z, wide)
        self._channels.update(xp.reshape(y, (y.shape[0], self._parts, y.shape[1] // self._parts, -1)))

    def _transformed(self, a: Array) -> Array:
        """Spectra [frequencies, n, channels] of a [n, channels, *map]: then each frequency's product is one gemm."""
        axes = tuple(range(2, a.ndim))
        f = self._backend.rfftn(a, self._length, axes)
        return self._backend.xp.permute_dims(self._backend.xp.reshape(f, (*a.shape[:2], -1)), (2, 0, 1))

    def _add_cross(self, s: Array, x: Array) -> None:
        xp, window = self._backend.xp, self._window
        locations = tuple(s.shape[1:-1])
        canvas = self._backend.zeros((s.shape[0], *window.padded(locations, self._size), self._width), x.dtype)
        canvas[(slice(None), *window.crop(self._size), slice(None))] = x
        flat = xp.reshape(s, (-1, self._outputs)).T
        for tap, offset in enumerate(window.offsets):
            seen = canvas[(slice(None), *window.spread(offset, locations), slice(None))]
            self._zy[tap, ...] += xp.astype(flat @ xp.reshape(seen, (-1, self._width)), xp.float64)

    def merge(self, other: CorrelationGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if not isinstance(other, CorrelationGram) or other._spectrum.shape != self._spectrum.shape:
            raise InvalidData("only sums of the same problem can be merged")
        self._channels.merge(other._channels)
        self._spectrum += other._spectrum
        self._zy += other._zy
        self._cut += other._cut

    def solve(self, ridge: float) -> Solution:
        """Weights [1, taps·o, m], taps outermost, own weights and the intercept."""
        xp, channels = self._backend.xp, self._channels
        features, means = self._window.taps * self._outputs, channels.means
        zz, zy = self._products()
        mean_z = self._backend.zeros((features,), xp.float64)
        if self._intercept:
            zy, sum_z = zy[:, :-1], zy[:, -1]
            zz -= sum_z[:, None] * (sum_z / self.rows)[None, :]
            zy = zy - sum_z[:, None] * xp.reshape(means, (1, -1))
            mean_z = sum_z / self.rows
        zy = xp.reshape(zy, (features, self._parts, -1))
        yy = channels.products(centred=self._intercept)
        sums = Moments(self.rows, self._intercept, *(a[None, ...] for a in (zz, zy, yy, mean_z, means)))
        return sums.solve(self._backend, ridge)

    def _products(self) -> tuple[Array, Array]:
        """Z'Z [taps·o, taps·o] and Z'Y [taps·o, width] from the correlations of all lags."""
        backend, window, outputs = self._backend, self._window, self._outputs
        half = (*self._length[:-1], self._length[-1] // 2 + 1)
        spectrum = backend.xp.reshape(self._spectrum, (*half, *self._spectrum.shape[1:]))
        lags = backend.irfftn(spectrum, self._length, tuple(range(len(half))))
        zz = backend.zeros((window.taps, outputs, window.taps, outputs), backend.xp.float64)
        zy = backend.xp.asarray(self._zy, copy=True)
        for u, first in enumerate(window.offsets):
            for v, second in enumerate(window.offsets):
                apart = [a - b for a, b in zip(first, second, strict=True)]
                if not any(a % s for a, s in zip(apart, window.strides, strict=True)):
                    lag = self._wrapped([a // s for a, s in zip(apart, window.strides, strict=True)])
                    zz[u, :, v, :] = lags[(*lag, slice(None), slice(0, outputs))]
            if self._dense:
                lag = self._wrapped([a - b for a, b in zip(first, window.begin, strict=True)])
                zy[u, ...] = lags[(*lag, slice(None), slice(outputs, outputs + self._width))]
        features = window.taps * outputs
        return backend.xp.reshape(zz, (features, features)) - self._cut, backend.xp.reshape(zy, (features, -1))

    def _wrapped(self, lag: list[int]) -> tuple[int, ...]:
        return tuple(a % n for a, n in zip(lag, self._length, strict=True))


def transform_size(window: Window, size: tuple[int, ...], locations: tuple[int, ...]) -> tuple[int, ...]:
    """FFT lengths at which no lag between two taps, nor without a stride between S and X, wraps around."""
    dense = all(s == 1 for s in window.strides)
    lengths = []
    for j, e, s, n, b in zip(locations, window.extent, window.strides, size, window.begin, strict=True):
        free = j + -(-(e - 1) // s)
        lengths.append(int(scipy.fft.next_fast_len(max(free, n + b) if dense else free, real=True)))
    return tuple(lengths)
