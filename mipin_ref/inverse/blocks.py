"""The least-squares problem of one fitted tensor: its sums, its weights, and the signal that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.plan import Step
from mipin_ref.inverse.pull import pull
from mipin_ref.layers import Shared
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.conv_gram import ConvGram
from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
from mipin_ref.solve.gram import Accumulator, Gram, accumulator_bytes, keeps_rows, make_accumulator
from mipin_ref.solve.joint import Solution
from mipin_ref.solve.own_gram import OwnGram


@dataclass(frozen=True, eq=False)
class Weights:
    """The fitted inverse of one tensor, float64 NumPy.

    blocks: one array a branch, in the order of the step's: Dense [in, out] (X̂ = W S + b, Eq. 6; one column for the
    layer that holds the target), Conv [o, m / groups, *kernel] (Eq. 7), any other [C], one weight a channel;
    intercept: [C] or None. C is axis 1 of the tensor, its features where it has no other axis.
    """

    blocks: tuple[npt.NDArray[np.float64], ...]
    intercept: npt.NDArray[np.float64] | None

    @property
    def unknowns(self) -> int:
        return sum(block.size for block in self.blocks) + (0 if self.intercept is None else self.intercept.size)


def block_shapes(step: Step, *, column: bool) -> list[tuple[int, ...]]:
    """The shape of each of a step's blocks of weights; column: the target's output is the only regressor."""
    return [
        branch.layer.block_shape(column=column) if isinstance(branch.layer, Shared) else (step.channels,)
        for branch in step.branches
    ]


@dataclass(frozen=True)
class Problem:
    """The least-squares problem of a fitted step, for `samples` samples.

    column: only the target's output is a regressor.
    """

    backend: Backend
    step: Step
    column: bool
    samples: int

    def sums(self) -> Sums:
        """Empty sums."""
        step, backend, own = self.step, self.backend, len(self.step.own)
        if not step.shared:
            return Sums(self, OwnGram(backend, step.channels, own=own, intercept=step.intercept))
        if not step.dense:
            return Sums(self, ConvGram(backend, self._conv, self._conv.form))
        made = make_accumulator(
            backend, self._features, step.channels, own=own, intercept=step.intercept, rows=self.samples
        )
        return Sums(self, made)

    def count(self, x: Array) -> ChannelSums | None:
        """The sums of each feature of x [n, *shape] alone, which are the same for every target; None where they are not
        asked for by themselves.
        """
        if not self.step.dense or self.step.own or keeps_rows(self._features, self.samples):
            return None
        sums = ChannelSums(self.backend, self.step.channels, 1)
        sums.update(self.backend.xp.reshape(x, (x.shape[0], 1, -1, 1)))
        return sums

    @property
    def bytes(self) -> int:
        """What those sums hold at their largest."""
        parts = 1 + len(self.step.own)
        if not self.step.shared:
            return 8 * self.step.channels * parts * (parts + 1)
        if not self.step.dense:
            return self._conv.bytes_of(self._conv.form)
        return accumulator_bytes(self._features, parts * self.step.channels, self.samples)

    @property
    def _features(self) -> int:
        return 1 if self.column else sum(branch.layer.out_shape[0] for branch in self.step.shared)

    @property
    def _conv(self) -> ConvProblem:
        parts = tuple(
            ConvPart(layer.window, layer.out_shape[1:], layer.out_shape[0], layer.groups)
            for layer in self.step.convolutions
        )
        channels, *size = self.step.shape
        return ConvProblem(parts, tuple(size), channels, self.samples, len(self.step.own), self.step.intercept)


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums of a problem, filled batch by batch."""

    problem: Problem
    held: OwnGram | ConvGram | Accumulator

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
        own = [pull(backend, branch, signals, taps) for branch in step.own]
        if not step.shape:
            x, *own = (xp.reshape(one, (-1, 1)) for one in (x, *own))
        y = xp.concat([x, *own], axis=1) if own else x
        shared = [signals[branch.layer.output] for branch in step.shared]
        if isinstance(self.held, OwnGram):
            self.held.update(y)
        elif isinstance(self.held, ConvGram):
            self.held.update(shared, y)
        else:
            z = shared[0] if len(shared) == 1 else xp.concat(shared, axis=1)
            if isinstance(self.held, Gram):
                self.held.update(z, y, counted=counted)
            else:
                self.held.update(z, y)

    def solve(self, ridge: float) -> tuple[Weights, Sequence[Solution]]:
        """The weights in the layers' own shapes, and what is known of the fit."""
        get, step = self.problem.backend.get, self.problem.step
        if isinstance(self.held, ConvGram):
            found = self.held.solve(ridge)
            return _in_order(step, found.kernels, found.own, found.intercept), found.solutions
        solution = self.held.solve(ridge)
        weights, at, shared = get(solution.weights)[0].T, 0, []
        for branch in step.shared:
            width = weights.shape[1] if self.problem.column else branch.layer.out_shape[0]
            shared.append(np.ascontiguousarray(weights[:, at : at + width]))
            at += width
        intercept = None if solution.intercept is None else get(solution.intercept)[0]
        return _in_order(step, shared, get(solution.own)[0], intercept), [solution]


