"""Where classes can share is found by fitting two of them in full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.data import as_samples
from mipin_ref.inverse import report
from mipin_ref.inverse.common import auto
from mipin_ref.inverse.common.auto import AGREEMENT
from mipin_ref.inverse.common.probes import Probes, candidates, correlations
from mipin_ref.inverse.passes import fitter
from mipin_ref.inverse.passes.fitter import Fitted, FittedTarget, Fitter
from mipin_ref.inverse.passes.target import ALL_CLASSES
from mipin_ref.inverse.passes.task import FitTask
from tests.inverse.test_bad_input import X, small
from tests.inverse.test_graphs import living_graph
from tests.networks import sample_inputs, to_onnx
from tests.networks.dead import own_heads
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape


def convolutions(heads: int = 1, classes: int = 4) -> tuple[mr.Network, np.ndarray]:
    """Three convolutions, and Dense layers behind them."""
    rng = np.random.default_rng(3)
    ops: list[Op] = []
    name, channels = "input", 2
    for i in range(3):
        ops.append(Conv((name,), f"conv{i}", rng.standard_normal((4, channels, 3, 3)) / 3))
        ops.append(Activation((f"conv{i}",), f"relu{i}", "Relu"))
        name, channels = f"relu{i}", 4
    ops.append(Reshape((name,), "flat", (64,)))
    name = "flat"
    for i in range(heads - 1):
        ops.append(Dense((name,), f"dense{i}", rng.standard_normal((64, 64)) / 8))
        ops.append(Activation((f"dense{i}",), f"fired{i}", "Relu"))
        name = f"fired{i}"
    ops.append(Dense((name,), "scores", rng.standard_normal((64, classes)) / 8))
    return mr.load(to_onnx(ops, (2, 10, 10))), rng.standard_normal((32, 2, 10, 10)).astype(np.float32)


def agreement(net: mr.Network, x: np.ndarray, common: str, probes: tuple[int, ...]) -> float:
    """Worked out apart from the code: fits of each by itself, and NumPy's own correlation."""
    shared = mr.fit(net, x, list(probes), common=common, ridge=300.0)
    medians = []
    for probe in probes:
        a, b = (one.attribute(x).contribution for one in (mr.fit(net, x, probe, ridge=300.0), shared[probe]))
        medians.append(np.median([related(p.ravel(), q.ravel()) for p, q in zip(a, b, strict=True)]))
    return float(min(medians))


def related(one: np.ndarray, other: np.ndarray) -> float:
    constant = [bool((values == values[0]).all()) for values in (one, other)]
    return float(all(constant)) if any(constant) else float(np.corrcoef(one, other)[0, 1])


def with_each_other(net: mr.Network, x: np.ndarray, common: str, probes: tuple[int, ...]) -> float:
    """The same of fits of each by itself: each with what is the other's from the tensor down, in a chain."""
    some = x[np.linspace(0, len(x) - 1, 8).astype(int)]
    alone, medians = {probe: mr.fit(net, x, probe, ridge=300.0) for probe in probes}, []
    tensors = [step.tensor for step in alone[probes[0]].plan.fitted]
    lower = tensors[tensors.index(common) :]
    for one, other in (probes, probes[::-1]):
        mixed = {**alone[one].weights, **{name: alone[other].weights[name] for name in lower}}
        a, b = (inv.attribute(some).contribution for inv in (alone[one], replace(alone[one], weights=mixed)))
        medians.append(np.median([related(p.ravel(), q.ravel()) for p, q in zip(a, b, strict=True)]))
    return float(min(medians))


@pytest.mark.parametrize("heads", [1, 2])
def test_it_is_the_highest_tensor_at_which_both_agree(heads: int) -> None:
    net, x = convolutions(heads)
    invs = mr.fit(net, x, "all", common="auto", ridge=300.0)
    tensors = [step.tensor for step in invs[0].plan.fitted]
    told = invs[0].report.common
    assert told is not None
    assert told.agreement is not None
    assert told.tensor == invs[0].options.common
    assert len(told.probes) == 2
    # No more samples than are compared, so that the agreement is the same but for rounding.
    assert agreement(net, x, told.tensor, told.probes) == pytest.approx(told.agreement, abs=1e-12)
    assert told.agreement >= AGREEMENT
    assert with_each_other(net, x, told.tensor, told.probes) >= AGREEMENT
    for above in tensors[1 : tensors.index(told.tensor)]:
        assert with_each_other(net, x, above, told.probes) < AGREEMENT
    # Dense heads are fitted for each class.
    assert tensors.index(told.tensor) >= heads
    named = mr.fit(net, x, "all", common=told.tensor, ridge=300.0)
    for target, inv in invs.items():
        np.testing.assert_array_equal(inv.attribute(x).attribution, named[target].attribute(x).attribution)


