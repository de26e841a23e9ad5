"""A fit that was interrupted and is called again ends as if nothing had happened, and repeats no finished pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.inverse.descent import descend as descents
from mipin_ref.inverse.descent import step_ride
from mipin_ref.inverse.passes import budget, fitter, row_store, schedule
from mipin_ref.inverse.passes import run as passes_of_fits
from mipin_ref.inverse.passes.problem import Sums
from tests.backends import backend, on_every_backend, relative_error
from tests.inverse import killed_fit
from tests.inverse.passes.test_passes import deep_network
from tests.networks import Network, chains, graphs, onnx_values, random_chain, sample_inputs, seeded, to_onnx
from tests.oracles.spec import Activation, Add, Conv, Dense, GlobalAveragePool, MaxPool, Op, Reshape

pytestmark = pytest.mark.usefixtures("stays_single")

KILLS = (1, 2, 3, 4)
"""How often a fit is killed before it is let come to its end: ten times together, in either half of twenty."""

QUIET = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
)


class Interrupted(Exception):
    """Stands for whatever ends a fit."""


class Solves:
    """Counts the systems that are solved, and interrupts at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.stop_at = 0, -1
        original = Sums.solve

        def solve(sums: Sums, ridge: float) -> Any:
            if self.count == self.stop_at:
                raise Interrupted
            self.count += 1
            return original(sums, ridge)

        monkeypatch.setattr(Sums, "solve", solve)

    def during(self, *given: Any, stop_at: int = -1, **options: Any) -> Any:
        """A fit, and nothing where it is interrupted."""
        self.count, self.stop_at = 0, stop_at
        try:
            return mr.fit(*given, **options)
        except Interrupted:
            return None


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> Solves:
    return Solves(monkeypatch)


def passes(directory: Path) -> list[Path]:
    """The finished passes of all fits."""
    return sorted(directory.glob("*/pass-*.safetensors"))


def solved(files: Sequence[Path]) -> int:
    """How many systems stand in finished passes."""
    count = 0
    for path in files:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["mipin-checkpoint"])
        count += len(header["tensors"]) * len(header["targets"])
    return count


def content(inv: mr.Inverse) -> tuple[Any, ...]:
    """All of an inverse but the seconds, to the bit."""
    weights = {
        tensor: [(a.shape, a.tobytes()) for a in (*w.blocks, *([] if w.intercept is None else [w.intercept]))]
        for tensor, w in inv.weights.items()
    }
    rows = [{k: repr(v) for k, v in row.items() if k != "seconds"} for row in inv.report.as_rows()]
    seen = [a.tobytes() for a in (inv.seen.low, inv.seen.high, inv.seen.mean)]
    return inv.target, inv.samples, inv.options, weights, rows, seen


def same(found: Mapping[int, mr.Inverse], expected: Mapping[int, mr.Inverse]) -> bool:
    return list(found) == list(expected) and all(content(found[t]) == content(expected[t]) for t in expected)


def assert_goes_on_from_everywhere(solves: Solves, directory: Path, net: Any, x: Any, **options: Any) -> int:
    """Interrupted at each system in turn; returns how many passes the fit has."""
    expected = solves.during(net, x, **options)
    whole = solves.count
    for stop_at in range(whole):
        place = directory / str(stop_at)
        assert solves.during(net, x, **options, checkpoint=place, stop_at=stop_at) is None
        finished = passes(place)
        left = whole - solved(finished)
        found = solves.during(net, x, **options, checkpoint=place)
        assert solves.count == left
        assert same(found, expected)
    assert left < whole
    # And again and again, at the first system that is new each time.
    place, found = directory / "again", None
    for _ in range(whole + 1):
        found = found or solves.during(net, x, **options, checkpoint=place, stop_at=1)
    if found is None:
        found = solves.during(net, x, **options, checkpoint=place)
    assert same(found, expected)
    return len(passes(place))


def chain() -> mr.Network:
    """The network of chain_ops."""
    return mr.load(to_onnx(chain_ops(), (2, 10, 10)))


