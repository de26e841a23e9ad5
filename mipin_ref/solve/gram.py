"""Streaming, mergeable sums from which least-squares problems are solved: rows go in, weights come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Protocol

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.joint import Moments, Solution, eliminate, inner, mixed
from mipin_ref.solve.ridge import Factor, factorise
from mipin_ref.solve.rounding import of_rows


class Accumulator(Protocol):
    """Sums for min Σ‖x - zᵀW - v·own - b‖² + λ‖W‖² + λ‖own‖² over rows z [f], x [d], v [r, d].

    `update` takes y = [x, v_1, .., v_r] of width (1 + r)·d. With several locations z is the same at all of a sample's,
    y is [n, (1 + r)·d, locations], and a row is a sample at a location.
    """

    @property
    def rows(self) -> int: ...

    def update(self, z: Array, y: Array) -> None: ...

    def merge(self, other: Accumulator) -> None: ...

    def solve(self, ridge: float, columns: Array | None = None, channels: slice = ...) -> Solution: ...

    def error(self, fitted: Solution, columns: Array | None = None, channels: slice = ...) -> float:
        """Σ(x - x̂)² over these rows of what `solve` of other sums of the same problem gave."""
        ...


def make_accumulator(
    backend: Backend, features: int, outputs: int, *, own: int = 0, intercept: bool, rows: int, locations: int = 1
) -> Accumulator:
    """Normal equations, or for fewer rows than features the rows themselves (dual form). rows: those that differ in z.

    Own regressors differ between locations, so that with several of these there are more rows than are kept.
    """
    kind = Rows if keeps_rows(features, rows) and not (own and locations > 1) else Gram
    return kind(backend, features, outputs, own=own, intercept=intercept, locations=locations)


def keeps_rows(features: int, rows: int) -> bool:
    """Whether the dual form is the smaller one."""
    return rows < features


def accumulator_bytes(features: int, width: int, rows: int, *, normal: bool = False) -> int:
    """What make_accumulator's choice holds at its largest, one batch's products included; width: of y; normal: whether
    it is the normal equations however few the rows.
    """
    if keeps_rows(features, rows) and not normal:
        return 8 * rows * (2 * (features + width) + rows)
    # Products of the regressors are added whole, those with the wider side some columns at a time.
    return 8 * features * (2 * features + width)


class Gram:
    """The normal equations: products in the compute dtype, sums in float64, centred at the end.

    With an intercept the regressors are shifted by the first batch's mean and get a one appended, so that the same two
    products also hold the sums, and what centring takes off in the end is small. y, the wider side, is shifted only
    where its mean is far from zero. Parts with other shifts are moved to this one's when merged.

    With several locations, at which z is the same, products are of z and the sums of y over them: Z'Z and the sums of z
    count as often as there are locations, which is multiplied in the end.
    """

    def __init__(
        self,
        backend: Backend,
        features: int,
        outputs: int,
        *,
        own: int = 0,
        intercept: bool,
        exact: bool = False,
        locations: int = 1,
    ) -> None:
        """exact: see Moments."""
        self._backend, self._locations = backend, locations
        self._intercept, self._exact = intercept, exact
        self._features, self._parts = features, 1 + own
        wide, width = backend.xp.float64, features + int(intercept)
        self._shift_z = backend.zeros((features,))
        self._shift_y = backend.zeros((self._parts * outputs,))
        self._y_is_shifted = False
        # Of which the lower triangle counts.
        self._zz = backend.zeros((width, width), wide)
        self._zy = backend.zeros((width, self._parts * outputs), wide)
        self._channels = ChannelSums(backend, outputs, self._parts)
        self._started = False

    @property
    def rows(self) -> int:
        return self._channels.rows

    @property
    def features(self) -> int:
        return self._features

    @property
    def intercept(self) -> bool:
        return self._intercept

    def update(self, z: Array, y: Array, *, counted: bool = False) -> None:
        """Add rows z [n, f] and y [n, (1 + r)·d] of the compute dtype; counted: `count` has had these y."""
        xp, n = self._backend.xp, z.shape[0]
        if n == 0:
            return
        if not counted:
            self._channels.update(xp.reshape(y, (n, self._parts, -1, self._locations)))
        if self._locations > 1:
            y = xp.sum(y, axis=2, dtype=y.dtype)
        if self._intercept and not self._started:
            self._choose_shifts(z, y)
        self._started = True
        if self._intercept:
            shifted = xp.empty((n, self._features + 1), dtype=z.dtype, device=self._backend.device)
            shifted[:, :-1] = z
            shifted[:, :-1] -= self._shift_z
            shifted[:, -1] = 1
            z = shifted
            y = y - self._shift_y if self._y_is_shifted else y
        self._backend.add_products(self._zz, self._zy, z, y)

    def update_columns(self, z: Array, y: Array, by_sample: Array) -> None:
        """The same of rows that are columns, z [f, n] and y [(1 + r)·d, n], without an intercept.

        by_sample: y once more, as [samples, (1 + r)·d, n / samples].
        """
        self._count_samples(by_sample)
        self._backend.add_products(self._zz, self._zy, z.T, y.T)

    def update_samples(self, samples: int, made: Callable[[int], tuple[Array, Array]], by_sample: Array) -> None:
        """The same, each sample's columns made by themselves."""
        self._count_samples(by_sample)

        def products(sample: int) -> tuple[Array, Array]:
            z, y = made(sample)
            return z @ z.T, z @ y.T

        for zz, zy in self._backend.each(products, range(samples)):
            self._zz += zz
            self._zy += zy

    def _count_samples(self, y: Array) -> None:
        if self._intercept or self._locations > 1:
            raise InvalidData("columns are added where nothing is shifted and locations are rows")
        self._channels.update(self._backend.xp.reshape(y, (y.shape[0], self._parts, -1, y.shape[2])))
        self._started = True

    def count(self, channels: ChannelSums) -> None:
        """Add the sums of each channel alone, of rows whose products `update` adds."""
        self._channels.merge(channels)

    def _choose_shifts(self, z: Array, y: Array) -> None:
        xp = self._backend.xp
        self._shift_z = xp.astype(xp.mean(z, axis=0), z.dtype)
        mean, variance = xp.mean(y, axis=0), xp.mean(xp.var(y, axis=0))
        far = xp.mean(mean * mean) > 25 * variance
        self._shift_y = xp.where(far, xp.astype(mean, y.dtype), xp.zeros_like(self._shift_y))
        # On a device a shift of zero costs less than to wait for the answer.
        self._y_is_shifted = self._backend.has_own_memory or bool(far)

    def merge(self, other: Accumulator) -> None:
        """Add all rows of another accumulator of the same problem."""
        if not isinstance(other, Gram) or other._problem != self._problem:
            raise InvalidData("only sums of the same problem can be merged")
        if not other.rows:
            return
        if not self._started:
            self._shift_z, self._shift_y = other._shift_z, other._shift_y
            self._y_is_shifted, self._started = other._y_is_shifted, True
        zz, zy = other._zz, other._zy
        if self._intercept:
            xp, wide = self._backend.xp, self._backend.xp.float64
            by_z = xp.astype(other._shift_z, wide) - xp.astype(self._shift_z, wide)
            by_y = xp.astype(other._shift_y, wide) - xp.astype(self._shift_y, wide)
            by_z = xp.concat([by_z, xp.zeros_like(by_z[:1])])[:, None]
            total = zz[-1:, :].T + by_z * zz[-1, -1]
            zz = zz + by_z * zz[-1:, :] + total * by_z.T
            zy = zy + by_z * zy[-1:, :]
            zy = zy + total * by_y[None, :]
        self._zz += zz
        self._zy += zy
        self._channels.merge(other._channels)

    @property
    def _problem(self) -> tuple[object, ...]:
        return self._intercept, self._locations, self._zy.shape

    def solve(self, ridge: float, columns: Array | None = None, channels: slice = slice(None)) -> Solution:
        """W, own weights and b (paper, Eq. 6 where there is an intercept). λ = ridge, absolute, on sums.

        columns: which regressors [k] take part, all where None; channels: for which of the d outputs.
        """
        return self._moments(columns, channels).solve(self._backend, ridge)

    def error(self, fitted: Solution, columns: Array | None = None, channels: slice = slice(None)) -> float:
        """Σ(x - x̂)² over these rows of what other sums of the same problem gave."""
        return self._moments(columns, channels).error(self._backend, fitted)

    def _moments(self, columns: Array | None, channels: slice) -> Moments:
        xp, wide, f = self._backend.xp, self._backend.xp.float64, self._features
        zz, zy, total = self._zz[:f, :f], self._zy[:f, :], self._backend.zeros((f,), wide)
        zz = xp.tril(zz) + xp.tril(zz, k=-1).T
        zz = zz if self._locations == 1 else zz * self._locations
        if self._intercept:
            total = self._zz[f, :f] * self._locations
            zz = zz - total[:, None] * (total / self.rows)[None, :]
        mean_z = xp.astype(self._shift_z, wide) + total / self.rows
        if columns is not None:
            zz = xp.take(xp.take(zz, columns, axis=0), columns, axis=1)
            zy, mean_z, total = (xp.take(a, columns, axis=0) for a in (zy, mean_z, total))
        zy = xp.reshape(zy, (zy.shape[0], self._parts, -1))[:, :, channels]
        yy = self._channels.products(centred=self._intercept)[:, :, channels]
        means, moments = self._channels.means, [zz, zy, yy, mean_z, self._channels.means[:, channels]]
        if self._intercept:
            centre = means - xp.reshape(xp.astype(self._shift_y, wide), means.shape) / self._locations
            moments += [total, centre[:, channels]]
        return replace(Moments(self.rows, *(a[None, ...] for a in moments)), exact=self._exact)