def test_where_they_do_not_agree_with_each_other_half_of_that_may_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between two classes is nearer to each: it is fitted, and measured as any."""
    net, x = convolutions()
    monkeypatch.setattr(auto, "TRIES", 1)
    told = mr.fit(net, x, "all", common="auto", ridge=300.0)[0].report.common
    assert told is not None
    assert told.agreement is not None
    assert with_each_other(net, x, told.tensor, told.probes) < AGREEMENT <= told.agreement
    assert agreement(net, x, told.tensor, told.probes) == pytest.approx(told.agreement, abs=1e-12)


@pytest.mark.parametrize("order", [(0, 2), (2, 0)])
def test_both_take_the_other_s_inverses_from_there_down(order: tuple[int, int]) -> None:
    """As said, of fits of each by itself; in a network of branches, what is reconstructed from the tensor is below."""
    network = living_graph(4)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 20, 7)
    x = x.astype(np.float32)
    one, other = (mr.fit(net, x, target, ridge=1.0) for target in order)
    targets = {
        target: FittedTarget(inv.weights, inv.report, 20) for target, inv in zip(order, (one, other), strict=True)
    }
    samples = as_samples(x, None, whole=net.whole, inputs=net.inputs)
    task = FitTask(net, one.plan, one.options, one.backend, samples, None, 2 << 30, None)
    probes = Probes.of(task, Fitted(targets, one.seen))
    # Eight of them, spread evenly, the first and the last among them.
    some = x[np.linspace(0, 19, 8).astype(int)]
    wanted = [inv.attribute(some).contribution for inv in (one, other)]
    cuts = candidates(one.plan, len(one.plan.fitted))
    assert len(cuts) > 2
    for cut in cuts:
        lower = {cut.common}
        for step in one.plan.steps:
            if lower & set(step.reads):
                lower.add(step.tensor)
        medians = []
        for own, strange, contribution in ((one, other, wanted[0]), (other, one, wanted[1])):
            weights = {name: (strange if name in lower else own).weights[name] for name in own.weights}
            mixed = replace(own, weights=weights).attribute(some).contribution
            medians.append(np.median([related(p.ravel(), q.ravel()) for p, q in zip(contribution, mixed, strict=True)]))
        assert probes.crossed(cut) == pytest.approx(min(medians), abs=1e-12)
        kept = probes.own(cut)[order[0]]
        assert kept.weights.keys() == one.weights.keys() - lower == {row.tensor for row in kept.report}


def test_what_is_fitted_of_the_probes_is_their_part_of_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of a class is fitted twice, whether classes share or not."""
    net, x = convolutions(2)
    fitted: list[tuple[int, str]] = []
    run = Fitter.run

    def noted(self: Fitter, targets: Any, *given: Any) -> Any:
        fitted.extend((target, step.tensor) for target in targets for step in self._task.plan.fitted)
        return run(self, targets, *given)

    monkeypatch.setattr(Fitter, "run", noted)
    told = mr.fit(net, x, "all", common="auto", ridge=300.0)[0].report.common
    assert told is not None
    assert len(fitted) == len(set(fitted))
    assert ALL_CLASSES in {target for target, _ in fitted}
    fitted.clear()
    monkeypatch.setattr(auto, "TRIES", 1)
    with pytest.warns(mr.SharingWarning):
        mr.fit(net, x, "all", common="auto", ridge=300.0)
    assert len(fitted) == len(set(fitted))
    assert ALL_CLASSES not in {target for target, _ in fitted}


def test_where_none_agrees_that_is_said_and_each_is_fitted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two heads the second tensor is not yet common, and no more are looked at."""
    net, x = convolutions(2)
    monkeypatch.setattr(auto, "TRIES", 1)
    said = (
        r"at no tensor to 0.999: of 1 looked at 'flat' comes nearest, to about 0\.\d{4}; .* 2 targets is fitted alone"
    )
    with pytest.warns(mr.SharingWarning, match=said) as caught:
        invs = mr.fit(net, x, [0, 1], common="auto", ridge=300.0)
    assert [one.filename for one in caught] == [__file__]
    for target, inv in invs.items():
        assert inv.report.common is None
        alone = mr.fit(net, x, target, ridge=300.0).attribute(x).attribution
        # Fitted together and alone: sums in another order.
        np.testing.assert_allclose(inv.attribute(x).attribution, alone, rtol=0, atol=1e-10 * np.abs(alone).max())


def test_the_nearest_is_taken_where_all_alone_are_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand classes alone weigh more than the memory: what was fitted of the probes is not lost."""
    net, x = convolutions(3, classes=1000)
    monkeypatch.setattr(auto, "AGREEMENT", 1.0)
    said = r"comes nearest, to about \d\.\d{4}; it is taken, as 1,000 targets fitted alone take 0.1 GB"
    with pytest.warns(mr.SharingWarning, match=said):
        invs = mr.fit(net, x, "all", common="auto", ridge=300.0, memory="64MB")
    told = invs[0].report.common
    assert told is not None
    assert told.agreement is not None
    assert auto.LEAST <= told.agreement < 1.0
    assert agreement(net, x, told.tensor, told.probes) == pytest.approx(told.agreement, abs=1e-12)
    named = mr.fit(net, x, [7], common=told.tensor, ridge=300.0)[7]
    np.testing.assert_allclose(invs[7].attribute(x).attribution, named.attribute(x).attribution, rtol=0, atol=1e-10)


