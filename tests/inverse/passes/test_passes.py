"""What is kept between passes decides how much is computed, and nothing else."""

from __future__ import annotations

import resource
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.data import as_samples
from mipin_ref.graph import forward
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes import fitter, recordings, row_store, schedule
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.inverse.passes.row_store import DISK_SHARE, RowStore
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import make_plan
from tests.backends import backend, on_every_backend
from tests.inverse.test_graphs import loaded
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Concat, Conv, Dense, GlobalAveragePool, Op, Reshape


def deep_network(rng: np.random.Generator, blocks: int) -> mr.Network:
    """A residual network of `blocks` blocks and an inception-like join."""
    ops: list[Op] = [Conv(("input",), "stem", rng.standard_normal((4, 2, 1, 1)))]
    last = "stem"
    for i in range(blocks):
        ops += [
            Conv((last,), f"conv{i}", rng.standard_normal((4, 4, 3, 3)) / 6, None, (), (1, 1, 1, 1)),
            Activation((f"conv{i}",), f"fired{i}", "Relu"),
            Add((f"fired{i}", last), f"sum{i}"),
        ]
        last = f"sum{i}"
    ways: list[Op] = [Conv((last,), f"way{i}", rng.standard_normal((2, 4, 1, 1))) for i in range(3)]
    fired: list[Op] = [Activation((f"way{i}",), f"way{i}.fired", "Relu") for i in range(3)]
    seconds: list[Op] = [Conv((f"way{i}.fired",), f"out{i}", rng.standard_normal((2, 2, 1, 1))) for i in range(3)]
    ops += [*ways, *fired, *seconds, Concat(("out0", "out1", "out2"), "all"), GlobalAveragePool(("all",), "mean")]
    ops += [Reshape(("mean",), "flat", (6,)), Dense(("flat",), "scores", rng.standard_normal((6, 3)))]
    return mr.load(to_onnx(ops, (2, 6, 6)))


class Counting(forward.Recorder):
    """Counts the forward passes of batches, and remembers how deep each went."""

    runs: list[int] = []  # noqa: RUF012 (one list for all, emptied by the tests)

    def __call__(self, x: Any, first: int = 0, *, sources: Any = None) -> forward.Record:
        if self._session is not None:
            Counting.runs.append(len(x))
        return super().__call__(x, first, sources=sources)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    Counting.runs = []
    monkeypatch.setattr(recordings, "Recorder", Counting)
    return Counting


def same(a: mr.Inverse, b: mr.Inverse) -> bool:
    return all(
        np.array_equal(x, y)
        for tensor, weights in a.weights.items()
        for x, y in zip(weights.blocks, b.weights[tensor].blocks, strict=True)
    )


@on_every_backend
def test_one_forward_pass_where_all_fits(name: str, counted: type[Counting]) -> None:
    rng = np.random.default_rng(0)
    net, x = deep_network(rng, 6), rng.standard_normal((20, 2, 6, 6)).astype(np.float32)
    mr.fit(net, x, 0, batch_size=5, backend=backend(name))
    assert counted.runs == [5] * 4


def test_tensors_whose_regressors_are_known_together_share_a_pass() -> None:
    rng = np.random.default_rng(0)
    net, x = deep_network(rng, 1), rng.standard_normal((9, 2, 6, 6)).astype(np.float32)
    plan = make_plan(net, at=None, local=True, input_mask=None)
    texts: list[str] = []

    def start(text: str, total: int) -> Any:
        texts.append(text)
        return lambda count: None

    fitter.Fitter(FitTask(net, plan, Options(), backend("numpy"), as_samples(x), None, 10**9, None)).run([0], start)
    assert texts == [
        "flat, class 0",
        "all, class 0",
        "way2.fired and 2 more, class 0",
        "sum0, class 0",
        "stem, class 0",
        "input, class 0",
    ]


