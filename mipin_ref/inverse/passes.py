"""One pass over the data: signals down a part of the plan, and what is fitted next added up; here or elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.data import Samples
from mipin_ref.data.seen import Extent
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.ahead import batches
from mipin_ref.inverse.blocks import DeviceWeights, Problem, Sums
from mipin_ref.inverse.gathered import Gathered, Values
from mipin_ref.inverse.kept_rows import KeptRows
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.inverse.propagate import Recorded, descend, needs, seed, to_device
from mipin_ref.inverse.recordings import Key, Recordings
from mipin_ref.layers import HostArray, Switched
from mipin_ref.progress import Advance
from mipin_ref.solve.channel_sums import ChannelSums

Problems = Mapping[int, Mapping[str, Problem]]
"""What a pass adds up: by target and tensor."""

Added = dict[int, dict[str, Sums]]
"""What it has added up, likewise."""


@dataclass
class Known:
    """What passes need to know of one target, and learn of it.

    on_device: the weights so far, by tensor; rows: which samples count, known after the first pass; low, high: bounds
    of its logit.
    """

    on_device: dict[str, DeviceWeights] = field(default_factory=dict)
    rows: npt.NDArray[np.bool_] | None = None
    low: float = np.inf
    high: float = -np.inf


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over the data: from the signals `start` down `path` to the sums of `fitted`.

    store: signals that it keeps; seeded: it starts from the logits; later: what later passes will need recorded; size:
    samples a batch; gathered: samples of dense layers that are put together before they are summed; looks: it notes
    what the network is shown, as one of a fit does that reads the data.
    """

    fitted: tuple[Step, ...]
    path: tuple[Step, ...]
    start: frozenset[str]
    store: tuple[str, ...]
    seeded: bool
    later: tuple[Key, ...]
    size: int
    gathered: int
    looks: bool = False

    def needs(self, plan: Plan, state: Mapping[int, Known]) -> tuple[list[str], dict[str, Switched]]:
        """What it must have recorded: tensors, and max-pools by output."""
        tensors, pools = needs(self.path, self.fitted)
        if self.seeded or any(known.rows is None for known in state.values()):
            tensors.append(plan.logits)
        return tensors, pools


class Runner(Protocol):
    """Where the data are taken through passes.

    signals: those that are kept between passes, or the account of them; extent: of the data, behind a pass that looks.
    """

    signals: KeptRows

    @property
    def extent(self) -> Extent | None: ...

    def run(self, this: Pass, state: Mapping[int, Known], problems: Problems, advance: Advance) -> Added:
        """The sums of all data; the targets' rows and bounds are noted in `state`."""
        ...

    def alive(self, tensors: Sequence[str]) -> set[str]:
        """Those of the tensors that are not zero on all samples."""
        ...

    def drop(self, *, but: Collection[Key]) -> None:
        """Let go of recordings that no later pass needs."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class LocalRunner:
    """In this process, batch by batch."""

    def __init__(
        self,
        net: Network,
        plan: Plan,
        backend: Backend,
        data: Samples,
        signals: KeptRows,
        recorded: KeptRows,
        memory: int,
    ) -> None:
        self.signals = signals
        self._net, self._plan, self._backend, self._data = net, plan, backend, data
        self._recordings = Recordings(net, data, recorded)
        self._memory = memory

    @property
    def extent(self) -> Extent | None:
        return self._recordings.extent

    def run(self, this: Pass, state: Mapping[int, Known], problems: Problems, advance: Advance) -> Added:
        return run_pass(self._backend, self._plan, this, state, problems, self.signals, self._recordings, advance)

    def alive(self, tensors: Sequence[str]) -> set[str]:
        return alive(self._net, Recorder(self._net, tensors), self._data, tensors, self._memory)

    def drop(self, *, but: Collection[Key]) -> None:
        self._recordings.drop(but=but)

    def close(self) -> None:
        self.signals.close()
        self._recordings.close()


def run_pass(
    backend: Backend,
    plan: Plan,
    this: Pass,
    state: Mapping[int, Known],
    problems: Problems,
    signals: KeptRows,
    recordings: Recordings,
    advance: Advance,
) -> Added:
    """The sums of the data of `recordings`, batch by batch; what is kept goes into `signals`, the rest into `state`."""
    values = {step.tensor: Values(backend) for step in this.fitted}
    sums = {
        t: {
            name: Gathered(one.sums(), this.gathered if one.step.dense else 0, values[name])
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


def _rows(plan: Plan, target: int, known: Known, first: int, stop: int, found: Recorded) -> npt.NDArray[np.bool_]:
    """Which samples of a batch count for this target."""
    if known.rows is not None:
        return known.rows[first:stop]
    logits = found.values[plan.logits]
    predicted: npt.NDArray[np.int64] = logits.reshape(len(logits), -1).argmax(axis=1)
    return np.equal(predicted, target)


def _note_logit(found: Known, logits: HostArray, target: int) -> None:
    y = logits.reshape(len(logits), -1)[:, target]
    found.low, found.high = min(found.low, float(y.min())), max(found.high, float(y.max()))


def alive(
    net: Network, recorder: Recorder, data: Samples, tensors: Sequence[str], memory: int, first: int = 0
) -> set[str]:
    """Those of the tensors that are not zero on all data, whose first sample is number `first`."""
    found: set[str] = set()
    size = max(1, min(256, memory // (8 * sum(prod(net.shapes[t]) for t in tensors))))
    for start in range(0, len(data), size):
        values = recorder(data[start : start + size], first + start).values
        found.update(t for t in tensors if np.any(values[t]))
    return found