def _in_order(
    step: Step,
    shared: Sequence[npt.NDArray[np.float64]],
    own: npt.NDArray[np.float64],
    intercept: npt.NDArray[np.float64] | None,
) -> Weights:
    rest = {True: iter(shared), False: iter(own)}
    return Weights(tuple(np.ascontiguousarray(next(rest[b.shared])) for b in step.branches), intercept)


@dataclass(frozen=True, eq=False)
class DeviceWeights:
    """Weights on the device, in the compute dtype; bytes: of all of them."""

    blocks: tuple[Array, ...]
    intercept: Array | None
    bytes: int

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.bytes

    @classmethod
    def of(cls, backend: Backend, weights: Weights) -> DeviceWeights:
        intercept = None if weights.intercept is None else backend.put(weights.intercept)
        return cls(
            tuple(backend.put(block) for block in weights.blocks), intercept, backend.itemsize * weights.unknowns
        )


def reconstruct(
    backend: Backend,
    step: Step,
    signals: Mapping[str, Array],
    weights: DeviceWeights | None,
    taps: Mapping[str, Array],
    *,
    affine: int,
) -> Array:
    """The signal of a step's tensor from those of its branches [n, *shape], before any mask.

    weights: of a fitted step; affine: how many of the n, from the first, take the intercept (source signals); the
    others do not (attributions).
    """
    xp = backend.xp
    if weights is None:
        return pull(backend, step.branches[0], signals, taps)
    per_channel = (-1,) + (1,) * (len(step.shape) - 1)
    found: Array = None
    for branch, block in zip(step.branches, weights.blocks, strict=True):
        layer = branch.layer
        if isinstance(layer, Shared):
            part = layer.adjoint(backend, signals[layer.output], block)
        else:
            part = pull(backend, branch, signals, taps) * xp.reshape(block, per_channel)
        found = part if found is None else found + part
    if affine and weights.intercept is not None:
        found[:affine, ...] += xp.reshape(weights.intercept, per_channel)
    return found


def sample_bytes(steps: Sequence[Step], fetched: Sequence[tuple[int, ...]], itemsize: int, *, signals: int = 1) -> int:
    """Rough memory that one sample needs on its way forward and, with so many signals, back through `steps`."""
    layers = [layer for step in steps for layer in step.layers]
    widest = max((prod(layer.in_shape) + prod(layer.out_shape) for layer in layers), default=1)
    held = sum(prod(shape) for shape in fetched)
    return int(8 * widest + (4 + itemsize) * held + itemsize * 2 * widest * (1 + signals))


def workspace_bytes(backend: Backend, steps: Sequence[Step]) -> int:
    """Rough memory that the way back needs besides, however many the samples."""
    layers = (layer for step in steps for layer in step.layers)
    return max((layer.workspace_bytes(backend) for layer in layers if isinstance(layer, Shared)), default=0)
