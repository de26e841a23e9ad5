"""Shards of the data, each through a pass as a pure function: together they are the pass."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import mipin_ref as mr
from mipin_ref.data import Preprocessing, SharedFile, as_samples
from mipin_ref.errors import ClusterError
from mipin_ref.graph import forward
from mipin_ref.inverse.passes import shards
from mipin_ref.inverse.passes.shards import Shard, accumulate, bounds, check_counts, merged
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.threads import BLAS_THREADS
from tests.backends import backend, on_every_backend
from tests.inverse.sharded import branching_network, difference, one_by_one, same_bits, samples

EDGES = [(0, 7), (7, 8), (8, 30), (30, 44), (44, 60)]
LABELS = np.random.default_rng(3).integers(0, 3, 60)

# Two orders of summation differ in their rounding, which a system amplifies by its condition: the ridge bounds that.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"conv_bias": True},
    {"local": False, "ridge": 100.0},
    {"at": "sum"},
    {"fit_on": "target_class"},
    {"fit_on": "target_class", "labels": LABELS, "conv_bias": True},
]


@on_every_backend
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_shards_agree_with_one_process(name: str, options: dict[str, Any]) -> None:
    net, x, options = branching_network(), samples(60), {"ridge": 1.0, **options}
    expected = mr.fit(net, x, [0, 2], backend=backend(name), **options)
    found, _ = one_by_one(net, x, [0, 2], backend(name), EDGES, **options)
    for target, inv in expected.items():
        assert difference(found[target], inv) < 1e-12
        for mine, theirs in zip(found[target].report, inv.report, strict=True):
            assert (mine.tensor, mine.rows, mine.rank, mine.solver) == (
                theirs.tensor,
                theirs.rows,
                theirs.rank,
                theirs.solver,
            )
            assert abs(mine.r2 - theirs.r2) < 1e-9


@on_every_backend
def test_single_precision_agrees_to_its_rounding(name: str) -> None:
    # With less ridge the fit would be near what single precision is good for, and go over to double.
    net, x = branching_network(), samples(60)
    expected = mr.fit(net, x, 1, backend=backend(name), dtype="float32", ridge=3.0)
    found, _ = one_by_one(net, x, [1], backend(name, "float32"), EDGES, ridge=3.0)
    assert difference(found[1], expected) < 1e-4


@pytest.mark.parametrize("options", [{}, {"fit_on": "target_class"}], ids=str)
def test_what_shards_keep_changes_no_bit(options: dict[str, Any]) -> None:
    net, x = branching_network(), samples(60)
    kept, much = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4, **options)
    again, nothing = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4, keep=0, **options)
    assert any(spec.start for spec, _, _ in much.tasks)
    assert not any(spec.start for spec, _, _ in nothing.tasks)
    for target in (0, 2):
        assert same_bits(kept[target], again[target])


def test_tasks_are_pure() -> None:
    """The arguments come out as they went in, and a second call gives the same bits."""
    net, x = branching_network(), samples(60)
    _, passes = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4)
    assert len(passes.tasks) > 5
    for spec, asked, partials in passes.tasks:
        for arguments, partial in zip(asked, partials, strict=True):
            before = pickle.dumps(arguments)
            again, _ = accumulate(passes.job, spec, *arguments)
            assert pickle.dumps(arguments) == before
            assert pickle.dumps(again) == pickle.dumps(partial)
        pair = partials[:2]
        before = pickle.dumps(pair)
        both = merged(passes.job, spec, *pair)
        assert pickle.dumps(pair) == before
        assert list(both.counts) == [1, 1, 0, 0, 0]
        check_counts(merged(passes.job, spec, both, _sum(passes.job, spec, partials[2:])).counts)


def test_a_shard_lets_go_of_what_no_pass_needs() -> None:
    net, x = branching_network(), samples(60)
    _, passes = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4)
    for (spec, _, _), (_, after, _) in pairwise(passes.tasks):
        for *_, kept in after:
            assert not [key for key in kept.signals.keys if spec.unwanted(key)]
            assert {name for _, name in kept.signals.keys} >= set(spec.store)
            assert set(kept.recordings.keys) <= spec.recorded
    assert any(spec.recorded for spec, _, _ in passes.tasks)
    assert any(kept.recordings.keys for _, asked, _ in passes.tasks for *_, kept in asked)
    assert any(kept.signals.keys for _, asked, _ in passes.tasks for *_, kept in asked)


def _sum(job: shards.Job, spec: PassSpec, partials: list[shards.Partial]) -> shards.Partial:
    whole = partials[0]
    for partial in partials[1:]:
        whole = merged(job, spec, whole, partial)
    return whole


def test_results_travel_without_the_network() -> None:
    net, x = branching_network(), samples(60)
    _, passes = one_by_one(net, x, [0], backend("numpy"), EDGES)
    for _, _, partials in passes.tasks:
        assert b"mipin_ref.graph" not in pickle.dumps(partials)


def test_what_travels_tells_its_size() -> None:
    net, x = branching_network(), samples(60)
    _, passes = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4)
    weights = sum(layer.parameters for layer in net.layers) * 4
    assert weights <= sys.getsizeof(passes.job) < weights + 200
    for _, asked, _ in passes.tasks[1:]:
        for _, _, used, kept in asked:
            # Beside the arrays, a pickle holds the names and shapes of what is in it.
            assert abs(len(pickle.dumps(kept)) - sys.getsizeof(kept)) < 4000
            for one in (one for own in used.values() for one in own.values()):
                assert sys.getsizeof(one) > sum(block.nbytes for block in one.blocks)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([1, 0, 1], "of 3 shards 1 were not counted exactly once (shard 1 0 times)"),
        ([2, 1, 1], "of 3 shards 1 were not counted exactly once (shard 0 2 times)"),
        ([0, 1, 2], "of 3 shards 2 were not counted exactly once (shard 0 0 times, shard 2 2 times)"),
    ],
)
def test_a_lost_or_doubled_shard_is_an_error(counts: list[int], told: str) -> None:
    with pytest.raises(ClusterError) as refused:
        check_counts(np.array(counts))
    assert told in str(refused.value)
    check_counts(np.ones(3, np.int64))


def test_a_doubled_shard_is_found_before_anything_is_solved() -> None:
    net, x = branching_network(), samples(60)
    _, passes = one_by_one(net, x, [0], backend("numpy"), EDGES)
    spec, _, partials = passes.tasks[0]
    whole = _sum(passes.job, spec, [*partials, partials[3]])
    with pytest.raises(ClusterError, match="shard 3 2 times"):
        whole.told({}, {})
    with pytest.raises(ClusterError, match="shard 0 0 times"):
        _sum(passes.job, spec, partials[1:]).told({}, {})


def test_one_session_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many shards; two passes of which one wants the input besides, which nothing computes, have the same."""
    net, made = branching_network(), list[int | None]()
    session = forward.session

    def counted(model: bytes, threads: int | None = None, *rest: Any, **named: Any) -> Any:
        made.append(threads)
        return session(model, threads, *rest, **named)

    monkeypatch.setattr(forward, "session", counted)
    _, passes = one_by_one(net, samples(60), [0, 1], backend("numpy"), EDGES, keep=0)
    assert made == [1] * (len(passes.tasks) - 1)
    assert len(made) > 5


