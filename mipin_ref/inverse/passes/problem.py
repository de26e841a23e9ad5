"""The least-squares problem of one fitted tensor: its sums, its weights, and the signal that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.descent.pull_back import pull_back
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.plan import Step
from mipin_ref.solve.apart import Apart
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.conv_gram import LEAST_SAMPLES, ConvGram
from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
from mipin_ref.solve.gram import Accumulator, Gram, accumulator_bytes, keeps_rows, make_accumulator
from mipin_ref.solve.joint import Solution
from mipin_ref.solve.own_gram import OwnGram
from mipin_ref.solve.phased_problem import PhasedProblem, phased
from mipin_ref.solve.phases import PhasedGram
from mipin_ref.window import Window

ALONE = Window((1,), (1,), (0,), (0,), (1,))
"""The window of locations that see themselves alone, once they stand in a row."""


@dataclass(frozen=True)
class Problem:
    """The least-squares problem of a fitted step, for `samples` samples.

    column: only the target's output is a regressor; held_out: sums of samples that are held out are kept by themselves.
    """

    backend: Backend
    step: Step
    column: bool
    samples: int
    held_out: bool = False

    def sums(self) -> Sums:
        """Empty sums."""
        return Sums(self, Apart(self._empty(), self._empty()) if self.held_out else self._empty())

    def _empty(self) -> Held:
        step, backend, own = self.step, self.backend, len(self.step.own)
        if not step.shared:
            return OwnGram(backend, step.channels, own=own, intercept=step.intercept)
        if not step.dense:
            return self._located(backend)
        return make_accumulator(
            backend,
            self._features,
            step.channels,
            own=own,
            intercept=step.intercept,
            rows=self.samples,
            locations=step.locations,
        )

    def count(self, x: Array) -> ChannelSums | None:
        """The sums of each feature of x [n, *shape] alone, which are the same for every target; None where they are not
        asked for by themselves.
        """
        if not self.step.dense or self.step.own or keeps_rows(self._features, self.samples):
            return None
        sums = ChannelSums(self.backend, self.step.channels, 1)
        first = self.step.channels_first(self.backend, x)
        sums.update(self.backend.xp.reshape(first, (x.shape[0], 1, -1, self.step.locations)))
        return sums

    def coalesced(self, samples: int) -> int:
        """How many samples are put together before they are summed, where there is room for so many."""
        if self.step.dense:
            return samples
        if not self.step.shared or not self._correlates:
            return 0
        # Their transforms are as large again, and more than are taken at a time would be of no use.
        return min(LEAST_SAMPLES, samples // 2)

    @property
    def bytes(self) -> int:
        """What those sums hold at their largest: of two sides twice as much, but for rows, which are on one of them."""
        return self._bytes * (1 + (self.held_out and not self._keeps_rows))

    @property
    def _keeps_rows(self) -> bool:
        if self.step.dense:
            return keeps_rows(self._features, self.samples) and not self._own_at_locations
        return bool(self.step.shared) and self._phased is None and self._conv.form == "rows"

    @property
    def _bytes(self) -> int:
        parts = 1 + len(self.step.own)
        if not self.step.shared:
            return 8 * self.step.channels * parts * (parts + 1)
        if not self.step.dense:
            return self._conv.bytes_of(self._conv.form) if self._phased is None else self._phased.bytes
        width = parts * self.step.channels
        return accumulator_bytes(self._features, width, self.samples, normal=self._own_at_locations)

    @property
    def _own_at_locations(self) -> bool:
        return self.step.locations > 1 and bool(self.step.own)

    @property
    def _features(self) -> int:
        return 1 if self.column else sum(branch.layer.out_shape[0] for branch in self.step.shared)

    @cached_property
    def _conv(self) -> ConvProblem:
        step, own = self.step, len(self.step.own)
        parts = tuple(
            ConvPart(part.window, part.locations, part.outputs, layer.groups)
            for layer in step.located
            for part in layer.parts
        )
        channels, *size = step.in_front(step.shape)
        if not self.apart or step.rows is None:
            return ConvProblem(parts, tuple(size), channels, self.samples, own, step.intercept, step.rows)
        count = (len(step.rows),)
        single = tuple(replace(part, window=ALONE, locations=count) for part in parts)
        return ConvProblem(single, count, channels, self.samples, own, step.intercept)

    @cached_property
    def _phased(self) -> PhasedProblem | None:
        # How far an intercept that phases share is off on other rows, their sums apart do not tell.
        return None if self.held_out and self._conv.intercept else phased(self._conv)

    @property
    def _correlates(self) -> bool:
        return self._conv.form == "correlation" if self._phased is None else self._phased.correlates

    def _located(self, backend: Backend) -> ConvGram | PhasedGram:
        if self._phased is not None:
            return PhasedGram(backend, self._phased)
        return ConvGram(backend, self._conv, self._conv.form)

    @property
    def apart(self) -> bool:
        """Whether each location is reconstructed by itself alone, so that dead ones need not be written out."""
        return all(part.window.pointwise for layer in self.step.located for part in layer.parts)


Held = OwnGram | ConvGram | PhasedGram | Accumulator
"""The sums of a problem in one of their forms."""


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums of a problem, filled batch by batch; where samples are held out its sides are."""

    problem: Problem
    held: Held | Apart

    @property
    def sides(self) -> tuple[Sums, ...]:
        """The sums of the samples that are fitted first and of those held out; themselves where none are."""
        if not isinstance(self.held, Apart):
            return (self,)
        return Sums(self.problem, self.held.fitted), Sums(self.problem, self.held.out)

    def count(self, channels: ChannelSums) -> None:
        """Add what Problem.count gives for samples that `update` adds as counted."""
        assert isinstance(self.held, Gram)
        self.held.count(channels)

    def update(
        self, signals: Mapping[str, Array], taps: Mapping[str, Array], x: Array, *, counted: bool = False
    ) -> None:
        """Add samples: the signals of the step's branches, and the tensor's true value x [n, *shape]."""
        backend, step = self.problem.backend, self.problem.step
        xp = backend.xp
        own = [pull_back(backend, branch, signals, taps) for branch in step.own]
        if not step.shape:
            x, *own = (xp.reshape(one, (-1, 1)) for one in (x, *own))
        x, *own = (step.channels_first(backend, one) for one in (x, *own))
        y = xp.concat([x, *own], axis=1) if own else x
        apart = step.rows is not None and not step.dense and self.problem.apart
        y = self._kept(y) if apart else y
        above = [signals[branch.layer.output] for branch in step.shared]
        shared = above if step.dense else [step.channels_first(backend, signal) for signal in above]
        if isinstance(self.held, OwnGram):
            self.held.update(y)
        elif isinstance(self.held, ConvGram | PhasedGram):
            layers = zip(step.located, shared, strict=True)
            parts = [part for layer, s in layers for part in layer.divided(backend, s)]
            self.held.update([self._kept(part) for part in parts] if apart else parts, y)
        else:
            z = shared[0] if len(shared) == 1 else xp.concat(shared, axis=1)
            if isinstance(self.held, Gram):
                self.held.update(z, y, counted=counted)
            else:
                assert not isinstance(self.held, Apart)
                self.held.update(z, y)

    def _kept(self, a: Array) -> Array:
        """The locations of a [n, c, *size] that are rows of the fit, side by side [n, c, rows]."""
        xp, rows = self.problem.backend.xp, np.asarray(self.problem.step.rows, np.int64)
        return xp.take(xp.reshape(a, (*a.shape[:2], -1)), self.problem.backend.put(rows), axis=2)

    def error(self, fitted: Sequence[Solution]) -> float:
        """Σ(x - x̂)² over these samples, of what is known of the fit by other sums of the same problem."""
        assert not isinstance(self.held, Apart)
        if isinstance(self.held, ConvGram | PhasedGram):
            return self.held.error(fitted)
        (solution,) = fitted
        return self.held.error(solution)

    def solve(self, ridge: float) -> tuple[Weights, Sequence[Solution]]:
        """The weights in the layers' own shapes, and what is known of the fit."""
        assert not isinstance(self.held, Apart)
        get, step = self.problem.backend.get, self.problem.step
        if isinstance(self.held, ConvGram | PhasedGram):
            joint = self.held.solve(ridge)
            kernels = iter(joint.kernels)
            blocks = [
                layer.assembled([_shaped(next(kernels), part.window) for part in layer.parts]) for layer in step.located
            ]
            return _in_order(step, blocks, joint.own, joint.intercept), joint.solutions
        solution = self.held.solve(ridge)
        weights, at, shared = get(solution.weights)[0].T, 0, []
        for branch in step.shared:
            width = weights.shape[1] if self.problem.column else branch.layer.out_shape[0]
            shared.append(np.ascontiguousarray(weights[:, at : at + width]))
            at += width
        intercept = None if solution.intercept is None else get(solution.intercept)[0]
        return _in_order(step, shared, get(solution.own)[0], intercept), [solution]


def _shaped(kernel: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """A kernel over the axes of its window, which locations in a row do not have."""
    return kernel.reshape(*kernel.shape[:2], *window.kernel)


def _in_order(
    step: Step,
    shared: Sequence[npt.NDArray[np.float64]],
    own: npt.NDArray[np.float64],
    intercept: npt.NDArray[np.float64] | None,
) -> Weights:
    rest = {True: iter(shared), False: iter(own)}
    return Weights(tuple(np.ascontiguousarray(next(rest[b.shared])) for b in step.branches), intercept)
