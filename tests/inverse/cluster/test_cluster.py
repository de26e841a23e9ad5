"""A fit on real workers: the same numbers as in one process, also where a worker is killed on the way."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
from distributed import Client, LocalCluster

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.data import as_samples
from mipin_ref.inverse import fit as fitting
from mipin_ref.inverse.cluster import client as plumbing
from mipin_ref.inverse.passes import fitter, shards
from tests.inverse.sharded import branching_network, difference, same_bits, samples

pytestmark = pytest.mark.slow

NET = branching_network()
X = samples(300)
MANY = samples(1100, seed=1)
FIT: dict[str, Any] = {"ridge": 1.0, "batch_size": 8}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers of one thread, each a process."""
    # Seconds after a worker was lost the cluster looks whether its like is there, and gives its place up where not: by
    # then the next test may have killed that one too.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(
            processes=True,
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=50,
        ) as cluster,
        Client(cluster, set_as_default=False) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def expected() -> Mapping[int, mr.Inverse]:
    """From one process, without shards."""
    return mr.fit(NET, X, [0, 2], **FIT)


@pytest.fixture(scope="module")
def undisturbed(client: Client) -> Mapping[int, mr.Inverse]:
    return mr.fit(NET, X, [0, 2], client=client, **FIT)


def test_an_array(undisturbed: Mapping[int, mr.Inverse], expected: Mapping[int, mr.Inverse]) -> None:
    for target in (0, 2):
        assert difference(undisturbed[target], expected[target]) < 1e-12


class Given:
    """Samples with len() and slicing, which the client reads shard by shard; not to be pickled."""

    longest = 0

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: Any) -> Any:
        self.longest = max(self.longest, len(X[index]))
        return X[index]

    def __reduce__(self) -> Any:
        raise AssertionError("a worker was sent what the client reads")


def ragged() -> Any:
    return dask.array.from_array(X, chunks=((1, 130, 3, 166), (2,), (5, 1), (6,)))


def as_npy(folder: Path) -> Any:
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


def as_npz(folder: Path) -> Any:
    np.savez_compressed(folder / "x.npz", x=X)
    return str(folder / "x.npz")


@pytest.mark.parametrize(
    "make", [as_npy, as_npz, lambda folder: ragged(), lambda folder: Given()], ids=["npy", "npz", "dask", "slicing"]
)
def test_other_data_give_the_same_bits(
    make: Callable[[Path], Any], tmp_path: Path, client: Client, undisturbed: Mapping[int, mr.Inverse]
) -> None:
    given = make(tmp_path)
    found = mr.fit(NET, given, [0, 2], client=client, **FIT)
    for target in (0, 2):
        assert same_bits(found[target], undisturbed[target])
    if isinstance(given, Given):
        assert given.longest == 60


@pytest.mark.parametrize(
    "options",
    [
        {"fit_on": "target_class"},
        {"fit_on": "target_class", "labels": np.arange(300) % 3, "conv_bias": True},
        {"at": "sum", "ridge": 100.0, "local": False},
        {"ridge": "held-out", "conv_bias": True},
    ],
    ids=["predictions", "labels", "inner", "held out"],
)
def test_options(options: dict[str, Any], client: Client) -> None:
    chosen = {**FIT, **options}
    expected = mr.fit(NET, X, [2, 0], **chosen)
    found = mr.fit(NET, X, [2, 0], client=client, **chosen)
    for target in (0, 2):
        assert difference(found[target], expected[target]) < 1e-12


def test_single_precision(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitter, "too_far", lambda amplification: False)
    chosen = {**FIT, "dtype": "float32"}
    assert difference(mr.fit(NET, X, 1, client=client, **chosen), mr.fit(NET, X, 1, **chosen)) < 1e-4


