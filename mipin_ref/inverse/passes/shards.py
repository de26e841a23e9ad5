"""A pass as pure functions of shards of the data: what other processes compute, and how their results become one.

Nothing here keeps a result between calls: a call with the same arguments gives the same bits, wherever and however
often it is made. What is cached, sessions of onnxruntime, can be made anew and changes no number. What travels says by
__sizeof__ how many bytes it holds, from which a cluster tells where to compute and what to write to disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Backend
from mipin_ref.data import Samples, SharedFile, as_samples
from mipin_ref.data.part import part
from mipin_ref.data.seen import Extent
from mipin_ref.errors import ClusterError
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.descent.weights import DeviceWeights
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.inverse.passes.recordings import Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.run import Added, open_stored, run_pass
from mipin_ref.inverse.passes.runner import alive
from mipin_ref.inverse.passes.spec import PassSpec, Problems
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan
from mipin_ref.threads import BLAS_THREADS

LARGEST, FEWEST, SMALLEST = 1024, 16, 64
"""Samples of a shard at most; shards at least, where that leaves so many samples in each."""

DATA_SHARE, KEPT_SHARE = 1 / 16, 1 / 32
"""Shares of the memory for the data of one shard, and each for the signals and the recordings that it keeps."""


def bounds(data: Samples | npt.NDArray[Any], memory: int) -> list[tuple[int, int]]:
    """[start, stop) of every shard, equal but for one sample. They depend on the data and `memory` alone."""
    samples, each = len(data), max(1, prod(data.shape[1:]) * data.dtype.itemsize)
    size = min(LARGEST, max(1, int(DATA_SHARE * memory) // each), max(SMALLEST, -(-samples // FEWEST)))
    edges = np.linspace(0, samples, -(-samples // size) + 1).astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


@dataclass(frozen=True, eq=False)
class Job:
    """What a fit computes with, the same for all passes; shards: how many; version: of the package that made it."""

    net: Network
    plan: Plan
    backend: Backend
    memory: int
    shards: int
    version: str

    @classmethod
    def of(cls, task: FitTask, shards: int) -> Job:
        return cls(task.net, task.plan, task.backend, task.memory, shards, _version())

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.net.dtype.itemsize * sum(layer.parameters for layer in self.net.layers)

    def check(self) -> None:
        """Raises ClusterError where this process has another version of the package."""
        if self.version != _version():
            raise ClusterError(
                f"a worker has mipin_ref {_version()} and the fit began with {self.version}: install the same on all"
            )


@cache
def _version() -> str:
    return version("mipin_ref")


@dataclass(frozen=True, eq=False)
class Shard:
    """Samples [start, stop): given themselves, or within a file."""

    number: int
    start: int
    stop: int
    data: Any

    @property
    def samples(self) -> Samples:
        """Raises InvalidData where they cannot be read."""
        if isinstance(self.data, SharedFile):
            return part(self.data, self.start, self.stop)
        return as_samples(self.data)


@dataclass(frozen=True, eq=False)
class Kept:
    """What a shard keeps from one pass to the next."""

    signals: RowStore
    recordings: RowStore

    @classmethod
    def nothing(cls, memory: int) -> Kept:
        size = int(KEPT_SHARE * memory)
        return cls(RowStore(size, files=False), RowStore(size, files=False))

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.signals.held + self.recordings.held


@dataclass(frozen=True, eq=False)
class Partial:
    """What a pass made of some shards that follow one another.

    counts: how often each of all shards is in it [shards]; held: sums, by target and tensor, without their problems;
    rows: which samples count, for targets of which that was not known; low, high: bounds of each target's logit;
    extent: of the shards' data, of a pass that looks; size: bytes, roughly.
    """

    counts: npt.NDArray[np.int64]
    held: Mapping[tuple[int, str], Any]
    rows: Mapping[int, npt.NDArray[np.bool_]]
    low: Mapping[int, float]
    high: Mapping[int, float]
    extent: Extent | None
    size: int

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.size

    def told(self, state: Mapping[int, TargetState], problems: Problems) -> Added:
        """The sums of all shards; rows and bounds are noted in `state`. Raises ClusterError as check_counts does."""
        check_counts(self.counts)
        for target, known in state.items():
            if known.rows is None:
                known.rows = self.rows[target]
            known.low, known.high = min(known.low, self.low[target]), max(known.high, self.high[target])
        return {t: {name: Sums(p, self.held[t, name]) for name, p in own.items()} for t, own in problems.items()}


def accumulate(
    job: Job,
    spec: PassSpec,
    shard: Shard,
    rows: Mapping[int, npt.NDArray[np.bool_]],
    weights: Mapping[int, Mapping[str, DeviceWeights]],
    kept: Kept,
) -> tuple[Partial, Kept]:
    """One shard through a pass.

    rows: of the shard that count, by target, where known; weights: of the pass's path, by target and tensor; kept: what
    the shard kept from the passes before. Raises InvalidData for data that do not fit the network.
    """
    job.check()
    signals, recorded = kept.signals.copy(), kept.recordings.copy()
    samples = dict.fromkeys(spec.samples, shard.stop - shard.start)
    open_stored(spec, job.plan, job.net.shapes, job.backend.dtype, signals, samples)
    state = {t: TargetState(dict(weights[t]), rows.get(t)) for t in spec.samples}
    with BLAS_THREADS.alone():
        recordings = Recordings(job.net, shard.samples, recorded, first=shard.start, recorder=_recorder)
        sums = run_pass(job.backend, job.plan, spec, state, signals, recordings, lambda count: None, first=shard.start)
    signals.drop(spec.unwanted)
    recordings.drop(but=spec.recorded)
    counts = np.zeros(job.shards, np.int64)
    counts[shard.number] = 1
    learnt = {t: known.rows for t, known in state.items() if t not in rows and known.rows is not None}
    partial = Partial(
        counts,
        {(t, name): one.held for t, own in sums.items() for name, one in own.items()},
        learnt,
        {t: known.low for t, known in state.items()},
        {t: known.high for t, known in state.items()},
        recordings.extent,
        sum(problem.bytes for own in spec.problems(job.backend, job.plan).values() for problem in own.values()),
    )
    return partial, Kept(signals, recorded)


def merged(job: Job, spec: PassSpec, left: Partial, right: Partial) -> Partial:
    """Two partial results as one, `right` being of the shards behind `left`'s; neither is changed."""
    held = {}
    with BLAS_THREADS.alone():
        for target, own in spec.problems(job.backend, job.plan).items():
            for name, problem in own.items():
                both: Any = problem.sums().held
                both.merge(left.held[target, name])
                both.merge(right.held[target, name])
                held[target, name] = both
    return Partial(
        left.counts + right.counts,
        held,
        {t: np.concatenate([rows, right.rows[t]]) for t, rows in left.rows.items()},
        {t: min(low, right.low[t]) for t, low in left.low.items()},
        {t: max(high, right.high[t]) for t, high in left.high.items()},
        None if left.extent is None or right.extent is None else left.extent.merged(right.extent),
        left.size,
    )


def check_counts(counts: npt.NDArray[np.int64]) -> None:
    """Raises ClusterError unless every shard was counted exactly once."""
    wrong = np.flatnonzero(counts != 1)
    if len(wrong):
        told = ", ".join(f"shard {i} {counts[i]} times" for i in wrong[:5])
        raise ClusterError(
            f"of {len(counts)} shards {len(wrong)} were not counted exactly once ({told}): the sums are not those of "
            "the data and nothing was fitted with them"
        )


def alive_in(job: Job, tensors: Sequence[str], shard: Shard) -> set[str]:
    """Those of the tensors that are not zero on all samples of the shard."""
    job.check()
    with BLAS_THREADS.alone():
        recorder = _recorder(job.net, tensors, [])
        return alive(job.net, recorder, shard.samples, tensors, job.memory, shard.start)


def _recorder(net: Network, values: Sequence[str], taps: Sequence[str]) -> Recorder:
    """A recorder of one thread, whose session stays open for the next shard."""
    return Recorder(net, values, taps, threads=1, keep=True)
