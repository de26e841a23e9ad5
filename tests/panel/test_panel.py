"""The panel gives what its methods give one by one, and tells of those that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mipin_ref as mr
from mipin_ref.data import builtin
from mipin_ref.methods.cam import ActivationMap
from mipin_ref.panel.registry import METHODS

Digits = tuple[mr.Network, NDArray[np.float32]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    found = builtin("mnist_mlp")
    with np.load(found.calibration, allow_pickle=False) as stored:
        x = stored["x"][:200].astype(np.float32) / 255
    return mr.load(found.model), x


def test_every_method_is_what_it_is_alone(digits: Digits) -> None:
    net, x = digits
    panel = mr.Panel(net, x)
    targets = np.array([3, 7, 3])
    patterns = mr.fit_patterns(net, x)
    for name in panel.names:
        # A network of dense layers has no feature map.
        at = "input" if issubclass(METHODS[name], ActivationMap) else None
        found = panel.attempt(name, x[:3], targets, at=at)
        assert found is not None, panel.failures
        assert found.method == name
        assert np.array_equal(found.target, targets)
        for row, target in enumerate(targets):
            one = x[row : row + 1]
            if name == "mip-in":
                alone = mr.fit(net, x, int(target)).attribute(one)
                np.testing.assert_allclose(found.source[row], alone.source[0], rtol=1e-9, atol=1e-12)
            else:
                options: dict[str, Any] = {"patterns": patterns} if name.startswith("pattern") else {}
                if name == "smoothgrad":  # noise is drawn by position
                    alone = mr.attribute(net, x[:3], int(target), name)[row : row + 1]
                else:
                    alone = mr.attribute(net, one, int(target), name, at=at, **options)
            np.testing.assert_allclose(found.attribution[row], alone.attribution[0], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.output[row], alone.output[0], rtol=1e-5)
    assert not panel.failures


def test_patterns_are_fitted_no_further_down_than_inverses(digits: Digits) -> None:
    net, x = digits
    inner = net.layers[2].output
    panel = mr.Panel(net, x, names=["mip-in", "patternnet"], fitted_to=inner)
    assert panel.inverse(3).plan.explained == inner
    assert panel.explain("patternnet", x[:2], 3, at=inner).tensor == inner
    with pytest.raises(mr.InvalidData, match="patterns"):
        panel.explain("patternnet", x[:2], 3)


def test_a_class_is_fitted_once_and_several_together(digits: Digits) -> None:
    net, x = digits
    panel = mr.Panel(net, x, names=["mip-in"], fit_options={"ridge": 10.0})
    panel.prepare([1, 2])
    first = panel.inverse(1)
    panel.prepare([1, 5])
    assert panel.inverse(1) is first
    assert first.options.ridge == 10.0
    assert panel.explain("mip-in", x[:2], 5).target == 5


def test_what_must_be_fitted_can_be_fitted_before(digits: Digits) -> None:
    net, x = digits
    panel = mr.Panel(net, x)
    panel.ready("gradient", [1])
    panel.ready("mip-in", [1])
    panel.ready("patternnet", [1])
    for fitting in panel._fittings.values():
        fitting._samples = None
    for name in ("mip-in", "patternnet", "pattern-attribution"):
        assert panel.attempt(name, x[:1], 1) is not None
    bare = mr.Panel(net)
    for name in ("mip-in", "patternnet"):
        with pytest.raises(mr.InvalidData, match="no calibration samples"):
            bare.ready(name, [1])


def test_without_calibration_what_must_be_fitted_fails_and_the_rest_runs(digits: Digits) -> None:
    net, x = digits
    panel = mr.Panel(net, names=["mip-in", "gradient", "patternnet"])
    assert [panel.attempt(name, x[:1], 0) is not None for name in panel.names] == [False, True, False]
    assert all("no calibration samples" in panel.failures[name] for name in ("mip-in", "patternnet"))
    assert panel.attempt("mip-in", x[:1], 0) is None


def test_options_reach_their_method(digits: Digits) -> None:
    net, x = digits
    panel = mr.Panel(net, method_options={"lrp-epsilon": {"epsilon": 5.0}})
    found = panel.explain("lrp-epsilon", x[:2], 4)
    np.testing.assert_array_equal(
        found.attribution, mr.attribute(net, x[:2], 4, "lrp-epsilon", epsilon=5.0).attribution
    )
    assert not np.array_equal(found.attribution, mr.attribute(net, x[:2], 4, "lrp-epsilon").attribution)


def test_bad_input(digits: Digits) -> None:
    net, x = digits
    with pytest.raises(mr.InvalidData, match="did you mean 'gradient'"):
        mr.Panel(net, names=["gradiant"])
    with pytest.raises(mr.InvalidData, match="each once"):
        mr.Panel(net, names=["gradient", "gradient"])
    with pytest.raises(mr.InvalidData, match="each once"):
        mr.Panel(net, names=[])
    with pytest.raises(mr.InvalidData, match="has no option 'samples'"):
        mr.Panel(net, method_options={"gradient": {"samples": 3}})
    with pytest.raises(mr.InvalidData, match="those of its fit"):
        mr.Panel(net, method_options={"mip-in": {"ridge": 3}})
    panel = mr.Panel(net)
    with pytest.raises(mr.InvalidData, match="one for each of the 2 samples"):
        panel.attempt("gradient", x[:2], [1, 2, 3])
    with pytest.raises(mr.InvalidData, match="NaN"):
        panel.attempt("gradient", x[:2] * np.float32("nan"), 1)
    with pytest.raises(mr.InvalidData, match="no samples"):
        panel.attempt("gradient", x[:0], 1)
    assert not panel.failures
