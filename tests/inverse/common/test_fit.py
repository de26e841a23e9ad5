"""What a fit with a common tensor gives, tells and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse import report
from mipin_ref.inverse.passes import fitter
from tests.backends import relative_error
from tests.inverse.linear_skip import linear_skip
from tests.inverse.test_bad_input import X, small
from tests.inverse.test_graphs import loaded
from tests.networks import sample_inputs, to_onnx
from tests.networks.dead import own_heads
from tests.oracles.spec import Activation, Conv, Dense, GlobalAveragePool, Op, Reshape

COMMON = "relu"


def upper_and_lower(inv: mr.Inverse) -> tuple[list[str], list[str]]:
    names = [step.tensor for step in inv.plan.fitted]
    at = next(i for i, name in enumerate(names) if name == inv.plan.common)
    return names[:at], names[at:]


def shared_fit(target: Any = (0, 1), **options: Any) -> tuple[mr.Network, Any]:
    _, net, x = loaded(4, 30)
    rows = mr.fit(net, x, 0, ridge=1.0).report
    names = [row.tensor for row in rows]
    targets = list(target) if isinstance(target, tuple) else target
    return net, mr.fit(net, x, targets, common=names[len(names) // 2], ridge=1.0, **options)


def test_what_is_common_is_held_once_and_the_rest_differs() -> None:
    _, invs = shared_fit()
    upper, lower = upper_and_lower(invs[0])
    assert upper
    assert all(invs[0].weights[name] is invs[1].weights[name] for name in lower)
    assert not any(np.array_equal(invs[0].weights[n].blocks[0], invs[1].weights[n].blocks[0]) for n in upper)


def test_it_is_the_same_whichever_targets_are_asked_for() -> None:
    """The classes that it is fitted on are fitted above it, asked for or not."""
    _, both = shared_fit()
    _, every = shared_fit("all")
    _, one = shared_fit(1)
    for inv in (every[1], one):
        for name, weights in both[1].weights.items():
            for a, b in zip(weights.blocks, inv.weights[name].blocks, strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_report_tells_of_it() -> None:
    net, invs = shared_fit()
    report = invs[1].report
    assert report.common is not None
    assert report.common.tensor == invs[1].plan.common == invs[1].options.common
    assert 1 <= report.common.classes <= net.classes
    assert [row.tensor for row in report] == [step.tensor for step in invs[1].plan.fitted]
    assert str(report).splitlines()[-1].startswith(f"from {report.common.tensor} down one inverse for all targets")
    assert mr.fit(small(), X, 0).report.common is None


@pytest.mark.parametrize(
    ("common", "options", "told"),
    [
        ("nowhere", {}, "nowhere"),
        ("scores", {}, "option 'common' is not between the logits"),
        (COMMON, {"at": COMMON}, "no layer with weights stands between"),
        (COMMON, {"fit_on": "target_class"}, "leave option 'fit_on' at 'all'"),
        (COMMON, {"at": "flat"}, "option 'common'"),
    ],
)
def test_what_is_refused(common: str, options: dict[str, Any], told: str) -> None:
    net = small()
    names = {"scores": net.logits}
    with pytest.raises(mr.InvalidData, match=told):
        mr.fit(net, X, [0, 1], common=names.get(common, common), **options)


def test_targets_that_see_different_locations_share_nothing() -> None:
    network = own_heads(0).network
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 20, 0)
    with pytest.raises(mr.InvalidData, match="targets 0 and 1 depend on different tensors or locations"):
        mr.fit(net, x.astype(np.float32), [0, 1], common=net.layers[0].output)


def places_as_targets() -> tuple[mr.Network, np.ndarray]:
    """Two convolutions whose maps are the logits, so that each target sees locations of its own, and samples."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((4, 2, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Conv(("relu",), "scores", rng.standard_normal((3, 4, 1, 1))),
    ]
    return mr.load(to_onnx(ops, (2, 4, 4))), rng.standard_normal((30, 2, 4, 4)).astype(np.float32)


def test_where_every_class_sees_locations_of_its_own_it_is_fitted_on_the_one_that_is_asked_for() -> None:
    """Which is then the same as without."""
    net, x = places_as_targets()
    inv, alone = (mr.fit(net, x, (1, 0, 1), common=common, ridge=1.0) for common in ("input", None))
    assert inv.report.common is not None
    assert inv.report.common.classes == 1
    one, other = (each.attribute(x).attribution for each in (inv, alone))
    # Batches may be cut in other places: eps of float64 times the condition of systems with a ridge of 1.
    assert relative_error(one, other) < 1e-11


class _Interrupted(Exception):
    pass


def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, wanted = shared_fit()
    solved = report.tensor_report

    def interrupted_at(stop: int) -> None:
        left = iter(range(stop))

        def some(*given: Any) -> Any:
            if next(left, None) is None:
                raise _Interrupted
            return solved(*given)

        monkeypatch.setattr(fitter, "tensor_report", some)

    for solutions in (2, 3, 4, 5):
        interrupted_at(solutions)
        with pytest.raises(_Interrupted):
            shared_fit(checkpoint=tmp_path)
    monkeypatch.setattr(fitter, "tensor_report", solved)
    _, again = shared_fit(checkpoint=tmp_path)
    for target, inv in wanted.items():
        assert inv.report == again[target].report
        for name, weights in inv.weights.items():
            for a, b in zip(weights.blocks, again[target].weights[name].blocks, strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_class_that_tells_nothing_has_no_part_in_it() -> None:
    """Its logit is a constant, which single precision would not bear (warnings are errors)."""
    rng = np.random.default_rng(3)
    last, bias = rng.standard_normal((4, 4)), np.zeros(4)
    last[:, 2], bias[2] = 0, -30
    ops: list[Op] = [
        Conv(("input",), "stem", rng.standard_normal((4, 2, 3, 3)) / 3),
        Activation(("stem",), "relu", "Relu"),
        GlobalAveragePool(("relu",), "mean"),
        Reshape(("mean",), "flat", (4,)),
        Dense(("flat",), "scores", last, bias),
    ]
    net, x = mr.load(to_onnx(ops, (2, 8, 8))), rng.standard_normal((200, 2, 8, 8)).astype(np.float32)
    invs = mr.fit(net, x, [0, 1], common="input", ridge=1.0, dtype="float32")
    assert invs[0].options.dtype == "float32"
    assert invs[0].report.common is not None
    assert invs[0].report.common.classes == 3


def test_single_precision_that_is_not_enough_is_told_once() -> None:
    """Both parts are then made in float64."""
    net, x = linear_skip()
    with pytest.warns(mr.PrecisionWarning, match="'stem'"):
        invs = mr.fit(net, x, [0, 1], common="stem", dtype="float32")
    assert {inv.options.dtype for inv in invs.values()} == {"float64"}


@pytest.mark.parametrize(("first", "then"), [((1, 0, 1), (1, 1, 0)), ((0, 0, 1), (1, 0, 1))])
def test_a_checkpoint_of_other_targets_is_none_of_these(
    tmp_path: Path, first: tuple[int, int, int], then: tuple[int, int, int]
) -> None:
    """What is in common is fitted on the signals of others where targets stand at others' places."""
    net, x = places_as_targets()

    def attributed(target: tuple[int, int, int], folder: str) -> np.ndarray:
        made = mr.fit(net, x, target, common="input", ridge=1.0, checkpoint=tmp_path / folder)
        return np.asarray(made.attribute(x).attribution)

    clean = attributed(then, "own")
    attributed(first, "both")
    np.testing.assert_array_equal(attributed(then, "both"), clean)
