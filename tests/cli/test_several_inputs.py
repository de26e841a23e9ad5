"""Networks of which each sample has several inputs, at the command line: one .npz file whose keys are their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.graph.test_several_inputs import network, samples

INPUT = ("--input", "x")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(network(), "net.onnx")
    np.savez("data.npz", **samples())
    np.save("x.npy", samples()["x"])
    return tmp_path


def stored(path: str) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def explain(*options: str) -> int:
    return main(["explain", "net.onnx", "data.npz", *INPUT, *options])


def test_an_inverse_is_fitted_and_explains() -> None:
    assert main(["fit", "net.onnx", "data.npz", *INPUT, "--target", "1", "--limit", "30", "-o", "one.mipin"]) == 0
    assert explain("--inverse", "one.mipin", "--limit", "9", "-o", "out") == 0
    net, x = mr.load("net.onnx", input="x"), samples()
    inverse = mr.fit(net, {name: value[:30] for name, value in x.items()}, target=1)
    expected = inverse.attribute({name: value[:9] for name, value in x.items()})
    found = stored("out/attribution.npz")
    for name in ("value", "source", "attribution", "output"):
        np.testing.assert_array_equal(found[name], getattr(expected, name))


@pytest.mark.parametrize("method", ["mip-in", "gradient", "patternnet"])
def test_predicted_classes_are_explained_of_what_is_there(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The samples themselves calibrate: what the other input is of a crop, nobody knows."""
    assert explain("--method", method, "--dtype", "float64", "-o", "out", "--at", "input") == 0
    printed = capsys.readouterr().out
    assert ("calibration: 40 of the samples themselves, as they are" in printed) == (method != "gradient")
    net, x = mr.load("net.onnx", input="x"), samples()
    found = stored("out/attribution.npz")
    np.testing.assert_allclose(found["logits"], net.predict(x)[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["target"], np.argmax(found["logits"], axis=1))
    options: dict[str, Any] = {} if method == "gradient" else {"calibration": x}
    if method == "patternnet":
        options = {"patterns": mr.fit_patterns(net, x)}
    expected = mr.attribute(net, x, found["target"], method, **options)
    scale = np.abs(expected.attribution).max()
    # Batches of other sizes add up in another order; onnxruntime computes in single precision.
    np.testing.assert_allclose(found["attribution"], expected.attribution, rtol=0, atol=1e-4 * scale)


def test_what_was_fitted_on_other_values_of_the_other_input_is_not_taken(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for change in (0, 0, 1):
        x = samples()
        np.savez("data.npz", x=x["x"], numbers=x["numbers"] + np.float32(change))
        assert explain("--target", "1", "-o", "out") == 0
        told.append("kept from an earlier run" in capsys.readouterr().out)
    assert told == [False, True, False]


def test_methods_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--methods", "mip-in,gradient,patternnet", "--limit", "4", "-o", "r.html"]
    assert main(["compare", "net.onnx", "data.npz", *INPUT, *asked]) == 0
    printed = capsys.readouterr().out
    assert "fails" not in printed
    assert "calibration: 4 of the samples themselves, as they are" in printed
    assert Path("r.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "net.onnx", "x.npy", "-o", "out"], "x.npy: samples of several inputs are in one .npz file"),
        (["explain", "net.onnx", "data.npz", "--key", "x", "-o", "out"], "leave the key out"),
        (["explain", "net.onnx", "lacks.npz", "-o", "out"], "holds nothing for input 'numbers'"),
        (["compare", "net.onnx", "x.npy", "-o", "r.html"], "x.npy: samples of several inputs are in one .npz file"),
        (["fit", "net.onnx", "x.npy", "--target", "1", "-o", "a.mipin"], "x.npy: samples of several inputs"),
        (["fit", "net.onnx", "data.npz", "--key", "x", "--target", "1", "-o", "a.mipin"], "leave the key out"),
    ],
)
def test_other_data_are_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("lacks.npz", x=samples()["x"])
    before = sorted(path.name for path in Path().iterdir())
    assert main([*arguments, *INPUT]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mipin: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(path.name for path in Path().iterdir()) == before


def test_which_input_is_explained_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "net.onnx", "data.npz", "-o", "out"]) == 2
    error = capsys.readouterr().err
    assert "the network has 2 inputs" in error
    assert error.count("\n") == 1
