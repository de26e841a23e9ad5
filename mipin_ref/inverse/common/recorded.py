"""What each target has alone, fitted when it is asked for: on recordings, so that no data are read again.

Where a layer above the common tensor has many weights, those of a thousand classes take more room than what they are
fitted from: the values, of every calibration sample, of the few tensors there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from mipin_ref.data import Seen
from mipin_ref.errors import InvalidData, PrecisionWarning
from mipin_ref.graph.forward import record_bytes
from mipin_ref.inverse.common.reference import batch_size_of
from mipin_ref.inverse.descent.batch import needs
from mipin_ref.inverse.passes.fitter import FittedTarget, Fitter, RoundedTooMuch
from mipin_ref.inverse.passes.recordings import Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.spec import Key
from mipin_ref.inverse.passes.target import varies
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import above
from mipin_ref.layers import HostArray
from mipin_ref.progress import Advance, progress_bar

UNBOUNDED = 1 << 62
"""Recordings are a result and, like weights, come on top of the memory of a fit."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """task: of a fit with a common tensor; arrays: what is recorded of all samples [N, ...]; seen: by the network."""

    task: FitTask
    arrays: Mapping[Key, HostArray]
    seen: Seen

    def fitted(self, target: int) -> tuple[FitTask, FittedTarget]:
        """What a target has alone, and the task, which is in double precision where single is not enough for it."""
        try:
            return self.task, self._fitted(self.task, target)
        except RoundedTooMuch as told:
            warnings.warn(
                f"dtype='float32' is not enough for class {self.task.net.target(target)}, whose own part is fitted in "
                f"float64: {told}",
                PrecisionWarning,
                2,
            )
            double = self.task.in_double()
            return double, self._fitted(double, target)

    def _fitted(self, task: FitTask, target: int) -> FittedTarget:
        store = RowStore(UNBOUNDED, files=False)
        for key, array in self.arrays.items():
            store.open(key, len(array), array.shape[1:], array.dtype, disk=False)
            store.append(key, array)
        fitter = Fitter(replace(task, plan=above(task.plan)), varied=(), recorded=store, seen=self.seen)
        with progress_bar(False) as start:
            return fitter.run([target], start).targets[target]


@dataclass(frozen=True)
class Gone:
    """In the place of calibration samples of which only recordings are left."""

    shape: tuple[int, ...]
    dtype: Any
    source: Any

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        raise InvalidData("the calibration samples of a saved inverse are not kept")


def recorded_keys(task: FitTask) -> list[Key]:
    """What must be recorded for the tensors above the common one to be fitted."""
    plan = above(task.plan)
    tensors, layers = needs(plan.steps, plan.fitted)
    values: list[Key] = [("value", name) for name in dict.fromkeys([*tensors, plan.logits])]
    return [*values, *(("taps", name) for name in layers)]


def recorded_bytes(task: FitTask) -> int:
    """What the recordings of all samples take."""
    plan, net = above(task.plan), task.net
    _, layers = needs(plan.steps, plan.fitted)
    each = 0
    for kind, name in recorded_keys(task):
        dtype = net.dtype if kind == "value" else layers[name].state_dtype(net.dtype)
        each += dtype.itemsize * prod(net.shapes[name] if kind == "value" else layers[name].state_shape)
    return len(task.data) * each


def record_all(task: FitTask, seen: Seen, advance: Advance, recordings: RowStore) -> Recorded:
    """What is needed above the common tensor, which the network computes once more where the recordings lack it."""
    plan, net = above(task.plan), task.net
    _, layers = needs(plan.steps, plan.fitted)
    keys = recorded_keys(task)
    tensors = [name for kind, name in keys if kind == "value"]
    size = batch_size_of(task, record_bytes(net, {*tensors, net.input}, layers.values()))
    parts: dict[Key, list[HostArray]] = {key: [] for key in keys}
    for start, stop, record in Recordings(net, task.data, recordings, lasting=True).passes(tensors, layers, (), size):
        for kind, name in keys:
            parts[kind, name].append((record.values if kind == "value" else record.taps)[name])
        advance(stop - start)
    return Recorded(task, {key: np.concatenate(some) for key, some in parts.items()}, seen)


def check_varied(known: Recorded, targets: Sequence[int]) -> None:
    """Raises InvalidData where the logit of a target is the same for all samples."""
    logits = known.arrays["value", known.task.plan.logits]
    logits = logits.reshape(len(logits), -1)
    low, high = logits.min(axis=0), logits.max(axis=0)
    varied = varies(low, high, known.task.net.dtype)
    for target in targets:
        if not varied[target]:
            raise InvalidData(
                f"logit {target} is {high[target]:.6g} for every calibration sample: there is nothing to invert"
            )
