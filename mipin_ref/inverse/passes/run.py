"""One pass over the data: signals down a part of the plan, and what is fitted next added up; here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.descent.batch import Recorded, needs, to_device
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.passes.coalesced import Coalesced, Values
from mipin_ref.inverse.passes.prefetch import batches
from mipin_ref.inverse.passes.problem import Problem, Sums
from mipin_ref.inverse.passes.recordings import Key, Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray, Switched
from mipin_ref.progress import Advance
from mipin_ref.solve.channel_sums import ChannelSums

Problems = Mapping[int, Mapping[str, Problem]]


"""What a pass adds up: by target and tensor."""


Added = dict[int, dict[str, Sums]]


"""What it has added up, likewise."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over the data: from the signals `start` down `path` to the sums of `fitted`.

    store: signals that it keeps; seeded: it starts from the logits; later: what later passes will need recorded; size:
    samples a batch; coalesced: samples of dense layers that are put together before they are summed; looks: it notes
    what the network is shown, as one of a fit does that reads the data.
    """

    fitted: tuple[Step, ...]
    path: tuple[Step, ...]
    start: frozenset[str]
    store: tuple[str, ...]
    seeded: bool
    later: tuple[Key, ...]
    size: int
    coalesced: int
    looks: bool = False

    def needs(self, plan: Plan, state: Mapping[int, TargetState]) -> tuple[list[str], dict[str, Switched]]:
        """What it must have recorded: tensors, and max-pools by output."""
        tensors, pools = needs(self.path, self.fitted)
        if self.seeded or any(known.rows is None for known in state.values()):
            tensors.append(plan.logits)
        return tensors, pools


def run_pass(
    backend: Backend,
    plan: Plan,
    this: Pass,
    state: Mapping[int, TargetState],
    problems: Problems,
    signals: RowStore,
    recordings: Recordings,
    advance: Advance,
) -> Added:
    """The sums of the data of `recordings`, batch by batch; what is kept goes into `signals`, the rest into `state`."""
    values = {step.tensor: Values(backend) for step in this.fitted}
    sums = {
        t: {
            name: Coalesced(one.sums(), this.coalesced if one.step.dense else 0, values[name])
            for name, one in own.items()
        }
        for t, own in problems.items()
    }
    tensors, pools = this.needs(plan, state)
    wanted = {name for step in this.fitted for name in step.reads} | set(this.store)
    chosen: dict[int, list[npt.NDArray[np.bool_]]] = {t: [] for t in state}
    read = dict.fromkeys(state, 0)
    made = recordings.passes(tensors, pools, this.later, this.size, look=this.looks)
    for first, stop, found in batches(backend, made):
        batch = to_device(backend, this.path, found)
        whole: dict[str, Array] = {}
        counted: dict[str, ChannelSums | None] = {}
        for target, known in state.items():
            mask = _rows(plan, target, known, first, stop, found)
            chosen[target].append(mask)
            rows = np.flatnonzero(mask)
            if not len(rows):
                continue
            here = batch if len(rows) == stop - first else batch.take(backend, rows)
            begin, end = read[target], read[target] + len(rows)
            read[target] = end
            here_signals = {n: backend.put(signals.read((target, n), begin, end)) for n in this.start}
            if plan.logits in found.values:
                logits = found.values[plan.logits][rows]
                _note_logit(known, logits, target)
                here_signals.setdefault(plan.logits, seed(backend, plan, logits, target))
            reached = descend(backend, this.path, known.on_device, here, here_signals, affine=len(rows), keep=wanted)
            for step in this.fitted:
                x, problem = _values(backend, found, step.tensor, rows, whole), problems[target][step.tensor]
                if len(rows) < stop - first:
                    channels = problem.count(x)
                else:
                    if step.tensor not in counted:
                        counted[step.tensor] = problem.count(x)
                    channels = counted[step.tensor]
                sums[target][step.tensor].update(reached, here.taps, x, channels)
            for name in this.store:
                signals.append((target, name), backend.get(reached[name]))
        advance(stop - first)
    for target, known in state.items():
        known.rows = np.concatenate(chosen[target])
    return {t: {name: one.finished() for name, one in own.items()} for t, own in sums.items()}


def _values(backend: Backend, found: Recorded, tensor: str, rows: HostArray, whole: dict[str, Array]) -> Array:
    """The true values of a tensor on the device; a whole batch goes there once for all targets."""
    values = found.values[tensor]
    if len(rows) < len(values):
        return backend.put(values[rows])
    if tensor not in whole:
        whole[tensor] = backend.put(values)
    return whole[tensor]


def _rows(plan: Plan, target: int, known: TargetState, first: int, stop: int, found: Recorded) -> npt.NDArray[np.bool_]:
    """Which samples of a batch count for this target."""
    if known.rows is not None:
        return known.rows[first:stop]
    logits = found.values[plan.logits]
    predicted: npt.NDArray[np.int64] = logits.reshape(len(logits), -1).argmax(axis=1)
    return np.equal(predicted, target)


def _note_logit(found: TargetState, logits: HostArray, target: int) -> None:
    y = logits.reshape(len(logits), -1)[:, target]
    found.low, found.high = min(found.low, float(y.min())), max(found.high, float(y.max()))