class Rows:
    """The dual form, for fewer rows than features: keeps the rows, then solves (Z Zᵀ + λI) α = X, W = Zᵀ α.

    With several locations, at which z is the same, it keeps the means of x over them: what they leave of x adds to the
    squared error alone, and L locations count each error of a mean, but not λ, L times: so λ / L.
    """

    def __init__(
        self, backend: Backend, features: int, outputs: int, *, own: int = 0, intercept: bool, locations: int = 1
    ) -> None:
        if own and locations > 1:
            raise InvalidData("own regressors differ between locations, of which the dual form keeps the means")
        self._backend, self._locations = backend, locations
        self._within = backend.zeros((outputs,), backend.xp.float64)
        self._intercept = intercept
        self._widths = (features, outputs)
        self._parts = 1 + own
        self._z: list[Array] = []
        self._y: list[Array] = []
        self._samples = 0

    @property
    def rows(self) -> int:
        return self._samples * self._locations

    def update(self, z: Array, y: Array) -> None:
        """Add rows z [n, f] and y [n, (1 + r)·d] of the compute dtype."""
        xp = self._backend.xp
        if z.shape[0]:
            self._z.append(xp.astype(z, xp.float64, copy=True))
            self._y.append(xp.astype(y, xp.float64, copy=True) if self._locations == 1 else self._means(y))
            self._samples += z.shape[0]

    def _means(self, y: Array) -> Array:
        """The means of y [n, d, locations] over locations [n, d], once what they leave is summed.

        So few samples at a time that what is made of them in float64 is small.
        """
        xp, made = self._backend.xp, []
        step = max(1, self._backend.block_bytes // (64 * prod(y.shape[1:])))
        for start in range(0, y.shape[0], step):
            some = xp.astype(y[start : min(start + step, y.shape[0]), ...], xp.float64)
            made.append(xp.mean(some, axis=2))
            self._within += xp.sum((some - made[-1][:, :, None]) ** 2, axis=(0, 2))
        return xp.concat(made)

    def merge(self, other: Accumulator) -> None:
        """Add all rows of another accumulator of the same problem."""
        if not isinstance(other, Rows) or other._problem != self._problem:
            raise InvalidData("only rows of the same problem can be merged")
        self._z.extend(other._z)
        self._y.extend(other._y)
        self._samples += other._samples
        self._within += other._within

    @property
    def _problem(self) -> tuple[object, ...]:
        return self._intercept, self._parts, self._widths, self._locations

    def solve(self, ridge: float, columns: Array | None = None, channels: slice = slice(None)) -> Solution:
        """W, own weights and b; for λ = 0 the minimum-norm solution. columns, channels: see Gram.solve."""
        if self._locations == 1:
            return self._solved(ridge, columns, channels)
        of_means, within = self._solved(ridge / self._locations, columns, channels), self._within[channels]
        rest = float(self._backend.xp.sum(within))
        return replace(
            of_means,
            rows=self.rows,
            squared_error=self._locations * of_means.squared_error + rest,
            spread=self._locations * of_means.spread + rest,
        )

    def _solved(self, ridge: float, columns: Array | None, channels: slice) -> Solution:
        """The same of the means over locations."""
        xp, parts = self._backend.xp, self._parts
        z, y = xp.concat(self._z), xp.concat(self._y)
        if columns is not None:
            z = xp.take(z, columns, axis=1)
        y = xp.reshape(y, (self._samples, parts, -1))[:, :, channels]
        mean_z, mean_y, second = xp.mean(z, axis=0), xp.mean(y, axis=0), xp.sum(z * z, axis=0)
        spread = xp.sum((y[:, 0, :] - mean_y[0, :]) ** 2)
        if self._intercept:
            z, y = z - mean_z, y - mean_y
        left: Array = None
        if ridge == 0 and parts > 1:
            weights, mix, factor = self._minimum_norm(z, y)
            condition, rank, amplification = factor.condition, factor.rank, float("inf")
        else:
            flat = xp.reshape(y, (self._samples, -1))
            factor = factorise(self._backend, z @ z.T, ridge)
            dual = factor.solve(flat)
            # In memory a channel's weights lie side by side: so a Dense stores them.
            solved = xp.matrix_transpose(xp.matrix_transpose(dual) @ z)
            # What (ZZ' + λI) α = y leaves of y is λα; without the directions of noise it solves another system.
            rest = ridge * dual if factor.solver == "cholesky" else flat - z @ solved
            left = xp.reshape(rest, y.shape)
            products, schur = (inner(self._backend, y[None, ...], a[None, ...]) for a in (y, left))
            own = eliminate(self._backend, schur, products, ridge, z.shape[1])
            mix, condition, rank = own.mix, max(factor.condition, own.condition), factor.rank + own.rank
            weights = mixed(self._backend, xp.reshape(solved, (1, -1, *y.shape[1:])), mix)[0, ...]
            about = xp.sum(y[:, 0, :] ** 2, axis=0)
            amplification = of_rows(
                self._backend, second[None, :], weights[None, ...], about[None, :], self._samples, ridge
            )
        if parts == 1 and left is not None:
            residual = left[:, 0, :]
        else:
            residual = mixed(self._backend, y[None, ...], mix)[0, ...] - z @ weights
        intercept = xp.sum(mix[0, ...] * mean_y, axis=0) - mean_z @ weights if self._intercept else None
        return Solution(
            weights[None, ...],
            -mix[:, 1:, :],
            None if intercept is None else intercept[None, ...],
            self._samples,
            "dual-cholesky" if factor.solver == "cholesky" else "dual-eigh",
            condition,
            rank,
            float(xp.sum(residual * residual)),
            float(spread),
            amplification,
        )

    def error(self, fitted: Solution, columns: Array | None = None, channels: slice = slice(None)) -> float:
        """Σ(x - x̂)² over these rows of what other rows of the same problem gave."""
        xp = self._backend.xp
        z, y = xp.concat(self._z), xp.concat(self._y)
        if columns is not None:
            z = xp.take(z, columns, axis=1)
        y = xp.reshape(y, (self._samples, self._parts, -1))[:, :, channels]
        left = y[:, 0, :] - z @ fitted.weights[0, ...] - xp.sum(y[:, 1:, :] * fitted.own, axis=1)
        if fitted.intercept is not None:
            left = left - fitted.intercept
        return self._locations * float(xp.sum(left * left)) + float(xp.sum(self._within[channels]))

    def _minimum_norm(self, z: Array, y: Array) -> tuple[Array, Array, Factor]:
        """λ = 0: the norm counts all weights of a channel, so each channel's system is solved whole."""
        xp = self._backend.xp
        kernel = z @ z.T
        weights, mix = self._backend.zeros((z.shape[1], y.shape[2]), xp.float64), xp.ones_like(y[:1, ...])
        worst = None
        for channel in range(y.shape[2]):
            own = y[:, 1:, channel]
            factor = factorise(self._backend, kernel + own @ own.T, 0.0)
            weight = factor.solve(y[:, :1, channel])
            weights[:, channel] = (z.T @ weight)[:, 0]
            mix[0, 1:, channel] = -(own.T @ weight)[:, 0]
            if worst is None or factor.condition > worst.condition:
                worst = factor
        assert worst is not None
        return weights, mix, worst