def test_single_precision_falls_back(client: Client) -> None:
    with pytest.warns(mr.PrecisionWarning, match="'flat'"):
        found = mr.fit(NET, X, 1, client=client, **{**FIT, "dtype": "float32"})
    assert found.options.dtype == "float64"
    assert difference(found, mr.fit(NET, X, 1, client=client, **FIT)) == 0


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, act: Callable[[int, int], None]) -> Iterator[None]:
    """Calls act(pass, samples done) wherever the bar of a fit would advance."""
    passes = [0]

    @contextmanager
    def bar(enabled: bool) -> Iterator[Any]:
        def start(text: str, total: int) -> Any:
            passes[0] += 1
            done = [0]

            def advance(count: int) -> None:
                done[0] += count
                act(passes[0], done[0])

            return advance

        yield start

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "progress_bar", bar)
        yield


@pytest.fixture(scope="module")
def many_undisturbed(client: Client) -> mr.Inverse:
    return mr.fit(NET, MANY, 0, client=client, **FIT)


@pytest.mark.parametrize("count", [1, 2], ids=["one", "both"])
def test_workers_killed_in_the_middle(
    count: int, client: Client, many_undisturbed: mr.Inverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the fourth pass, which starts from what the shards kept, and with tasks under way on every worker killed."""
    killed: list[int] = []
    client.wait_for_workers(2, timeout=30)
    pids = client.run(os.getpid)

    def kill(number: int, done: int) -> None:
        if number != 4 or done == len(MANY) or killed:
            return
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        # What stopped workers had told before is known by now, and they can tell nothing more.
        time.sleep(0.1)
        under_way = client.processing()
        busy = [pid for address, pid in pids.items() if any("accumulate" in key for key in under_way[address])]
        if len(busy) >= count:
            killed.extend(busy[:count])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        for pid in set(pids.values()) - set(killed):
            os.kill(pid, signal.SIGCONT)

    with watched(monkeypatch, kill):
        found = mr.fit(NET, MANY, 0, client=client, **FIT)
    assert len(killed) == count
    assert same_bits(found, many_undisturbed)
    client.wait_for_workers(2, timeout=30)
    assert not set(killed) & set(client.run(os.getpid).values())


def test_a_checkpoint_goes_on_to_the_same_bits(
    tmp_path: Path, client: Client, undisturbed: Mapping[int, mr.Inverse], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(number: int, done: int) -> None:
        # Reading the data for the checkpoint comes first.
        if number == 5:
            raise KeyboardInterrupt

    with watched(monkeypatch, stop), pytest.raises(KeyboardInterrupt):
        mr.fit(NET, X, [0, 2], client=client, checkpoint=tmp_path, **FIT)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("pass-*"))) == 3
    totals: list[int] = []
    with watched(monkeypatch, lambda number, done: totals.append(number)):
        found = mr.fit(NET, ragged(), [0, 2], client=client, checkpoint=tmp_path, **FIT)
    for target in (0, 2):
        assert same_bits(found[target], undisturbed[target])
    # Passes from the checkpoint are one step of the bar; the others come shard by shard.
    assert [totals.count(number) for number in (2, 3, 4)] == [1, 1, 1]
    assert min(totals.count(number) for number in range(5, max(totals) + 1)) > 1
    # Sums of one process round otherwise, and have a folder of their own.
    mr.fit(NET, X, [0, 2], checkpoint=tmp_path, **FIT)
    assert len(list(tmp_path.iterdir())) == 2
    assert_nothing_is_left(client)


def test_progress_counts_samples(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[int]] = {}
    with watched(monkeypatch, lambda number, done: seen.setdefault(number, []).append(done)):
        inv = mr.fit(NET, X, 0, client=client, **FIT)
    assert len(seen) == len(inv.report)
    for done in seen.values():
        assert done[-1] == len(X)
        assert len(set(done)) == len(shards.bounds(as_samples(X), 2 * 10**9)) == 5


def assert_nothing_is_left(client: Client) -> None:
    """Once what has begun is at its end, the scheduler knows no task of any fit."""
    deadline = time.monotonic() + 20
    while left := client.run_on_scheduler(tasks):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def tasks(dask_scheduler: Any) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks]


def test_nothing_is_left_on_the_cluster(client: Client) -> None:
    found = mr.fit(NET, ragged(), 0, client=client, **FIT)
    assert_nothing_is_left(client)
    assert found.samples == len(X)


def test_nan_is_reported_as_by_one_process(client: Client) -> None:
    x = X.copy()
    x[137, 1, 3, 3] = np.nan
    with pytest.raises(mr.InvalidData, match=r"^the data, samples 137\.\.137, hold NaN or Inf$"):
        mr.fit(NET, x, 0, client=client, batch_size=1)
    assert_nothing_is_left(client)


def test_a_file_that_changes_under_the_workers(tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_npy(tmp_path)

    def shorten(number: int, done: int) -> None:
        if number == 1:
            np.save(tmp_path / "other.npy", X[:299])
            os.replace(tmp_path / "other.npy", path)

    with (
        watched(monkeypatch, shorten),
        pytest.raises(mr.InvalidData, match=r"sees float32 \[299, 2, 6, 6\] there, not float32 \[300, 2, 6, 6\]"),
    ):
        mr.fit(NET, path, 0, client=client, **{**FIT, "memory": "64MB"})


def test_a_constant_logit_is_found(client: Client) -> None:
    from tests.inverse.test_bad_input import X as INPUT
    from tests.inverse.test_bad_input import small

    with pytest.raises(mr.InvalidData, match="and all activations of tensor 'relu' are zero"):
        mr.fit(small(bias=-1e4), np.concatenate([INPUT] * 7), 1, client=client)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (X[:1], "at least 2 calibration samples"),
        (X[:, 0], "takes"),
        (dask.array.from_array(X[:, 0], chunks=100), "takes"),
        (dask.array.from_array((X * 100).astype(np.int64), chunks=100), "no agreed scale"),
        (dask.array.from_array(X, chunks=100)[dask.array.from_array(X[:, 0, 0, 0] > 0, chunks=100)], "unknown length"),
    ],
    ids=["one", "shape", "dask-shape", "dask-dtype", "dask-unknown"],
)
def test_refused(given: Any, told: str, client: Client) -> None:
    with pytest.raises(mr.InvalidData, match=told):
        mr.fit(NET, given, 0, client=client)


def test_what_is_no_client() -> None:
    with pytest.raises(mr.InvalidData, match=r"client must be a dask\.distributed\.Client, not str"):
        mr.fit(NET, X, 0, client="tcp://127.0.0.1:8786")


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(mr.BackendUnavailable, match=r"pip install 'mipin_ref\[dask\]'"):
        mr.fit(NET, X, 0, client=object())


def test_command_line(tmp_path: Path, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    from mipin_ref.data import builtin

    with np.load(builtin("mnist_mlp").calibration) as stored:
        np.savez(tmp_path / "x.npz", x=stored["x"][:200])
    model = str(builtin("mnist_mlp").model)
    common = ["fit", model, str(tmp_path / "x.npz"), "--target", "3", "--limit", "150", "--ridge", "1"]
    assert main([*common, "-o", str(tmp_path / "here.mipin")]) == 0
    address = client.cluster.scheduler_address
    assert main([*common, "-o", str(tmp_path / "there.mipin"), "--dask", address]) == 0
    net = mr.load(model)
    here, there = (mr.load_inverse(tmp_path / f"{name}.mipin", net) for name in ("here", "there"))
    assert difference(there, here) < 1e-12
    assert capsys.readouterr().err == ""


def test_command_line_without_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mipin_ref.data import builtin

    monkeypatch.setattr(plumbing, "CONNECT_SECONDS", 1)
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
    model, out = str(builtin("mnist_mlp").model), str(tmp_path / "a.mipin")
    command = ["fit", model, str(tmp_path / "x.npy"), "--target", "3", "-o", out, "--dask"]
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        assert main([*command, address]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"mipin: no Dask scheduler answers at '{address}'")
        assert err.count("\n") == 1
