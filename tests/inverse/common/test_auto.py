"""Where classes can share is found by fitting two of them in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse.common import auto
from mipin_ref.inverse.common.auto import AGREEMENT, correlations
from tests.inverse.test_bad_input import X, small
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
    for above in tensors[: tensors.index(told.tensor)]:
        assert agreement(net, x, above, told.probes) < AGREEMENT
    # Dense heads are fitted for each class.
    assert tensors.index(told.tensor) >= heads
    named = mr.fit(net, x, "all", common=told.tensor, ridge=300.0)
    for target, inv in invs.items():
        np.testing.assert_array_equal(inv.attribute(x).attribution, named[target].attribute(x).attribution)


def test_it_is_looked_for_near_the_logits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two heads the second tensor is not yet common: where no more are tried, each class is fitted alone."""
    net, x = convolutions(2)
    monkeypatch.setattr(auto, "TRIES", 2)
    invs = mr.fit(net, x, [0, 1], common="auto", ridge=300.0)
    for target, inv in invs.items():
        assert inv.report.common is None
        alone = mr.fit(net, x, target, ridge=300.0).attribute(x).attribution
        # Fitted together and alone: sums in another order.
        np.testing.assert_allclose(inv.attribute(x).attribution, alone, rtol=0, atol=1e-10 * np.abs(alone).max())


def test_where_none_agrees_the_best_is_named_if_all_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand classes alone weigh more than the memory; the tensor at the top serves none of them well."""
    net, x = convolutions(3, classes=1000)
    monkeypatch.setattr(auto, "TRIES", 1)
    with pytest.raises(mr.InvalidData, match=r"all 1,000 classes take .* which none of 1 tried reaches") as caught:
        mr.fit(net, x, "all", common="auto", ridge=300.0, memory="64MB")
    counts = np.bincount(net.predict(x)[1].argmax(axis=1))
    probes = tuple(np.sort(np.argsort(-counts, kind="stable")[:2]).tolist())
    assert "tensor 'fired1'" in str(caught.value)
    # Printed with four digits.
    told = float(str(caught.value).split("two probes to ")[1].split(";")[0])
    assert told == pytest.approx(agreement(net, x, "fired1", probes), abs=6e-5)
    assert told < AGREEMENT


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
