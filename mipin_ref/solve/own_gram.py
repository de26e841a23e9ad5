"""Tensors that nothing but their own channels reconstruct: skips, pools and per-channel layers, a tiny system each."""

from __future__ import annotations

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.joint import Moments, Solution


class OwnGram:
    """Sums for min Σ (x - Σ w_a v_a - b)² + λ‖w‖² in every channel: x and v_1 .. v_r [n, channels, *size]."""

    def __init__(self, backend: Backend, channels: int, *, own: int, intercept: bool) -> None:
        self._backend, self._intercept, self._parts = backend, intercept, 1 + own
        self._channels = ChannelSums(backend, channels, self._parts)

    @property
    def rows(self) -> int:
        return self._channels.rows

    def update(self, y: Array) -> None:
        """Add y = [x, v_1, .., v_r] [n, (1 + r)·channels, *size] of the compute dtype."""
        channels = y.shape[1] // self._parts
        self._channels.update(self._backend.xp.reshape(y, (y.shape[0], self._parts, channels, -1)))

    def merge(self, other: OwnGram) -> None:
        """Add all samples of other sums of the same problem."""
        self._channels.merge(other._channels)

    def solve(self, ridge: float) -> Solution:
        """Own weights [1, r, channels] and the intercept [1, channels]; the shared weights are empty."""
        return self._moments().solve(self._backend, ridge)

    def error(self, fitted: Solution) -> float:
        """Σ(x - x̂)² over these samples of what other sums of the same problem gave."""
        return self._moments().error(self._backend, fitted)

    def _moments(self) -> Moments:
        channels = self._channels
        means, wide = channels.means, self._backend.xp.float64
        none = self._backend.zeros((1, 0), wide)
        return Moments(
            self.rows,
            self._backend.zeros((1, 0, 0), wide),
            self._backend.zeros((1, 0, *means.shape), wide),
            channels.products(centred=self._intercept)[None, ...],
            none,
            means[None, ...],
            *((none, means[None, ...]) if self._intercept else ()),
        )
