"""MIP-IN among the methods: bit for bit what `fit` and `Inverse.attribute` give, from every way to name it."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.data import Preprocessing
from mipin_ref.inverse.options import PRESETS
from mipin_ref.panel import mip_in
from mipin_ref.panel.mip_in import MipIn
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

SHAPE = (2, 6, 6)
RNG = np.random.default_rng(7)
OPS: list[Op] = [
    Conv(("input",), "c", RNG.standard_normal((4, 2, 3, 3)) / 4, RNG.standard_normal(4)),
    Activation(("c",), "r", "Relu"),
    Reshape(("r",), "flat", (64,)),
    Dense(("flat",), "y", RNG.standard_normal((64, 4)) / 8),
]
MODEL = to_onnx(OPS, SHAPE)
NET = mr.load(MODEL)
X = RNG.standard_normal((40, *SHAPE)).astype(np.float32)
Y = X[:9]
TARGETS = np.array([2, 0, 2, 2, 1, 0, 1, 2, 2])


def same(found: mr.Attribution, expected: mr.Attribution, rows: Any = slice(None)) -> None:
    for name in ("value", "source", "attribution", "output"):
        one, other = getattr(found, name)[rows], getattr(expected, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, strict=True)
    for name in ("tensor", "channel_axis", "method", "multiplier", "follows_logit", "delta"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("at", [None, "c", "r"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fitted_on_the_spot_it_is_a_fit_and_its_inverse(at: str | None, dtype: str) -> None:
    options: dict[str, Any] = {"ridge": 0.5, "conv_bias": True, "fit_on": "target_class", "labels": np.arange(40) % 4}
    # Only a fit that ends at a tensor leaves it unmasked.
    options["input_mask"] = False
    expected = mr.fit(NET, X, 2, at=at, dtype=dtype, **options).attribute(Y)
    found = mr.attribute(NET, Y, 2, "mip-in", calibration=X, at=at, dtype=dtype, **options)
    same(found, expected)
    assert found.target == 2
    assert isinstance(found.target, int)
    plain = mr.attribute(NET, Y, 2, "mip-in", calibration=X, at=at, dtype=dtype)
    assert not np.array_equal(plain.attribution, found.attribution)


def test_an_inverse_that_is_given_is_applied_as_it_is() -> None:
    """On its own backend, in its own dtype, down to its own tensor, or to another on the way."""
    inverse = mr.fit(NET, X, 1, dtype="float32", at="c")
    same(mr.attribute(NET, Y, 1, "mip-in", inverse=inverse), inverse.attribute(Y))
    deep = mr.fit(NET, X, 1)
    same(mr.attribute(NET, Y, 1, "mip-in", inverse=deep, at="c"), deep.attribute(Y, at="c"))
    same(mr.attribute(NET, Y, 1, "mip-in", inverse={1: deep}, batch_size=4), deep.attribute(Y, batch_size=4))
    assert MipIn(MipIn.checked({"inverse": inverse})).explained(NET, None) == "c"
    assert MipIn(MipIn.checked({"inverse": deep})).explained(NET, None) == NET.input


@pytest.mark.parametrize("given", ["calibration", "inverse"])
@pytest.mark.parametrize("at", [None, "c"])
def test_a_class_a_sample(given: str, at: str | None) -> None:
    """Each class's samples are what its inverse makes of them, in the order of the data."""
    inverses = mr.fit(NET, X, [0, 1, 2], at=at)
    options: dict[str, Any] = {given: inverses if given == "inverse" else X}
    found = mr.attribute(NET, Y, TARGETS, "mip-in", at=at, **options)
    assert np.array_equal(found.target, TARGETS)
    for c, inverse in inverses.items():
        same(found, inverse.attribute(Y[c == TARGETS]), rows=c == TARGETS)
    alone = mr.attribute(NET, Y, [1] * 9, "mip-in", at=at, **options)
    same(alone, inverses[1].attribute(Y))
    assert np.array_equal(alone.target, np.ones(9))


@pytest.mark.parametrize("method", ["mip-in", "gradient"])
def test_a_network_that_is_not_loaded_yet(method: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"calibration": X} if method == "mip-in" else {}
    expected = mr.attribute(NET, Y, 2, method, **options)
    onnx.save(MODEL, str(tmp_path / "net.onnx"))
    for model in (tmp_path / "net.onnx", str(tmp_path / "net.onnx"), MODEL.SerializeToString(), MODEL):
        found = mr.attribute(model, Y, 2, method, **options)
        np.testing.assert_array_equal(found.attribution, expected.attribution)
        explain = mr.explain_func(model, method, **options)
        np.testing.assert_array_equal(explain(None, Y, np.full(9, 2)), expected.oriented.contribution)
    with pytest.raises(mr.InvalidData, match="a model is given as a path, bytes or a ModelProto"):
        mr.attribute(3, Y, 2, method, **options)  # type: ignore[arg-type]


def test_a_path_is_preprocessed_as_the_calibration_data_were(tmp_path: Path) -> None:
    """Whether one class is asked for or several; stored as bytes, which alone would be divided by 255."""
    stored = np.random.default_rng(3).integers(0, 256, (40, *SHAPE), np.uint8)
    np.save(tmp_path / "x.npy", stored)
    options: dict[str, Any] = {"preprocess": Preprocessing(scale=100.0, mean=1.25)}
    inverses = mr.fit(NET, str(tmp_path / "x.npy"), [0, 1, 2], **options)
    targets = np.arange(40) % 3
    for given in ({"calibration": str(tmp_path / "x.npy"), **options}, {"inverse": inverses}):
        found = mr.attribute(NET, tmp_path / "x.npy", targets, "mip-in", **given)
        one = mr.attribute(NET, tmp_path / "x.npy", 1, "mip-in", **given)
        same(one, inverses[1].attribute(tmp_path / "x.npy"))
        for c, inverse in inverses.items():
            same(found[:], inverse.attribute(stored[targets == c] / np.float32(100) - np.float32(1.25)), targets == c)