def test_a_bad_one_is_not_taken_but_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensor at the top serves none of a thousand classes well."""
    net, x = convolutions(3, classes=1000)
    monkeypatch.setattr(auto, "TRIES", 1)
    with pytest.raises(mr.InvalidData, match=r"all 1,000 classes take .* agree at no tensor to 0.999: of 1") as caught:
        mr.fit(net, x, "all", common="auto", ridge=300.0, memory="64MB")
    counts = np.bincount(net.predict(x)[1].argmax(axis=1))
    probes = tuple(np.sort(np.argsort(-counts, kind="stable")[:2]).tolist())
    assert "'fired0' comes nearest" in str(caught.value)
    # Printed with four digits.
    told = float(str(caught.value).split("to about ")[1].split(";")[0])
    assert told == pytest.approx(agreement(net, x, "fired0", probes), abs=6e-5)
    assert told < auto.LEAST


def test_what_was_not_good_enough_is_taken_out_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was fitted to be measured, and its folder is locked by this very fit."""
    net, x = convolutions(3, classes=1000)
    for name, value in (("AGREEMENT", 1 - 1e-12), ("DOUBT", 1e12), ("TRIES", 1), ("LEAST", 0.5)):
        monkeypatch.setattr(auto, name, value)
    with pytest.warns(mr.SharingWarning, match="it is taken"):
        invs = mr.fit(net, x, "all", common="auto", ridge=300.0, memory="64MB", checkpoint=tmp_path)
    assert invs[0].report.common is not None


class _Interrupted(Exception):
    pass


def test_an_interrupted_search_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probes' fits, those above the common tensor and what is common are all taken over."""
    net, x = convolutions(2)
    told: dict[str, Any] = {"target": "all", "common": "auto", "ridge": 300.0}
    wanted = mr.fit(net, x, **told)
    solved = report.tensor_report

    def interrupted_at(stop: int) -> list[int]:
        made: list[int] = []

        def some(*given: Any) -> Any:
            if len(made) == stop:
                raise _Interrupted
            made.append(1)
            return solved(*given)

        monkeypatch.setattr(fitter, "tensor_report", some)
        return made

    # Ten tensors of the probes, two or more of each other class, up to three in common; each run finishes a pass.
    for stop in (3, 9, 4, 2):
        interrupted_at(stop)
        with pytest.raises(_Interrupted):
            mr.fit(net, x, checkpoint=tmp_path, **told)
    made = interrupted_at(1000)
    again = mr.fit(net, x, checkpoint=tmp_path, **told)
    assert len(made) < 8
    for target, inv in wanted.items():
        assert inv.report == again[target].report
        for name, weights in inv.weights.items():
            for a, b in zip(weights.blocks, again[target].weights[name].blocks, strict=True):
                np.testing.assert_array_equal(a, b)


def test_it_is_written_into_the_file(tmp_path: Path) -> None:
    net, x = convolutions()
    invs: Any = mr.fit(net, x, [0, 1], common="auto", ridge=300.0)
    invs.save(tmp_path / "some.mipin")
    again = mr.load_inverse(tmp_path / "some.mipin", net)
    assert again[0].report.common == invs[0].report.common
    assert "it agrees with those of classes" in str(again[0].report)


def test_each_is_fitted_alone_where_none_can_share() -> None:
    """Targets that depend on different tensors; samples that are all taken for one class."""
    network = own_heads(0).network
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 20, 0)
    one = small()
    predicted = one.predict(X)[1].argmax(axis=1)
    alike = X[predicted == np.bincount(predicted).argmax()]
    for tried, data in ((net, x.astype(np.float32)), (one, alike)):
        invs, alone = (mr.fit(tried, data, [0, 1], common=common) for common in ("auto", None))
        for target, inv in alone.items():
            assert invs[target].report.common is None
            assert invs[target].options == inv.options
            np.testing.assert_array_equal(invs[target].attribute(data).attribution, inv.attribute(data).attribution)


def test_correlations() -> None:
    """NumPy's, of small numbers too; of constant samples 1 with another such and 0 with any else."""
    rng = np.random.default_rng(0)
    one = rng.standard_normal((3, 2, 5))
    one[1] = 2.0
    other = one + rng.standard_normal(one.shape)
    found = correlations(one, other)
    assert (found[1], correlations(one, one)[1]) == (0, 1)
    for i in (0, 2):
        assert abs(found[i] - np.corrcoef(one[i].ravel(), other[i].ravel())[0, 1]) < 1e-14
    assert np.all(np.abs(correlations(one * 1e-200, other) - found) < 1e-12)
