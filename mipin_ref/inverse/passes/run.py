"""One pass over the data: signals down a part of the plan, and what is fitted next added up; here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.inverse.descent.batch import Recorded, to_device
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.descent.step_ride import StepRide, rides
from mipin_ref.inverse.passes.adding import Adding
from mipin_ref.inverse.passes.prefetch import batches
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.inverse.passes.recordings import Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.spec import PassSpec, signal_shape
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.plan import Plan
from mipin_ref.layers import HostArray, Shape
from mipin_ref.progress import Advance

Added = dict[int, dict[str, Sums]]
"""What a pass has added up: by target and tensor."""


def open_stored(
    spec: PassSpec,
    plan: Plan,
    shapes: Mapping[str, Shape],
    dtype: str,
    signals: RowStore,
    samples: Mapping[int, int],
) -> None:
    """Make room in `signals` for those that a pass keeps; samples: by target, at most."""
    for target, count in samples.items():
        for name in spec.store:
            shape = signal_shape(plan, shapes, name)
            signals.open((target, name), count, shape, dtype, disk=name in spec.on_disk)


def run_pass(
    backend: Backend,
    plan: Plan,
    spec: PassSpec,
    state: Mapping[int, TargetState],
    signals: RowStore,
    recordings: Recordings,
    advance: Advance,
    *,
    first: int = 0,
) -> Added:
    """The sums of the data of `recordings`, batch by batch; what is kept goes into `signals`, the rest into `state`.

    first: position of the first sample among those of the whole fit.
    """
    fitted, path, problems = spec.fitted_steps(plan), spec.path_steps(plan), spec.problems(backend, plan)
    sums = {t: {name: one.sums() for name, one in own.items()} for t, own in problems.items()}
    adding = Adding(backend, spec, plan, problems, sums, first)
    ridden = {t: _ridden(backend, plan, spec, t, known) for t, known in state.items()}
    tensors, pools = spec.needs(plan, state)
    wanted = {name for step in fitted for name in step.reads} | set(spec.store)
    chosen: dict[int, list[npt.NDArray[np.bool_]]] = {t: [] for t in state}
    read = dict.fromkeys(state, 0)
    made = recordings.passes(tensors, pools, spec.later, spec.batch_size, look=spec.looks)
    for start, stop, record in batches(backend, made):
        batch = to_device(backend, path, record)
        adding.begin(start, stop, record)
        for target, known in state.items():
            mask = _rows(plan, target, known, start, stop, record)
            chosen[target].append(mask)
            rows = np.flatnonzero(mask)
            if not len(rows):
                continue
            here = batch if len(rows) == stop - start else batch.take(backend, rows)
            begin, end = read[target], read[target] + len(rows)
            read[target] = end
            here_signals = {n: backend.put(signals.read((target, n), begin, end)) for n in spec.start}
            if plan.logits in record.values:
                logits = record.values[plan.logits][rows]
                _note_logit(known, logits, target)
                here_signals.setdefault(plan.logits, seed(backend, plan, logits, target))
            own = known.on_device, here, here_signals
            reached = descend(backend, path, *own, affine=len(rows), keep=wanted, rides=ridden[target])
            adding.add(target, rows, reached, here)
            for name in spec.store:
                signals.append((target, name), backend.get(reached[name]))
        advance(stop - start)
    for target, known in state.items():
        known.rows = np.concatenate(chosen[target])
    adding.finish()
    return sums


def _ridden(backend: Backend, plan: Plan, spec: PassSpec, target: int, known: TargetState) -> dict[str, StepRide]:
    """The sessions that take steps of a target's signals, but for those that onnxruntime does not open."""
    sessions = {}
    for step in spec.path_steps(plan):
        if rides(backend, step, spec.samples[target]):
            with suppress(UnsupportedModel):
                sessions[step.tensor] = StepRide(plan, step, known.on_device[step.tensor])
    return sessions


def _rows(
    plan: Plan, target: int, known: TargetState, first: int, stop: int, record: Recorded
) -> npt.NDArray[np.bool_]:
    """Which samples of a batch count for this target."""
    if known.rows is not None:
        return known.rows[first:stop]
    logits = record.values[plan.logits]
    predicted: npt.NDArray[np.int64] = logits.reshape(len(logits), -1).argmax(axis=1)
    return np.equal(predicted, target)


def _note_logit(known: TargetState, logits: HostArray, target: int) -> None:
    y = logits.reshape(len(logits), -1)[:, target]
    known.low, known.high = min(known.low, float(y.min())), max(known.high, float(y.max()))