@on_every_backend
def test_results_do_not_depend_on_what_is_kept(
    name: str, monkeypatch: pytest.MonkeyPatch, counted: type[Counting], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rng = np.random.default_rng(1)
    net, x = deep_network(rng, 4), rng.standard_normal((12, 2, 6, 6)).astype(np.float32)
    options: dict[str, Any] = {"batch_size": 4, "backend": backend(name)}
    kept = mr.fit(net, x, [0, 2], **options)
    assert len(counted.runs) == 3
    # No memory for what could be kept: everything that pays goes to the disk, and it is made to pay.
    counted.runs.clear()
    monkeypatch.setattr(row_store, "DISK", 1e30)
    for share in ("SIGNALS_SHARE", "RECORDINGS_SHARE"):
        monkeypatch.setattr(fitter, share, 1e-7)  # 200 bytes, for the logits
    on_disk = mr.fit(net, x, [0, 2], **options)
    assert len(counted.runs) == 3
    assert not list(tmp_path.iterdir())
    # Nor any disk: each pass starts from the logits.
    counted.runs.clear()
    monkeypatch.setattr(row_store, "DISK_SHARE", 0.0)
    again = mr.fit(net, x, [0, 2], **options)
    assert len(counted.runs) > 20
    for target in (0, 2):
        assert same(kept[target], on_disk[target])
        assert same(kept[target], again[target])


@on_every_backend
def test_temporary_files_are_let_go_when_a_fit_fails(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(row_store, "DISK", 1e30)
    for share in ("SIGNALS_SHARE", "RECORDINGS_SHARE"):
        monkeypatch.setattr(fitter, share, 1e-7)
    rng = np.random.default_rng(1)
    net, x = deep_network(rng, 2), rng.standard_normal((12, 2, 6, 6)).astype(np.float32)
    opened: list[Any] = []
    temporary = tempfile.TemporaryFile

    def watched(*given: Any, **options: Any) -> Any:
        opened.append(temporary(*given, **options))
        return opened[-1]

    calls: list[float] = []

    def refuse(self: Any, ridge: float) -> Any:
        calls.append(ridge)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, ridge)

    original = Sums.solve
    monkeypatch.setattr(tempfile, "TemporaryFile", watched)
    monkeypatch.setattr(Sums, "solve", refuse)
    with pytest.raises(KeyboardInterrupt):
        mr.fit(net, x, 0, batch_size=4, backend=backend(name))
    assert opened
    assert all(file.closed for file in opened)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("disk", [False, True])
def test_rows_come_back_in_any_cut(disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = np.random.default_rng(0).standard_normal((11, 3, 2)).astype(np.float32)
    kept = RowStore(1000)
    kept.open("a", 11, (3, 2), np.float32, disk=disk)
    for start, stop in ((0, 4), (4, 5), (5, 11)):
        kept.append("a", rows[start:stop])
    for start, stop in ((0, 11), (3, 6), (4, 5), (10, 11)):
        assert np.array_equal(kept.read("a", start, stop), rows[start:stop])
    assert kept.held == (0 if disk else 11 * 6 * 4)
    assert kept.room(1000 - kept.held, disk=False)
    assert not kept.room(1001 - kept.held, disk=False)
    kept.drop(lambda key: key == "a")
    assert "a" not in kept
    assert kept.held == 0
    kept.close()
    assert not list(tmp_path.iterdir())


def test_the_share_of_the_disk_does_not_shrink_by_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DISK_SHARE of what was free before anything was written; free space is told as by a disk of 10,000 bytes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept, rows, written = RowStore(0), np.ones((10, 100), np.uint8), [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000 - written[0]))
    before = kept.whole.disk
    assert before == DISK_SHARE * 10_000
    for key in "ab":
        kept.open(key, 10, (100,), np.uint8, disk=True)
        kept.append(key, rows)
        written[0] += rows.nbytes
        assert kept.whole.disk == before
    assert kept.room(int(before) - 2000, disk=True)
    assert not kept.room(int(before) - 1999, disk=True)
    kept.close()


@pytest.mark.parametrize("count", [1, 1000])
def test_a_full_disk_for_temporary_files_is_told(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files stands for it: few rows meet it when they are read, many when they are written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept, rows = RowStore(1000), np.ones((count, 100))

    def write_and_read() -> None:
        kept.append("a", rows)
        kept.read("a", 0, 1)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        kept.open("a", count, (100,), np.float64, disk=True)
        with pytest.raises(mr.InvalidData, match=r"temporary files cannot be used: File too large; .*TMPDIR"):
            write_and_read()
        kept.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    for ask in (lambda: kept.room(1, disk=True), lambda: kept.open("a", 1, (1,), np.float64, disk=True)):
        with pytest.raises(mr.InvalidData, match="temporary files cannot be used: No such file"):
            ask()


@on_every_backend
def test_waves_limited_by_memory_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, net, x = loaded(3)
    whole = mr.fit(net, x, [0, 1], backend=backend(name))
    monkeypatch.setattr(schedule, "SUMS_SHARE", 1e-9)
    apart = mr.fit(net, x, [0, 1], backend=backend(name))
    for target in (0, 1):
        assert same(whole[target], apart[target])
