"""SmoothGrad: the mean gradient around a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mipin_ref.beside import like
from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray
from mipin_ref.methods.averages import weighted_sum
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.sweep import Ints, Sweep
from mipin_ref.options import checked_integer, checked_number

MOST_SAMPLES = 10_000


@dataclass(frozen=True)
class SmoothGradOptions:
    """samples: noisy copies of each input; noise: standard deviation, as a share of an input's largest value less its
    smallest; seed: of the noise, which is the same for every input but for that factor, so that an input is attributed
    alike alone and among others, on every backend.
    """

    samples: int = 50
    noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", checked_integer("samples", self.samples, 1, MOST_SAMPLES))
        object.__setattr__(self, "noise", checked_number("noise", self.noise, 0.0))
        object.__setattr__(self, "seed", checked_integer("seed", self.seed, 0))


class SmoothGrad(BackwardMethod):
    """The mean of ∂y_c / ∂X over inputs with Gaussian noise (Smilkov et al., SmoothGrad, 2017)."""

    name = "smoothgrad"
    multiplier = True
    follows_logit = False
    Options = SmoothGradOptions

    @classmethod
    def suits(cls, net: Network) -> bool:
        return not net.whole and not net.embeddings

    def passes(self, net: Network, at: str) -> int:
        options: SmoothGradOptions = self.options
        return 1 + options.samples

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        if not self.suits(sweep.net) and self.options.noise:
            held = "integers" if sweep.net.whole else "ids"
            raise InvalidData(f"smoothgrad adds noise to the input, and this network's input holds {held}")
        clean = sweep.recorded(x, first)
        mean = weighted_sum(sweep, self._points(x), targets, rows, first)
        return BatchResult(clean.value, sweep.backend.get(mean), clean.output(targets))

    def _points(self, x: HostArray) -> Iterator[tuple[float, HostArray]]:
        options: SmoothGradOptions = self.options
        rng = np.random.default_rng(options.seed)
        flat = x.reshape(len(x), -1).astype(np.float64)
        width = (options.noise * (flat.max(axis=1) - flat.min(axis=1))).reshape((-1,) + (1,) * (x.ndim - 1))
        for _ in range(options.samples):
            yield 1 / options.samples, like(x + width * rng.standard_normal(x.shape[1:]), x)
