"""The least-squares problem of one fitted tensor, written out: explicit regressors, Gram matrix, eigenvalues.

The slow twin that golden values are checked with and whose rounding gives their tolerances: a row a sample and
location, a column an unknown, so that only few and small samples fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.errors import InvalidData
from mipin_ref.golden.regressors import regressors_of
from mipin_ref.inverse.descent.pull_back import pull_back
from mipin_ref.inverse.plan import Branch, Step, block_shapes
from mipin_ref.layers import HostArray, Shared, as_kind

Arrays = Mapping[str, HostArray]
Pull = Callable[[Backend, Branch, Mapping[str, Array], Mapping[str, Array]], Array]
Noise = Callable[[HostArray], HostArray]
Mistake = Literal["none", "not centred", "no intercept", "penalised intercept", "intercept", "one by one"]

ROWS_BYTES = 2 << 30
"""What the rows of one tensor's problem may take."""


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of a tensor with regressors in common: columns [n, locations, k], so many of each branch in turn."""

    channels: tuple[int, ...]
    columns: HostArray
    widths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Inverted:
    """blocks: one a branch, shaped as the engine's; intercept: [C] or None; condition, rank: of the worst group."""

    blocks: tuple[HostArray, ...]
    intercept: HostArray | None
    condition: float
    rank: int


def exactly(a: HostArray) -> HostArray:
    """No noise."""
    return a


