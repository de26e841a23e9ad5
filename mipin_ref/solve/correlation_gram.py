"""The normal equations of adjoint convolutions from correlations, without im2col."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.joint import Moments, Solution
from mipin_ref.solve.regressor_sums import RegressorSums
from mipin_ref.window import Window

NOISE = 0.5
"""Noise of single-precision products, beside those of rows: each frequency is rounded by itself, and an entry of the
Gram is their sum, in which the roundings of all but the mean cancel in part. On `mnist_cnn` a fifth is left.
"""


class CorrelationGram:
    """Sums for one group: x [n, m, *size] from s [n, o, *locations] of each window and own regressors shaped as x.

    The windows have one stride. With an intercept or own regressors everything is computed in float64: correlations
    cannot be shifted beforehand, and what centring, or elimination of the shared regressors, leaves of single-precision
    products may be their rounding.
    """

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        size: tuple[int, ...],
        locations: Sequence[tuple[int, ...]],
        outputs: Sequence[int],
        inputs: int,
        *,
        own: int = 0,
        intercept: bool,
        exact: bool = False,
    ) -> None:
        """exact: see Moments."""
        self._backend, self._exact = backend.in_double() if intercept or own else backend, exact
        self._intercept, self._parts = intercept, 1 + own
        self._regressors = RegressorSums(
            self._backend,
            windows,
            size,
            locations,
            outputs,
            width=self._parts * inputs,
            summed=intercept,
            squared=exact or self._backend.dtype == "float32",
        )
        self._channels = ChannelSums(backend, inputs, self._parts)

    @property
    def rows(self) -> int:
        return self._channels.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a window, and y = [x, v_1, .., v_r] [n, (1 + r)·m, *size]."""
        xp, dtype = self._backend.xp, self._backend.compute
        y = xp.astype(y, dtype, copy=False)
        self._regressors.update([xp.astype(s, dtype, copy=False) for s in signals], y)
        self._channels.update(xp.reshape(y, (y.shape[0], self._parts, y.shape[1] // self._parts, -1)))

    def merge(self, other: CorrelationGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if not isinstance(other, CorrelationGram) or other._regressors.problem != self._regressors.problem:
            raise InvalidData("only sums of the same problem can be merged")
        self._channels.merge(other._channels)
        self._regressors.merge(other._regressors)

    def solve(self, ridge: float) -> Solution:
        """Weights [1, Σ taps·o, m], the windows one after another, taps outermost, own weights and the intercept."""
        return self._moments().solve(self._backend, ridge)

    def error(self, fitted: Solution) -> float:
        """Σ(x - x̂)² over these samples of what other sums of the same problem gave."""
        return self._moments().error(self._backend, fitted)

    def _moments(self) -> Moments:
        xp, channels = self._backend.xp, self._channels
        zz, zy, means = self._regressors.gram(), self._regressors.cross(), channels.means
        zy = xp.reshape(zy, (zy.shape[0], self._parts, -1))
        yy, mean_z = channels.products(centred=self._intercept), self._backend.zeros((zz.shape[0],), xp.float64)
        centred = [zz, zy, yy, mean_z, means]
        if self._intercept:
            sum_z = self._regressors.sums()
            mean_z = sum_z / self.rows
            zz -= sum_z[:, None] * mean_z[None, :]
            centred += [sum_z, means]
            centred[3] = mean_z
        moments = replace(Moments(self.rows, *(a[None, ...] for a in centred)), noise=NOISE, exact=self._exact)
        if self._exact or self._backend.dtype == "float32":
            second, noisy = self._regressors.squares()
            # What is never anything but zero has products, of differences, that are nothing but rounding.
            alive = xp.astype(second > 0, xp.float64)
            zz *= alive[:, None]
            zz *= alive[None, :]
            zy *= alive[:, None, None]
            moments = replace(moments, second=second[None, :], noisy=noisy[None, :])
        return moments