def test_bounds() -> None:
    """Whole, in order, nearly equal, of no more than the memory takes, and the same for any cluster."""
    for count in (2, 3, 63, 64, 65, 1000, 1024, 1025, 20_000, 100_001):
        x = np.broadcast_to(np.float32(0), (count, 28, 28))
        edges = bounds(as_samples(x), 2 * 10**9)
        assert [a for a, _ in edges] == [0, *(b for _, b in edges[:-1])]
        assert edges[-1][1] == count
        sizes = {b - a for a, b in edges}
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= 1024
        assert len(edges) >= min(16, -(-count // 64))
    large = np.broadcast_to(np.float32(0), (10_000, 3, 224, 224))
    assert max(b - a for a, b in bounds(as_samples(large), 2 * 10**9)) <= 207


def test_a_dead_layer_is_named() -> None:
    from tests.inverse.test_bad_input import X, small

    with pytest.raises(mr.InvalidData, match="and all activations of tensor 'relu' are zero"):
        one_by_one(small(bias=-1e4), X, [1], backend("numpy"), [(0, 9), (9, 20)])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_logit_that_differs_between_shards_alone_is_not_constant(order: tuple[int, int]) -> None:
    net, x = branching_network(), np.repeat(samples(2)[list(order)], 10, axis=0)
    found, _ = one_by_one(net, x, [0], backend("numpy"), [(0, 10), (10, 20)], ridge=1.0)
    assert difference(found[0], mr.fit(net, x, 0, ridge=1.0)) < 1e-12


def test_messages_count_samples_from_the_start_of_the_data() -> None:
    x = samples(60)
    x[37, 0, 2, 2] = np.nan
    with pytest.raises(mr.InvalidData, match=r"the data, samples 36\.\.37, hold NaN or Inf"):
        one_by_one(branching_network(), x, [1], backend("numpy"), EDGES, batch_size=2)


def test_another_version_is_refused() -> None:
    net, x = branching_network(), samples(60)
    _, passes = one_by_one(net, x, [0], backend("numpy"), EDGES)
    spec, asked, _ = passes.tasks[0]
    other = dataclasses.replace(passes.job, version="0.0.1")
    with pytest.raises(ClusterError, match=r"and the fit began with 0\.0\.1: install the same on all"):
        accumulate(other, spec, *asked[0])


@on_every_backend
def test_a_backend_travels_by_name(name: str) -> None:
    one = backend(name, "float32")
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_backend_that_is_missing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    travelling = pickle.dumps(backend("torch"))
    monkeypatch.setitem(sys.modules, "array_api_compat.torch", None)
    with pytest.raises(mr.BackendUnavailable, match=r"the array namespace array_api_compat\.torch is missing here"):
        pickle.loads(travelling)


def test_a_task_takes_one_thread() -> None:
    """Whatever runs beside it, and nothing of that is left behind."""

    def threads() -> tuple[set[int], int, int]:
        """What BLAS is set to, what the engine would take, and what it does take."""
        # OpenCV, which other tests load, brings one of its own that is not asked here.
        found = [one for one in threadpool_info() if one["user_api"] == "blas" and "opencv" not in one["filepath"]]
        blas = {one["num_threads"] for one in found}
        with BLAS_THREADS.single() as taken:
            return blas, BLAS_THREADS.count, taken

    with threadpool_limits(3):
        assert threads() == ({3}, 3, 3)
        with BLAS_THREADS.single():
            with BLAS_THREADS.alone():
                with BLAS_THREADS.alone():
                    assert threads() == ({1}, 1, 1)
                assert threads() == ({1}, 1, 1)
            assert threads() == ({1}, 3, 3)
        assert threads() == ({3}, 3, 3)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_a_shared_file_is_read_where_it_is_unpickled(name: str, tmp_path: Path) -> None:
    x = samples(20)
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, x)
    else:
        np.savez_compressed(path, other=x)
    key = None if name == "x.npy" else "other"
    halved = Preprocessing(scale=2.0, shape=(72,))
    given = SharedFile(path, key=key, preprocessing=halved, limit=15)
    travelling = pickle.dumps(given)
    assert len(travelling) < 1000
    there = pickle.loads(travelling)
    assert (there.shape, there.dtype, len(there)) == ((15, 72), np.float32, 15)
    assert np.array_equal(Shard(1, 4, 9, there).samples[1:3], (x[5:7] / 2).reshape(2, 72))
    assert np.array_equal(there[np.array([14, 0])], (x[[14, 0]] / 2).reshape(2, 72))


def test_a_shared_file_that_a_machine_does_not_see(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, samples(20))
    there = pickle.loads(pickle.dumps(SharedFile(path)))
    np.save(path, samples(21))
    with pytest.raises(mr.InvalidData, match=r"sees float32 \[21, 2, 6, 6\] there, not float32 \[20, 2, 6, 6\]"):
        there[0:2]
    path.unlink()
    with pytest.raises(mr.InvalidData, match=r"x\.npy: no such file or folder, on machine .*every machine must see it"):
        there[0:2]