@dataclass(frozen=True)
class Regression:
    """The problem of a step; column: only the target's logit is a regressor, and comes as [n, 1]; pull: what brings
    signals back through a branch that has no weights of its own.
    """

    step: Step
    column: bool
    pull: Pull = pull_back

    def groups(self, signals: Arrays, taps: Arrays) -> list[Group]:
        """The regressors. signals: by tensor [n, ...]; taps: states of layers, of a pool the winning taps, by output.

        Raises InvalidData where they would take more than ROWS_BYTES.
        """
        step = self.step
        own = [self._in_front(self.pull(get_backend(), branch, signals, taps)) for branch in step.own]
        n = len(next(iter(signals.values())))
        groups = []
        for channels in self._classes():
            parts: list[HostArray] = []
            for branch in step.branches:
                if branch.shared:
                    layer, signal = as_kind(branch.layer, Shared), signals[branch.layer.output]
                    signal = signal if step.dense else step.channels_first(get_backend(), signal)
                    size = step.in_front(step.shape)[1:]
                    part = regressors_of(layer).columns(layer, self._group(layer, channels[0]), signal, size)
                    # A Dense has the same regressors at all locations that share weights.
                    parts.append(np.repeat(part, step.locations, axis=1) if step.locations > 1 else part)
                else:
                    pulled = own[step.own.index(branch)]
                    parts.append(pulled[:, channels[0]].reshape(n, -1, 1))
            taken = sum(part.size for part in parts) * 8
            if taken > ROWS_BYTES:
                raise InvalidData(
                    f"the rows of tensor {step.tensor!r}, written out, take {taken / 1e9:.1f} GB; make the case of "
                    "fewer samples"
                )
            widths = tuple(part.shape[2] for part in parts)
            groups.append(Group(channels, np.concatenate(parts, axis=2), widths))
        return groups

    def solve(
        self,
        signals: Arrays,
        taps: Arrays,
        x: HostArray,
        rows: HostArray,
        ridge: float,
        noise: Noise = exactly,
        row_noise: Noise = exactly,
        mistake: Mistake = "none",
    ) -> Inverted:
        """The weights that reconstruct x [n, *shape] over the samples `rows` [n] bool.

        noise: of the sums' entries; row_noise: of the regressors' rows; mistake: one to make on purpose, for its
        signature.
        """
        shapes = block_shapes(self.step, column=self.column)
        blocks = [np.zeros(shape) for shape in shapes]
        centred = (self.step.intercept or mistake == "intercept") and mistake not in ("no intercept", "not centred")
        intercept = np.zeros(self.step.channels) if self.step.intercept or mistake == "intercept" else None
        condition, rank = 1.0, np.iinfo(np.int64).max
        flat = self._in_front(x.astype(np.float64)).reshape(len(x), self.step.channels, -1)
        for group in self.groups(signals, taps):
            z = row_noise(group.columns[rows][:, self._living].reshape(-1, group.columns.shape[2]))
            y = flat[rows][:, list(group.channels)][:, :, self._living].transpose(0, 2, 1).reshape(len(z), -1)
            mean_z, mean_y = z.mean(axis=0), y.mean(axis=0)
            if mistake == "penalised intercept":
                z = np.concatenate([z, np.ones((len(z), 1))], axis=1)
            elif centred:
                z, y = z - mean_z, y - mean_y
                condition = max(condition, _cancelled(z, mean_z, ridge))
            gram, right = _symmetric(z.T @ z, noise), noise(z.T @ y)
            if mistake == "one by one":
                gram = gram * _beside(group)
            weights, worst, kept = ridged(gram, right, ridge)
            condition, rank = max(condition, worst), min(rank, kept)
            if mistake == "penalised intercept":
                weights, constant = weights[:-1], weights[-1]
            elif mistake == "no intercept":
                constant = np.zeros_like(mean_y)
            else:
                constant = mean_y - mean_z @ weights
            if intercept is not None:
                intercept[list(group.channels)] = constant
            self._store(blocks, group.channels, weights)
        return Inverted(tuple(blocks), intercept, condition, int(rank))

    def predict(self, signals: Arrays, taps: Arrays, inverted: Inverted, *, affine: bool) -> HostArray:
        """X̂ [n, *shape] before any mask; affine: with the intercept."""
        n, step = len(next(iter(signals.values()))), self.step
        predicted = np.zeros((n, step.channels, prod(step.shape) // step.channels))
        for group in self.groups(signals, taps):
            weights = self._load(inverted.blocks, group.channels)
            predicted[:, list(group.channels)] = (group.columns @ weights).transpose(0, 2, 1)
        if affine and inverted.intercept is not None:
            predicted += inverted.intercept[:, None]
        if step.channel_of is not None:
            return predicted.reshape(n, -1)[:, np.argsort(np.argsort(step.channel_of, kind="stable"))]
        shaped = predicted.reshape(n, *step.in_front(step.shape))
        return shaped if step.axis == 1 else np.moveaxis(shaped, 1, step.axis)

    def _in_front(self, x: HostArray) -> HostArray:
        """x [n, *shape] with the channels in front; one number a sample counts as a channel."""
        return np.asarray(self.step.channels_first(get_backend(), x)) if self.step.shape else x.reshape(len(x), 1)

    @property
    def _living(self) -> slice | list[int]:
        """The locations that are rows."""
        return slice(None) if self.step.rows is None else list(self.step.rows)

    def _classes(self) -> list[tuple[int, ...]]:
        """Channels that have all regressors in common."""
        channels = range(self.step.channels)
        if self.step.own:
            return [(m,) for m in channels]
        layers = [as_kind(branch.layer, Shared) for branch in self.step.shared]
        classes: dict[tuple[int, ...], list[int]] = {}
        for m in channels:
            classes.setdefault(tuple(self._group(layer, m) for layer in layers), []).append(m)
        return [tuple(members) for members in classes.values()]

    def _group(self, layer: Shared, channel: int) -> int:
        return channel * regressors_of(layer).groups(layer) // self.step.channels

    def _places(self, blocks: Sequence[HostArray], channels: tuple[int, ...]) -> list[tuple[HostArray, bool]]:
        """For each block the part that these channels use, a view [d, k], or [o, d, taps] where the flag is set."""
        return [self._place(branch, block, channels) for branch, block in zip(self.step.branches, blocks, strict=True)]

    def _place(self, branch: Branch, block: HostArray, channels: tuple[int, ...]) -> tuple[HostArray, bool]:
        if not branch.shared:
            return block[channels[0] : channels[-1] + 1, None], False
        layer = as_kind(branch.layer, Shared)
        known = regressors_of(layer)
        return known.place(layer, block, channels, self._group(layer, channels[0])), known.kernel

    def _store(self, blocks: list[HostArray], channels: tuple[int, ...], weights: HostArray) -> None:
        at = 0
        for place, kernel in self._places(blocks, channels):
            if kernel:
                o, d, taps = place.shape
                place[...] = weights[at : at + o * taps].reshape(o, taps, d).transpose(0, 2, 1)
                at += o * taps
            else:
                place[...] = weights[at : at + place.shape[1]].T
                at += place.shape[1]

    def _load(self, blocks: tuple[HostArray, ...], channels: tuple[int, ...]) -> HostArray:
        parts = []
        for place, kernel in self._places(blocks, channels):
            parts.append(place.transpose(0, 2, 1).reshape(-1, place.shape[1]) if kernel else place.T)
        return np.concatenate(parts)


def ridged(gram: HostArray, right: HostArray, ridge: float) -> tuple[HostArray, float, int]:
    """(G + λI) w = right by eigenvalues; returns also the condition of the system solved and the directions kept.

    Directions whose eigenvalue is below k·eps·max are left out where λ does not keep the condition below 1/(k·eps).
    """
    values, vectors = np.linalg.eigh(gram)
    noise = len(values) * np.finfo(np.float64).eps
    largest = max(float(values[-1]), 0.0)
    shifted = values + ridge
    if not (shifted[0] > 0 and shifted[-1] < shifted[0] / noise):
        kept = values > noise * largest
        values, vectors, shifted = values[kept], vectors[:, kept], shifted[kept]
    condition = float(shifted[-1] / shifted[0]) if len(shifted) else 1.0
    return vectors @ ((vectors.T @ right) / shifted[:, None]), condition, len(shifted)


def _cancelled(z: HostArray, mean: HostArray, ridge: float) -> float:
    """How much larger the squares of regressors are than what is left of them once they are centred, z [r, k]."""
    left = np.sum(z * z, axis=0) + ridge
    whole = left + len(z) * mean**2
    return float(np.max(np.divide(whole, left, out=np.ones_like(left), where=left > 0), initial=1.0))


def _beside(group: Group) -> HostArray:
    """[k, k]: 1 where both regressors are of one branch."""
    owner = np.repeat(np.arange(len(group.widths)), group.widths)
    return np.equal.outer(owner, owner).astype(np.float64)


def _symmetric(gram: HostArray, noise: Noise) -> HostArray:
    upper = np.triu(noise(gram))
    return upper + np.triu(upper, 1).T