def chain_ops() -> list[Op]:
    """Conv, Conv, MaxPool with overlapping windows, two Dense layers, on 2×10×10."""
    rng = np.random.default_rng(21)
    return [
        Conv(("input",), "conv1", rng.standard_normal((4, 2, 3, 3)) / 3, rng.standard_normal(4)),
        Activation(("conv1",), "relu1", "Relu"),
        Conv(("relu1",), "conv2", rng.standard_normal((6, 4, 3, 3)) / 6),
        Activation(("conv2",), "relu2", "Relu"),
        MaxPool(("relu2",), "pool", (3, 3), (1, 1), (0, 0, 0, 0), (1, 1)),
        Reshape(("pool",), "flat", (96,)),
        Dense(("flat",), "hidden", rng.standard_normal((96, 12)) / 10, rng.standard_normal(12)),
        Activation(("hidden",), "relu3", "Relu"),
        Dense(("relu3",), "scores", rng.standard_normal((12, 3))),
    ]


X = np.random.default_rng(6).standard_normal((45, 2, 10, 10)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float32"},
        {"conv_bias": True, "ridge": 0.0},
        {"fit_on": "target_class"},
        {"fit_on": "target_class", "labels": np.arange(45) % 3, "dtype": "float32"},
        {"local": False, "batch_size": 7},
        {"at": "relu1", "input_mask": False},
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_chain_goes_on(
    options: dict[str, Any], together: bool, solves: Solves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """together: all targets in one pass, or a pass each."""
    monkeypatch.setattr(budget, "HOST_BATCH", 10)
    monkeypatch.setattr(budget, "COALESCED", 25)
    if not together:
        monkeypatch.setattr(schedule, "SUMS_SHARE", 1e-9)
    tensors = 3 if "at" in options else 4
    found = assert_goes_on_from_everywhere(solves, tmp_path, chain(), X, target=[2, 0], **options)
    assert found == (tensors if together else 2 * tensors)


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_branches_go_on(name: str, dtype: str, solves: Solves, tmp_path: Path) -> None:
    net = deep_network(np.random.default_rng(0), 1)
    x = np.random.default_rng(1).standard_normal((9, 2, 6, 6)).astype(np.float32)
    assert_goes_on_from_everywhere(
        solves, tmp_path, net, x, target=[0, 2], batch_size=5, backend=backend(name, dtype), dtype=dtype
    )


@pytest.mark.slow
def test_branches_ridden_in_sessions_go_on(solves: Solves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever path leads to a step, its session gives the same bits."""
    monkeypatch.setattr(step_ride, "LEAST", 0)
    net = deep_network(np.random.default_rng(0), 1)
    x = np.random.default_rng(1).standard_normal((9, 2, 6, 6)).astype(np.float32)
    assert_goes_on_from_everywhere(solves, tmp_path, net, x, target=[2], batch_size=5, dtype="float32")


@pytest.mark.parametrize("fit_on", ["all", "target_class"])
def test_branches_go_on_in_waves_and_groups_that_memory_cuts(
    fit_on: str, solves: Solves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Four targets in groups whose size changes from wave to wave, signals kept for some of them."""
    net = deep_network(np.random.default_rng(366), 1)
    x = np.random.default_rng(1).standard_normal((40, 2, 6, 6)).astype(np.float32)
    monkeypatch.setattr(schedule, "SUMS_SHARE", 2.5e-4)
    monkeypatch.setattr(fitter, "SIGNALS_SHARE", 1e-3)
    monkeypatch.setattr(row_store, "DISK_SHARE", 0.0)
    assert_goes_on_from_everywhere(
        solves, tmp_path, net, x, target=[2, 0, 1], fit_on=fit_on, memory="64MB", batch_size=9, ridge=0.1
    )
    groups = {path.name[5:9]: 0 for path in passes(tmp_path / "again")}
    for path in passes(tmp_path / "again"):
        groups[path.name[5:9]] += 1
    assert len(set(groups.values())) > 1


def test_the_default_batch_does_not_depend_on_what_is_kept(
    solves: Solves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Maps so large that the smallest memory holds a few samples."""
    rng = np.random.default_rng(3)
    ops: list[Op] = [Conv(("input",), "conv0", rng.standard_normal((8, 3, 3, 3)) / 5)]
    for i in range(1, 4):
        ops += [
            Activation((f"conv{i - 1}",), f"relu{i}", "Relu"),
            Conv((f"relu{i}",), f"conv{i}", rng.standard_normal((8, 8, 3, 3)) / 8, None, (2, 2) if i > 1 else ()),
        ]
    ops += [Reshape(("conv3",), "flat", (392,)), Dense(("flat",), "scores", rng.standard_normal((392, 3)))]
    net = mr.load(to_onnx(ops, (3, 36, 36)))
    x = rng.standard_normal((60, 3, 36, 36)).astype(np.float32)
    sizes: list[int] = []
    original = budget.make_budget

    def noted(*given: Any) -> Any:
        found = original(*given)
        sizes.append(found.batch_size)
        return found

    monkeypatch.setattr(fitter, "make_budget", noted)
    assert_goes_on_from_everywhere(solves, tmp_path, net, x, target=[1], memory="64MB")
    assert 1 < sizes[0] < 30
    assert len(set(sizes)) == 1


@QUIET
@given(
    network=st.one_of(graphs(), chains()),
    dtype=st.sampled_from(["float64", "float32"]),
    conv_bias=st.booleans(),
    local=st.booleans(),
    fit_on=st.sampled_from(["all", "target_class"]),
    batch_size=st.integers(1, 9),
    at=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 10_000),
)
def test_random_networks_go_on(
    network: Network,
    dtype: str,
    conv_bias: bool,
    local: bool,
    fit_on: str,
    batch_size: int,
    at: float,
    seed: int,
) -> None:
    x = sample_inputs(network.input_shape, 16, seed).astype(np.float32)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    if np.ptp(onnx_values(network.ops, x.astype(np.float64))[net.logits][:, 0]) < 1e-4:
        return
    options: dict[str, Any] = {"dtype": dtype, "conv_bias": conv_bias, "local": local, "batch_size": batch_size}
    if fit_on == "target_class":
        options |= {"fit_on": fit_on, "labels": np.arange(16) % 2}
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as monkeypatch:
        solves = Solves(monkeypatch)
        expected = solves.during(net, x, [0], **options)
        whole = solves.count
        assert solves.during(net, x, [0], **options, checkpoint=place, stop_at=int(at * whole)) is None
        left = whole - solved(passes(Path(place)))
        found = solves.during(net, x, [0], **options, checkpoint=place)
        assert same(found, expected)
        assert solves.count == left


@pytest.mark.parametrize(("signals", "sums"), [(4.92e-5, 4.12e-6), (7e-4, 3.455e-5), (4e-3, 3.455e-5)])
def test_targets_without_kept_signals_among_others_that_have_them(
    signals: float, sums: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the signals of some, and groups whose size changes: the weights above are needed for all of them."""
    net = deep_network(np.random.default_rng(366), 1)
    x = np.random.default_rng(1).standard_normal((40, 2, 6, 6)).astype(np.float32)
    options: dict[str, Any] = {"target": [0, 1, 2], "memory": "64MB", "batch_size": 9, "ridge": 0.1}
    expected = mr.fit(net, x, **options)
    monkeypatch.setattr(row_store, "DISK_SHARE", 0.0)
    monkeypatch.setattr(fitter, "SIGNALS_SHARE", signals)
    monkeypatch.setattr(schedule, "SUMS_SHARE", sums)
    for target, inv in mr.fit(net, x, **options).items():
        for tensor, weights in inv.weights.items():
            for found, wanted in zip(weights.blocks, expected[target].weights[tensor].blocks, strict=True):
                assert relative_error(found, wanted) < 1e-7, (target, tensor)


@pytest.mark.parametrize("seed", [70, 71, 73, 75])
def test_signals_computed_again_are_laid_out_as_kept_ones(
    seed: int, solves: Solves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Sums may round otherwise in another order of the axes: that of a convolution's adjoint, or of a Transpose."""
    network = random_chain(seeded(seed))
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 23, seed).astype(np.float32)
    original = descents.descend

    def watched(*given: Any, **options: Any) -> Any:
        found = original(*given, **options)
        assert all(signal.flags.c_contiguous for signal in found.values())
        return found

    monkeypatch.setattr(passes_of_fits, "descend", watched)
    assert_goes_on_from_everywhere(solves, tmp_path, net, x, target=[0, 1], batch_size=7, conv_bias=True)


class Child:
    """killed_fit.py, run to a moment or to its end; killed at the latest when the block ends."""

    def __init__(self, folder: Path, checkpoint: Path | None, options: dict[str, Any]) -> None:
        given = [folder / "net.onnx", folder / "x.npy", folder, checkpoint or "", json.dumps(options)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(mr.__file__).parents[1])
        command = [sys.executable, killed_fit.__file__, *map(str, given)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "begin\n", self._process.communicate()[1]
        self._began = time.monotonic()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *given: object) -> None:
        self._process.kill()
        self._process.communicate()

    def line(self, text: str) -> None:
        """Wait until it says this."""
        assert self._process.stdout is not None
        while (said := self._process.stdout.readline()) != f"{text}\n":
            assert said, self._process.communicate()[1]

    def killed_after(self, seconds: float) -> list[str]:
        """What it said until then, "done" last where it came that far."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
        return self.ended()

    def ended(self) -> list[str]:
        said, error = self._process.communicate()
        self.seconds = time.monotonic() - self._began
        assert self._process.returncode in (0, -signal.SIGKILL), error
        return said.splitlines()


def made_passes(said: Sequence[str]) -> list[str]:
    return [line for line in said if "class" in line and "checkpoint" not in line]


def saved(folder: Path, targets: Sequence[int]) -> list[Any]:
    found = []
    for target in targets:
        path = folder / f"{target}.mipin"
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["mipin-inverse"])
            tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
        del header["seal"], header["beside"]
        found.append((header, tensors))
        path.unlink()
    return found


def residual(rng: np.random.Generator) -> list[Op]:
    """Five blocks on 2×16×16, eight passes."""
    ops: list[Op] = [Conv(("input",), "sum0", rng.standard_normal((6, 2, 1, 1)))]
    for i in range(5):
        ops += [
            Conv((f"sum{i}",), f"conv{i}", rng.standard_normal((6, 6, 3, 3)) / 8, None, (), (1, 1, 1, 1)),
            Activation((f"conv{i}",), f"fired{i}", "Relu"),
            Add((f"fired{i}", f"sum{i}"), f"sum{i + 1}"),
        ]
    ops += [GlobalAveragePool(("sum5",), "mean"), Reshape(("mean",), "flat", (6,))]
    return [*ops, Dense(("flat",), "scores", rng.standard_normal((6, 3)))]


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_kill_dash_nine_at_twenty_moments(half: int, tmp_path: Path) -> None:
    """Killed at a moment of what is left, called again, after one to four kills to the end; then from the start."""
    rng, moments = np.random.default_rng(148), np.random.default_rng([148, half])
    ops = residual(rng)
    onnx.save(to_onnx(ops, (2, 16, 16)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", rng.standard_normal((300, 2, 16, 16)).astype(np.float32))
    targets = [2, 0]
    options = {"target": targets, "fit_on": "target_class", "memory": "64MB"}
    with Child(tmp_path, None, options) as child:
        whole = len(made_passes(child.ended()))
    expected = saved(tmp_path, targets)
    assert whole == 8
    place = tmp_path / "0"
    for number, kills in enumerate(KILLS):
        for moment in moments.random(kills):
            said = ["done"]
            while (
                "done" in said
            ):  # a run that came to its end before its moment is no kill: from the start, and earlier
                before = len(passes(place))
                with Child(tmp_path, place, options) as run:
                    said = run.killed_after(moment * child.seconds * (whole - before) / whole)
                made, after = len(made_passes(said)), len(passes(place))
                # Every pass that it began it also finished, but for the one at which it was killed.
                assert made - 1 <= after - before <= made
                if "done" in said:  # it came to its end before: from the start, and earlier
                    moment, place = moment / 2, tmp_path / f"{number}-{moment}"
        before = len(passes(place))
        with Child(tmp_path, place, options) as run:
            made = len(made_passes(run.ended()))
        assert (made, len(passes(place))) == (whole - before, whole)
        assert saved(tmp_path, targets) == expected
        place = tmp_path / str(number + 1)
    assert not list(tmp_path.glob("*/*/.*.tmp"))
