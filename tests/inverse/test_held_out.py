"""Ridges picked on samples held out: which samples, which ridge, and what is then fitted, against brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes import budget, fitter
from mipin_ref.inverse.passes.held_out import held_out, picked
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.plan import plan_for
from tests.backends import backend, on_every_backend
from tests.inverse.sharded import branching_network, difference, one_by_one, same_bits, samples
from tests.inverse.test_against_oracle import living_chain
from tests.inverse.test_graphs import TOLERANCE, assert_agrees, living_graph
from tests.networks import Network, onnx_values, random_graph, sample_inputs, seeded, to_onnx
from tests.networks.state_stages import EVERY_STAGE
from tests.oracles.common import in_common
from tests.oracles.forward import forward
from tests.oracles.held_out import RIDGES, is_held_out
from tests.oracles.mipin import OracleResult, mipin

HELD: dict[str, Any] = {"ridge": "held-out"}

SINGLE = (1, 3, 6, 8)
"""Chains whose systems single precision bears."""

EDGES = [(0, 7), (7, 8), (8, 30), (30, 44), (44, 60)]


def opened(network: Network, count: int, seed: int) -> tuple[mr.Network, np.ndarray, dict[str, np.ndarray]]:
    """The network, samples, and the values that onnxruntime computes of all of them at once."""
    x = sample_inputs(network.input_shape, count, seed).astype(np.float32)
    return mr.load(to_onnx(network.ops, network.input_shape)), x, onnx_values(network.ops, x)


def assert_picks_as(expected: OracleResult, inv: mr.Inverse) -> None:
    told = {row.tensor: row.ridge for row in inv.report}
    assert told == {tensor: expected.weights[tensor].ridge for tensor in told}


def test_one_of_five_is_held_out_wherever_the_data_are_cut() -> None:
    whole = held_out(0, 5000)
    assert [bool(one) for one in whole[:400]] == [is_held_out(place) for place in range(400)]
    assert np.array_equal(whole.reshape(-1, 5).sum(axis=1), np.ones(1000))
    assert np.array_equal(np.concatenate([held_out(a, b) for a, b in ((0, 3), (3, 17), (17, 5000))]), whole)
    # Samples that come class by class in turn: a fifth of each of ten classes, within five standard deviations.
    share = np.bincount(np.arange(5000)[whole] % 10, minlength=10) / 500
    assert np.max(np.abs(share - 0.2)) < 5 * (0.2 * 0.8 / 500) ** 0.5


@on_every_backend
@pytest.mark.parametrize("seed", range(8))
def test_chains_agree_with_brute_force(name: str, seed: int) -> None:
    network = living_chain(seed)
    net, x, values = opened(network, 30, seed)
    options: Any = {**HELD, "conv_bias": seed % 2 == 1, "local": seed % 3 > 0}
    inv = mr.fit(net, x, 1, backend=backend(name), batch_size=7, **options)
    expected = mipin(network.ops, x, 1, values=values, **options)
    assert_picks_as(expected, inv)
    assert_agrees(inv, expected, x, TOLERANCE, 30)


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("seed", [1, 6, 13, 20, 31])
def test_joint_fits_agree_with_brute_force(name: str, seed: int) -> None:
    network = living_graph(seed)
    net, x, values = opened(network, 24, seed)
    inv = mr.fit(net, x, 0, backend=backend(name), batch_size=5, **HELD)
    expected = mipin(network.ops, x, 0, values=values, **HELD)
    assert_picks_as(expected, inv)
    assert_agrees(inv, expected, x, TOLERANCE, 24)


@pytest.mark.parametrize("seed", range(12))
def test_every_kind_agrees_with_brute_force(seed: int) -> None:
    """Tokens, gates, normalisations, depthwise convolutions and more."""
    network = random_graph(seeded(700 + seed), stages=EVERY_STAGE)
    x = sample_inputs(network.input_shape, 20, seed).astype(np.float32)
    net, own = mr.load(to_onnx(network.ops, network.input_shape)), forward(network.ops, x.astype(np.float64))
    if np.ptp(own[network.ops[-1].output][:, seed % 3]) < 1e-4:  # some draws end in a layer that never fires
        return
    values = own | dict(Recorder(net, list(net.shapes))(x).values)
    inv = mr.fit(net, x, seed % 3, **HELD)
    expected = mipin(network.ops, x, seed % 3, values=values, **HELD)
    assert_picks_as(expected, inv)
    assert_agrees(inv, expected, x, TOLERANCE, 20)


def test_the_tests_above_pick_many_ridges() -> None:
    ridges: set[float | None] = set()
    for seed in range(8):
        net, x, _ = opened(living_chain(seed), 30, seed)
        ridges.update(row.ridge for row in mr.fit(net, x, 1, **HELD).report)
    assert len(ridges) >= 5
    assert ridges <= set(RIDGES)


@on_every_backend
def test_one_inverse_for_all_classes_agrees_with_brute_force(name: str) -> None:
    network = living_chain(3)
    net, x, values = opened(network, 30, 7)
    tensor = [row.tensor for row in mr.fit(net, x, 0, ridge=1.0).report][1]
    invs = mr.fit(net, x, [0, 2], common=tensor, backend=backend(name), batch_size=30, **HELD)
    expected = in_common(network.ops, values, [0, 2], tensor, **HELD)
    for target, inv in invs.items():
        assert_picks_as(expected[target], inv)
        assert_agrees(inv, expected[target], x, TOLERANCE, 30)


@pytest.mark.parametrize("labelled", [True, False])
def test_samples_of_the_class_are_held_out_by_their_place_among_all(labelled: bool) -> None:
    network = living_chain(3)
    net, x, values = opened(network, 60, 3)
    labels = np.arange(60) % 2 if labelled else values[net.logits].argmax(axis=1)
    target = int(np.bincount(labels).argmax())
    options: Any = {"labels": labels} if labelled else {}
    inv = mr.fit(net, x, target, fit_on="target_class", batch_size=16, **options, **HELD)
    expected = mipin(network.ops, x, target, values=values, fit_rows=labels == target, **HELD)
    assert inv.samples == np.sum(labels == target)
    assert_picks_as(expected, inv)
    assert_agrees(inv, expected, x, TOLERANCE, 60)


def test_what_is_fitted_in_the_end_is_the_fit_of_that_ridge_on_all_samples() -> None:
    net, x = branching_network(), samples(60)
    held = mr.fit(net, x, 1, at="hidden.fired", **HELD)
    (row,) = held.report
    assert row.ridge is not None
    # Of a single tensor, whose regressors do not depend on it: other orders of the same sums.
    assert difference(held, mr.fit(net, x, 1, at="hidden.fired", ridge=row.ridge)) < 1e-12
    assert row.samples == row.rows == 60


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("options", [{}, {"conv_bias": True}, {"fit_on": "target_class"}], ids=str)
def test_shards_and_batches_hold_out_the_same_samples(name: str, options: dict[str, Any]) -> None:
    net, x = branching_network(), samples(60)
    inv = mr.fit(net, x, 2, backend=backend(name), **options, **HELD)
    small = mr.fit(net, x, 2, backend=backend(name), batch_size=7, **options, **HELD)
    shards, _ = one_by_one(net, x, [2], backend(name), EDGES, **options, **HELD)
    for other in (small, shards[2]):
        assert [row.ridge for row in other.report] == [row.ridge for row in inv.report]
        # Sums in another order: 4.5e4 eps, at the conditions that a ridge of a thousandth leaves.
        assert difference(other, inv) < 1e-11


def test_what_shards_keep_changes_no_bit() -> None:
    net, x = branching_network(), samples(60)
    kept, _ = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4, **HELD)
    again, _ = one_by_one(net, x, [0, 2], backend("numpy"), EDGES, batch_size=4, keep=0, **HELD)
    for target in (0, 2):
        assert same_bits(kept[target], again[target])


def test_several_targets_equal_one_by_one() -> None:
    net, x = branching_network(), samples(60)
    for target, inv in mr.fit(net, x, [0, 1, 2], batch_size=7, **HELD).items():
        assert same_bits(mr.fit(net, x, target, batch_size=7, **HELD), inv)


@on_every_backend
@pytest.mark.parametrize("seed", SINGLE)
def test_single_precision_picks_the_same(name: str, seed: int) -> None:
    net, x, _ = opened(living_chain(seed), 60, seed)
    double = mr.fit(net, x, 1, conv_bias=True, **HELD)
    single = mr.fit(net, x, 1, backend=backend(name, "float32"), dtype="float32", conv_bias=True, **HELD)
    assert single.options.dtype == "float32"
    assert [row.ridge for row in single.report] == [row.ridge for row in double.report]


def test_of_equal_errors_the_smallest_ridge() -> None:
    """Signals so large that no ridge matters: all errors are those of their rounding."""
    net, x = branching_network(), samples(60)
    large = mr.fit(net, 1e9 * x, 1, at="hidden.fired", **HELD)
    assert [row.ridge for row in large.report] == [1e-3]


def test_the_report_and_the_file_tell_the_ridges(tmp_path: Path) -> None:
    net, x = branching_network(), samples(60)
    inv = mr.fit(net, x, 1, **HELD)
    assert inv.options.ridge == "held-out"
    heading = str(inv.report).splitlines()[0].split()
    assert heading[-1] == "ridge"
    assert all("ridge" in row for row in inv.report.as_rows())
    inv.save(tmp_path / "one.mipin")
    again = mr.load_inverse(tmp_path / "one.mipin", net)
    assert again.options == inv.options
    assert again.report == inv.report
    assert same_bits(again, inv)
    plain = mr.fit(net, x, 1, ridge=1.0)
    assert "ridge" not in str(plain.report).splitlines()[0].split()
    assert all("ridge" not in row for row in plain.report.as_rows())


def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = branching_network(), samples(60)
    whole = mr.fit(net, x, 1, **HELD)
    solved: list[float] = []

    def counting(sums: Any, ridge: Any) -> Any:
        if len(solved) == 3:
            raise KeyboardInterrupt
        solved.append(ridge)
        return picked(sums, ridge)

    monkeypatch.setattr(fitter, "picked", counting)
    with pytest.raises(KeyboardInterrupt):
        mr.fit(net, x, 1, checkpoint=tmp_path, **HELD)
    monkeypatch.undo()
    again = mr.fit(net, x, 1, checkpoint=tmp_path, **HELD)
    assert same_bits(again, whole)
    assert again.report == whole.report


def test_sums_of_both_sides_count_in_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(net: Any, plan: Any, demand: budget.Demand, *rest: Any) -> budget.Budget:
        asked.append(demand.sums)
        return original(net, plan, demand, *rest)

    original = budget.make_budget
    monkeypatch.setattr(fitter, "make_budget", noted)
    net, x = branching_network(), samples(60)
    for options in ({}, HELD):
        mr.fit(net, x, 1, **options)
    assert asked[1] == 2 * asked[0]


@pytest.mark.parametrize("count", [2, 4])
def test_fewer_than_five_samples_are_refused(count: int) -> None:
    net, x = branching_network(), samples(60)
    with pytest.raises(mr.InvalidData, match=rf"'ridge' 'held-out' holds out \d of the {count} calibration samples"):
        mr.fit(net, x[:count], 1, **HELD)
    assert mr.fit(net, x[:5], 1, **HELD).samples == 5


def test_a_class_none_of_whose_samples_is_held_out_is_refused() -> None:
    net, x = branching_network(), samples(60)
    labels = np.where(held_out(0, 60), 0, 1)
    with pytest.raises(mr.InvalidData, match="holds out 0 of the 48 calibration samples that count for class 1"):
        mr.fit(net, x, 1, labels=labels, fit_on="target_class", **HELD)
    with pytest.raises(mr.InvalidData, match="holds out 12 of the 12 calibration samples that count for class 0"):
        mr.fit(net, x, 0, labels=labels, fit_on="target_class", **HELD)


def test_other_words_are_refused() -> None:
    net, x = branching_network(), samples(60)
    with pytest.raises(mr.InvalidData, match="ridge must be a number >= 0, not 'best', or 'held-out'"):
        mr.fit(net, x, 1, ridge="best")  # type: ignore[call-overload]


def test_the_command_line_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = living_chain(3)
    _, x, _ = opened(network, 30, 3)
    onnx.save(to_onnx(network.ops, network.input_shape), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", x)
    given = ["fit", str(tmp_path / "net.onnx"), str(tmp_path / "x.npy"), "--target", "1"]
    assert main([*given, "--ridge", "held-out", "-o", str(tmp_path / "one.mipin")]) == 0
    assert " ridge" in capsys.readouterr().out
    net = mr.load(tmp_path / "net.onnx")
    assert mr.load_inverse(tmp_path / "one.mipin", net).report == mr.fit(net, x, 1, **HELD).report
    with pytest.raises(SystemExit) as stopped:
        main([*given, "--ridge", "best", "-o", str(tmp_path / "two.mipin")])
    assert stopped.value.code == 2
    assert "--ridge: must be a number or held-out, not 'best'" in capsys.readouterr().err


def test_a_method_takes_it() -> None:
    net, x = branching_network(), samples(60)
    found = mr.attribute(net, x[:3], target=1, method="mip-in", calibration=x, ridge="held-out")
    assert np.array_equal(found.source, mr.fit(net, x, 1, **HELD).attribute(x[:3]).source)


def test_sums_held_out_that_are_not_finite_are_refused() -> None:
    """Only the samples held out are too large: what is fitted is finite, and no error is the least."""
    problem = Problem(backend("numpy"), plan_for(branching_network(), Options(), 1).step_of["flat"], False, 8, True)
    sums = problem.sums()
    with np.errstate(all="ignore"):
        for side, scale in zip(sums.sides, (1.0, 1e200), strict=True):
            x = scale * np.random.default_rng(0).standard_normal((8, 6))
            side.update({"hidden": x[:, :5]}, {}, x)
        with pytest.raises(mr.InvalidData, match="the sums of the samples held out are not finite"):
            picked(sums, "held-out")


def test_auto_finds_where_classes_agree(tmp_path: Path) -> None:
    net, x = branching_network(), samples(60)
    family = mr.fit(net, x, "all", common="auto", **HELD)
    assert all(row.ridge in RIDGES for inv in family.values() for row in inv.report)
    assert any(inv.report.common for inv in family.values())
    family.save(tmp_path / "all.mipin")  # type: ignore[attr-defined]
    assert mr.load_inverse(tmp_path / "all.mipin", net)[1].report == family[1].report