def test_classes_are_fitted_once_by_a_function_for_quantus(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def counted(net: mr.Network, x: Any, target: list[int], **options: Any) -> Any:
        asked.append(target)
        return mr.fit(net, x, target, **options)

    monkeypatch.setattr(mip_in, "fit", counted)
    explain = mr.explain_func(NET, "mip-in", calibration=X, ridge=0.1)
    inverses = mr.fit(NET, X, [0, 1, 2], ridge=0.1)
    for targets in (TARGETS[:2], TARGETS, TARGETS[::-1].copy()):
        maps: npt.NDArray[Any] = explain(None, Y[: len(targets)], targets)
        for c in np.unique(targets):
            expected = inverses[int(c)].attribute(Y[: len(targets)][targets == c])
            np.testing.assert_array_equal(maps[targets == c], expected.oriented.contribution)
    assert asked == [[0, 2], [1]]


def test_every_option_of_a_fit_is_one_of_the_method() -> None:
    """Those of `fit` but the ones that `attribute` has itself, with the same defaults."""
    ours = inspect.signature(mr.attribute).parameters
    theirs = {name: one for name, one in inspect.signature(mr.fit).parameters.items() if name not in ours}
    assert set(MipIn.option_names()) == {"inverse", "calibration", *theirs}
    defaults = {one.name: one.default for one in fields(MipIn.Options)}
    assert {name: defaults[name] for name in theirs} == {name: one.default for name, one in theirs.items()}


class Nameless:
    def __repr__(self) -> str:
        raise RuntimeError


OTHER = mr.load(to_onnx([*OPS[:3], Dense(("flat",), "y", np.ones((64, 4)))], SHAPE))
INVERSE = mr.fit(NET, X, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "mip-in must be fitted, and there are no calibration samples: give option 'calibration', or an Inverse"),
        ({"calibration": X, "inverse": INVERSE}, "give option 'calibration' or option 'inverse', not both"),
        ({"calibration": X, "samples": 3}, "method 'mip-in' has no option 'samples'; its options are inverse, calib"),
        ({"calibration": X, "ridge": -1}, "ridge must be a number >= 0"),
        ({"calibration": X, "labels": [1, 2]}, "there are 2 labels for 40 samples"),
        ({"calibration": X, "preprocess": Nameless()}, "preprocess must be None or a Preprocessing"),
        ({"calibration": X[:1]}, "at least 2 calibration samples"),
        ({"calibration": X, "at": "nowhere"}, "tensor 'nowhere' is not on the way"),
        ({"calibration": X, "target": [1, 2]}, "target must be one class or one for each of the 9 samples"),
        ({"calibration": X, "target": 4}, "target 4 is out of range"),
        ({"calibration": X, "x": Y[:, :1]}, "the network takes"),
        (
            {"inverse": INVERSE, "ridge": 3.0},
            "option 'ridge' is one of the fit, and the inverse that is given",
        ),
        ({"inverse": INVERSE, "target": 2}, "option 'inverse' has none of class 2; it has those of 1"),
        ({"inverse": INVERSE, "target": TARGETS}, "option 'inverse' has none of class 0; it has those of 1"),
        ({"inverse": {2: INVERSE}, "target": 2}, "option 'inverse' has under 2 the inverse of class 1"),
        ({"inverse": {}}, "option 'inverse' has no inverse"),
        ({"inverse": "net.mipin"}, "option 'inverse' must be an Inverse, or several by class, not 'net.mipin'"),
        ({"inverse": {1: 3}}, "option 'inverse' must be an Inverse, or several by class"),
        ({"inverse": INVERSE, "net": OTHER}, "the inverse was fitted on another network"),
        (
            {"inverse": {1: INVERSE, 2: mr.fit(NET, X, 2, at="c")}, "target": [1, 2, 1, 2, 1, 2, 1, 2, 1]},
            "the inverses end at different tensors, 'c' and 'input': name one with option 'at'",
        ),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    given = {"net": NET, "x": Y, "target": 1, "method": "mip-in", **options}
    with pytest.raises(mr.InvalidData) as told:
        mr.attribute(**given)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_preset_is_its_options_and_those_given_besides_hold() -> None:
    def attribution(**options: Any) -> Any:
        return mr.attribute(NET, Y, 1, "mip-in", calibration=X, **options).attribution

    of_the_preset = attribution(preset="localise")
    np.testing.assert_array_equal(of_the_preset, attribution(**PRESETS["localise"]))
    assert not np.array_equal(of_the_preset, attribution())
    np.testing.assert_array_equal(attribution(preset="localise", ridge=1e-3, share_locations=False), attribution())
    with pytest.raises(mr.InvalidData, match=r"no preset 'localize'.*'localise'"):
        attribution(preset="localize")
    with pytest.raises(mr.InvalidData, match="'preset' is one of the fit"):
        mr.attribute(NET, Y, 1, "mip-in", inverse=mr.fit(NET, X, 1), preset="localise")
