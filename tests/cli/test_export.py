"""`mipin export`: what it writes and says, and what it refuses in a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.cli.test_explain import residual
from tests.export.running import assert_exact, expected, outputs
from tests.networks import to_onnx


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of [3, 8, 8], bytes, and the inverses of classes 0 and 1 at 'unit'."""
    rng = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    onnx.save(to_onnx(residual(), (3, 8, 8)), "net.onnx")
    x, fit = (rng.integers(0, 256, (n, 3, 8, 8), np.uint8) for n in (5, 30))
    np.savez("data.npz", x=x, fit=fit)
    net = mr.load("net.onnx")
    unit = mr.data.Preprocessing(255.0, shape=(3, 8, 8))
    for target, inverse in mr.fit(net, fit, [0, 1], ridge=1.0, preprocess=unit).items():
        inverse.save(f"class-{target}.mipin")
    return tmp_path


def export(*options: str) -> int:
    return main(["export", "net.onnx", "-o", "explainer.onnx", *options])


def pixels() -> np.ndarray:
    with np.load("data.npz") as stored:
        return np.asarray(stored["x"])


def inverse(target: int) -> mr.Inverse:
    return mr.load_inverse(f"class-{target}.mipin", mr.load("net.onnx"), target=target)


def told() -> dict[str, str]:
    return {one.key: one.value for one in onnx.load("explainer.onnx").metadata_props}


def test_one_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert export("--inverse", "class-1.mipin") == 0
    out = capsys.readouterr().out
    assert "opset 13" in out
    assert "output map ['N', 8, 8]" in out
    assert "with all of onnxruntime's: largest error" in out
    x = (pixels() / np.float32(255)).astype(np.float32)
    (data,) = onnx.load("explainer.onnx").graph.input
    assert_exact(outputs(Path("explainer.onnx"), {data.name: x}), expected(inverse(1), x))
    assert (told()["mipin.pixels"], told()["mipin.format"]) == ("false", "mipin-explainer 1")


def test_several_classes_of_raw_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.txt").write_text("cat\ndog\nowl\n")
    options = ("--preprocess", "unit", "--class-names", "names.txt", "--check", "data.npz")
    assert export("--inverse", "class-*.mipin", *options) == 0
    assert "without optimisation, on 5 samples" in capsys.readouterr().out
    x = (pixels() / np.float32(255)).astype(np.float32)
    for target in (0, 1):
        feed = {"pixels": pixels().transpose(0, 2, 3, 1), "target": np.array(target)}
        assert_exact(outputs(Path("explainer.onnx"), feed), expected(inverse(target), x))
    assert json.loads(told()["mipin.class_names"]) == ["cat", "dog", "owl"]
    assert json.loads(told()["mipin.targets"]) == [0, 1]


def test_an_inner_tensor_and_half_precision() -> None:
    assert export("--inverse", "class-*.mipin", "--target", "1", "--at", "block", "--half") == 0
    model = onnx.load("explainer.onnx")
    (data,) = model.graph.input
    assert (told()["mipin.tensor"], told()["mipin.half"]) == ("block", "true")
    x = (pixels() / np.float32(255)).astype(np.float32)
    found, wanted = outputs(Path("explainer.onnx"), {data.name: x}), expected(inverse(1), x, at="block")
    for name in ("source", "attribution"):
        assert np.corrcoef(found[name].ravel(), wanted[name].ravel())[0, 1] > 0.999


def test_eight_bits() -> None:
    assert export("--inverse", "class-1.mipin", "--precision", "int8") == 0
    assert (told()["mipin.half"], told()["mipin.precision"]) == ("false", '"int8"')
    assert export("--inverse", "class-1.mipin", "--precision", "int8", "--half") == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--inverse", "none-*.mipin"), "no file fits the pattern 'none-*.mipin'"),
        (("--inverse", "class-*.mipin", "--target", "2"), "there is no inverse of target 2"),
        (("--inverse", "class-0.mipin", "--at", "nowhere"), "tensor 'nowhere' is not on the way"),
        (("--inverse", "class-0.mipin", "--preprocess", "imagenet"), "another preprocessing"),
        (("--inverse", "class-0.mipin", "--preprocess", "unit", "--scale", "2"), "--preprocess says all"),
        (("--inverse", "class-0.mipin", "--check", "class-1.mipin"), "class-1.mipin"),
        (("--inverse", "class-0.mipin", "-o", "class-0.mipin"), "-o would overwrite 'class-0.mipin'"),
    ],
)
def test_refusals(options: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(*options) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    assert not Path("explainer.onnx").exists()


def test_check_of_an_array_without_the_usual_name_says_how_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("other.npz", fit=pixels())
    assert export("--inverse", "class-0.mipin", "--check", "other.npz") == 2
    assert capsys.readouterr().err.endswith("it holds 'fit'; name one, option 'key'\n")
