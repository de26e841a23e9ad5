"""`mipin patterns`, and `mipin explain` by the methods that must be fitted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.cli.test_explain import residual
from tests.networks import to_onnx

METHODS = ("patternnet", "pattern-attribution")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(tmp_path / "net.onnx"))
    x, fit = (rng.integers(0, 256, (n, 3, 8, 8), np.uint8) for n in (11, 40))
    np.savez(tmp_path / "data.npz", x=x, fit=fit)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SCALED = ("--scale", "100", "--mean", "1.25")


def array(key: str) -> Any:
    with np.load("data.npz") as stored:
        return stored[key].astype(np.float32) / 100 - np.float32(1.25)


def patterns(*options: str) -> int:
    return main(["patterns", "net.onnx", "data.npz", "--key", "fit", "-o", "net.patterns", *SCALED, *options])


def explain(*options: str) -> int:
    return main(["explain", "net.onnx", "data.npz", "--target", "1", "-o", "out", *SCALED, *options])


def stored() -> dict[str, Any]:
    with np.load("out/attribution.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("method", METHODS)
def test_patterns_saved_and_fitted_on_the_spot(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = mr.load("net.onnx")
    fitted = mr.fit_patterns(net, array("fit")[:30])
    expected = mr.attribute(net, array("x"), 1, method, patterns=fitted)
    assert patterns("--limit", "30") == 0
    assert "patterns of 4 layers down to 'input', from 30 samples: net.patterns" in capsys.readouterr().out
    for how, file in (
        (("--patterns", "net.patterns"), "net.patterns"),
        (("--calibration", "data.npz", "--calibration-key", "fit", "--calibration-limit", "30"), None),
    ):
        assert explain("--method", method, *how) == 0
        found = stored()
        assert np.array_equal(found["attribution"], expected.attribution)
        assert ("source" in found) == (method == "patternnet")
        header = json.loads(str(found["header"]))
        assert header["method"] == method
        assert header["patterns"] == {"file": file, "calibration": None if file else "data.npz", "samples": 30}


@pytest.mark.parametrize(("at", "tensor"), [(None, "last"), ("last", "last"), ("input", None)])
def test_an_inverse_fitted_on_the_spot(at: str | None, tensor: str | None) -> None:
    """As `fit` and `explain --inverse` do in two steps; the last map, unless another tensor is asked for."""
    net = mr.load("net.onnx")
    inverse = mr.fit(net, array("fit")[:30], 1, at=tensor, ridge=10.0, conv_bias=True, dtype="float32")
    expected = inverse.attribute(array("x"))
    given = ("--calibration", "data.npz", "--calibration-key", "fit", "--calibration-limit", "30", "--dtype", "float32")
    options = ("--option", "ridge=10", "--option", "conv_bias=true", *(() if at is None else ("--at", at)))
    assert explain("--method", "mip-in", *given, *options) == 0
    arrays = stored()
    for name in ("value", "source", "attribution", "output"):
        np.testing.assert_array_equal(arrays[name], getattr(expected, name), strict=True)
    header = json.loads(str(arrays["header"]))
    assert (header["method"], header["follows_logit"], header["dtype"]) == ("mip-in", True, "float32")
    assert header["options"] == {"ridge": 10, "conv_bias": True}
    assert header["inverse"] == {"calibration": "data.npz", "samples": 30, "dtype": "float32"}
    assert header["tensor"] == (tensor or net.input)


@pytest.mark.parametrize(("method", "option"), [("patternnet", "patterns"), ("mip-in", "inverse")])
def test_what_is_explained_is_fitted_on_where_nothing_else_is_given(
    method: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Crops, flips and mosaics of the images, which is said, and stored with the arrays."""
    assert explain("--method", method) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("calibration: ")]
    header = json.loads(str(stored()["header"]))
    assert header["calibration"] == line
    assert header[option]["calibration"] is None
    assert str(header[option]["samples"]) in line
    assert "made with seed 0" in line


def test_down_to_an_inner_tensor() -> None:
    assert patterns("--at", "last", "--dtype", "float32") == 0
    net = mr.load("net.onnx")
    assert mr.load_patterns("net.patterns", net).at == "last"
    assert explain("--method", "patternnet", "--patterns", "net.patterns", "--at", "last") == 0
    fitted = mr.fit_patterns(net, array("fit"), at="last", dtype="float32")
    expected = mr.attribute(net, array("x"), 1, "patternnet", patterns=fitted, at="last")
    assert np.array_equal(stored()["attribution"], expected.attribution)


FIT = ("--calibration", "data.npz", "--calibration-key", "fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "patternnet", "--patterns", "net.patterns", *FIT), "and not both"),
        (("--method", "patternnet", "--calibration-limit", "3", "--patterns", "net.patterns"), "go with --calibration"),
        (("--method", "patternnet", *FIT, "--option", "samples=3"), "takes no --option"),
        (("--method", "patternnet", *FIT, "--target", "7"), "out of range"),
        (("--method", "patternnet", *FIT, "--at", "lost"), "tensor 'lost' is not on the way"),
        (("--method", "patternnet", *FIT, "--calibration-limit", "1"), "at least 2 calibration samples"),
        (("--method", "patternnet", "--patterns", "none"), "there is no file 'none'"),
        (("--method", "patternnet", "--patterns", "net.onnx"), "is not a file of patterns"),
        (("--method", "patternnet", "--patterns", "net.patterns"), "the patterns lead down to 'last'"),
        (("--method", "gradient", *FIT), "--calibration is for --method mip-in, patternnet or pattern-attribution"),
        (
            ("--method", "gradient", "--patterns", "net.patterns"),
            "--patterns is for --method patternnet or pattern-attr",
        ),
        (("--method", "mip-in", "--patterns", "net.patterns"), "--patterns is for --method patternnet or pattern"),
        (("--method", "mip-in", *FIT, "--option", "inverse=3"), "has no option 'inverse'; its options are ridge"),
        (("--method", "mip-in", *FIT, "--option", "ridge=-3"), "ridge must be a number >= 0"),
        (("--method", "mip-in", *FIT, "--at", "lost"), "tensor 'lost' is not on the way"),
        (("--method", "mip-in", *FIT, "--target", "7"), "out of range"),
        (("--inverse", "three.mipin", *FIT), "--calibration is for --method mip-in, patternnet or pattern-attribution"),
    ],
)
def test_errors_are_one_line(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert patterns("--at", "last") == 0
    capsys.readouterr()
    assert explain(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith("mipin: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "nowhere/net.patterns"), "no folder"),
        (("--limit", "1"), "at least 2"),
        (("--at", "lost"), "is not on the way"),
        (("--memory", "1MB"), "64 MB"),
    ],
)
def test_errors_of_the_fit(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir())
    assert patterns(*options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(os.listdir()) == before
