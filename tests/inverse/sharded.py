"""The twin of a cluster: the same shards one after another in this process, summed from the left without a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref.backend import Backend
from mipin_ref.data import as_samples
from mipin_ref.data.seen import Extent
from mipin_ref.inverse.inverse import inverses_of
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.fitter import Fitter
from mipin_ref.inverse.passes.row_store import Room, RowStore
from mipin_ref.inverse.passes.run import Added
from mipin_ref.inverse.passes.shards import Job, Kept, Partial, Shard, accumulate, alive_in, merged
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import plan_for
from mipin_ref.progress import Advance
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Concat, Conv, Dense, GlobalAveragePool, MaxPool, Op, Reshape


class OneByOne:
    """Passes over shards with the given edges; tasks: what every pass computed, for tests to look at."""

    def __init__(self, job: Job, x: np.ndarray, edges: Sequence[tuple[int, int]], keep: int) -> None:
        self.job, self.shards = job, [Shard(i, a, b, x[a:b]) for i, (a, b) in enumerate(edges)]
        self.room = Room(keep * len(edges))
        self.kept = [Kept(RowStore(keep, files=False), RowStore(keep, files=False)) for _ in edges]
        self.extent: Extent | None = None
        self.tasks: list[tuple[PassSpec, list[tuple[Any, ...]], list[Partial]]] = []

    def run(self, spec: PassSpec, state: Mapping[int, TargetState], advance: Advance) -> Added:
        weights = {t: dict(known.on_device) for t, known in state.items()}
        asked: list[tuple[Any, ...]] = []
        partials, kept = [], []
        for shard, before in zip(self.shards, self.kept, strict=True):
            rows = {t: k.rows[shard.start : shard.stop] for t, k in state.items() if k.rows is not None}
            asked.append((shard, rows, weights, before))
            partial, after = accumulate(self.job, spec, *asked[-1])
            partials.append(partial)
            kept.append(after)
        self.tasks.append((spec, asked, partials))
        self.kept = kept
        whole = partials[0]
        for partial in partials[1:]:
            whole = merged(self.job, spec, whole, partial)
        self.extent = whole.extent if spec.looks else self.extent
        return whole.told(state, spec.problems(self.job.backend, self.job.plan))

    def alive(self, tensors: Sequence[str]) -> set[str]:
        return set().union(*(alive_in(self.job, tensors, shard) for shard in self.shards))

    def close(self) -> None:
        pass


def one_by_one(
    net: mr.Network,
    x: np.ndarray,
    targets: Sequence[int],
    backend: Backend,
    edges: Sequence[tuple[int, int]],
    *,
    labels: np.ndarray | None = None,
    batch_size: int | None = None,
    keep: int = 1 << 20,
    memory: int = 10**9,
    **options: Any,
) -> tuple[dict[int, mr.Inverse], OneByOne]:
    """A fit whose passes go over shards; keep: bytes that a shard may keep of signals and of recordings."""
    chosen = Options(dtype=backend.dtype, **options)
    plan = plan_for(net, chosen, None)
    task = FitTask(net, plan, chosen, backend, as_samples(x), labels, memory, batch_size)
    passes = OneByOne(Job.of(task, len(edges)), x, edges, keep)
    fitted = Fitter(task, passes).run(targets, lambda text, total: lambda count: None)
    return inverses_of(task, fitted), passes


def branching_network() -> mr.Network:
    """Skips, a pool, a depthwise, a grouped and a strided convolution, a concatenation, and dense layers at the end."""
    rng = np.random.default_rng(5)
    normal = rng.standard_normal
    ops: list[Op] = [
        Conv(("input",), "stem", normal((4, 2, 3, 3)) / 4, None, (), (1, 1, 1, 1)),
        Activation(("stem",), "fired", "Relu"),
        Conv(("fired",), "deep", normal((4, 1, 3, 3)) / 2, None, (), (1, 1, 1, 1), (), 4),
        Activation(("deep",), "deep.fired", "Relu"),
        Add(("deep.fired", "fired"), "sum"),
        MaxPool(("sum",), "pooled", (2, 2), (2, 2)),
        Conv(("sum",), "strided", normal((4, 2, 3, 3)) / 3, None, (2, 2), (1, 1, 1, 1), (), 2),
        Activation(("strided",), "strided.fired", "Relu"),
        Concat(("pooled", "strided.fired"), "both"),
        Conv(("both",), "wide", normal((6, 8, 3, 3)) / 5, None, (), (1, 1, 1, 1)),
        Activation(("wide",), "wide.fired", "Relu"),
        GlobalAveragePool(("wide.fired",), "mean"),
        Reshape(("mean",), "flat", (6,)),
        Dense(("flat",), "hidden", normal((6, 5))),
        Activation(("hidden",), "hidden.fired", "Relu"),
        # With this bias every class is predicted for some samples.
        Dense(("hidden.fired",), "scores", normal((5, 3)), np.array([5.5, -4.5, -7.9])),
    ]
    return mr.load(to_onnx(ops, (2, 6, 6)))


def samples(count: int, seed: int = 0) -> np.ndarray:
    """[count, 2, 6, 6] for that network."""
    return np.random.default_rng(seed).standard_normal((count, 2, 6, 6)).astype(np.float32)


def difference(a: mr.Inverse, b: mr.Inverse) -> float:
    """The largest difference of two inverses' weights, each relative to the largest weight of its tensor."""
    assert a.samples == b.samples
    assert a.weights.keys() == b.weights.keys()
    worst = 0.0
    for tensor, weights in b.weights.items():
        mine, theirs = (
            np.concatenate([*(block.ravel() for block in w.blocks), *([] if w.intercept is None else [w.intercept])])
            for w in (a.weights[tensor], weights)
        )
        worst = max(worst, float(np.max(np.abs(mine - theirs)) / np.max(np.abs(theirs))))
    return worst


def same_bits(a: mr.Inverse, b: mr.Inverse) -> bool:
    seen = [(one.seen.low.tobytes(), one.seen.high.tobytes(), one.seen.mean.tobytes()) for one in (a, b)]
    return difference(a, b) == 0.0 and seen[0] == seen[1]
