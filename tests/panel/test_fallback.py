"""Every file gets an answer: what is opened, by which method it is explained, and who refuses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.panel.fallback import fallback_method, open_any
from mipin_ref.panel.registry import METHODS
from tests.graph.sketch import Sketch
from tests.graph.test_forward_only import X, forest, loop

COVERING = [name for name, facts in METHODS.items() if facts.forward_only]


def odd(*shape: int, **options: Any) -> ModelProto:
    """A file for samples of a shape, whose last node has no inverse."""
    sketch = Sketch(*shape, **options)
    source = "x" if "dtype" not in options else sketch.node("Cast", "x", to=onnx.TensorProto.FLOAT)
    flat = sketch.node("Flatten", source)
    return sketch.model(sketch.node("CumSum", flat, sketch.const(np.int64(1))))


def test_the_facts() -> None:
    assert COVERING == ["rise", "occlusion", "kernel-shap"]
    assert {name for name, facts in METHODS.items() if facts.many_passes} == {*COVERING, "score-cam"}


def test_a_network_where_there_is_one() -> None:
    sketch = Sketch(1, 12, 12)
    model = sketch.model(sketch.dense(sketch.node("Flatten", "x"), 144, 3))
    net = open_any(model)
    assert isinstance(net, mr.Network)
    assert open_any(net) is net
    file = open_any(loop())
    assert isinstance(file, ForwardOnly)
    assert open_any(file) is file
    assert file.reason.startswith("as it has no inverse: ")
    assert "Loop" in file.reason
    for bad, kind in ((b"x", mr.CorruptFile), ("nowhere.onnx", mr.InvalidData), (3, mr.InvalidData)):
        with pytest.raises(kind):
            open_any(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "method"),
    [
        ((3, 16, 16), "rise"),
        ((16, 16, 3), "rise"),
        ((1, 8, 9), "rise"),
        ((16, 16), "rise"),
        ((3, 7, 16), "kernel-shap"),
        ((6, 16, 16), "kernel-shap"),
        ((24,), "kernel-shap"),
        ((3, 40), "kernel-shap"),
        ((2, 8, 8, 8), "kernel-shap"),
    ],
)
def test_the_method_for_a_kind_of_input(shape: tuple[int, ...], method: str) -> None:
    assert fallback_method(open_any(odd(*shape))) == method


def test_ids_are_no_picture_and_bytes_are() -> None:
    assert fallback_method(open_any(odd(9, 9, dtype=onnx.TensorProto.INT64))) == "kernel-shap"
    assert fallback_method(open_any(odd(9, 9, dtype=onnx.TensorProto.UINT8))) == "rise"


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERING)
def test_trees_are_explained_from_a_path(name: str, tmp_path: Path) -> None:
    """The same as by hand, from scikit-learn's own probabilities: the file adds up in single precision."""
    trees, model = forest(np.float64)
    onnx.save(model, str(tmp_path / "trees.onnx"))
    x = X[:3]
    res = mr.attribute(str(tmp_path / "trees.onnx"), x, 1, method=name)
    np.testing.assert_array_equal(res.value, x)
    np.testing.assert_allclose(res.output, trees.predict_proba(x)[:, 1], atol=1e-6)
    assert (res.tensor, res.channel_axis, res.signal) == ("X", None, None)
    again = mr.attribute(open_any(model), x, np.array([1, 1, 1]), method=name, dtype="float32")
    np.testing.assert_allclose(again.attribution, res.attribution, atol=1e-6)
    if name == "occlusion":
        for feature in range(6):
            covered = x.copy()
            covered[:, feature] = 0
            fall = trees.predict_proba(x)[:, 1] - trees.predict_proba(covered)[:, 1]
            np.testing.assert_allclose(res.attribution[:, feature], fall, atol=2e-6)


@pytest.mark.parametrize("name", COVERING)
def test_of_integers_nothing_is_made_that_was_not_there(name: str) -> None:
    """Each id is the sample's or the baseline's; what holds none is refused."""
    net = open_any(odd(5, dtype=onnx.TensorProto.INT64))
    seen: list[Any] = []
    run = net.scoring()

    class Watched(ForwardOnly):
        def scoring(self) -> Any:
            def kept(x: Any, first: int) -> Any:
                seen.append(x)
                return run(x, first)

            return kept

    assert isinstance(net, ForwardOnly)
    watched = Watched(**{field: getattr(net, field) for field in net.__dataclass_fields__})
    ids = np.array([[4, 9, 2, 7, 7]])
    res = mr.attribute(watched, ids, 2, name, baseline=1)
    assert {*np.unique(np.concatenate(seen)).tolist()} == {1, 2, 4, 7, 9}
    assert all(one.dtype == np.int64 for one in seen)
    if name != "rise":
        # The third sum of the ids, each of which counts by itself.
        np.testing.assert_allclose(res.attribution, [[3, 8, 1, 0, 0]], atol=1e-5)
    else:
        assert res.attribution[0, :3].min() > np.abs(res.attribution[0, 3:]).max() - 0.5
    with pytest.raises(mr.InvalidData, match=r"baseline must be integers \(int64\), which the network reads, not 0.5"):
        mr.attribute(net, ids, 2, name, baseline=0.5)


def test_other_methods_say_what_they_need() -> None:
    file = open_any(loop())
    x = X[:2].astype(np.float32)
    for name in ("gradient", "mip-in", "grad-cam"):
        options: dict[str, Any] = {"calibration": x} if name == "mip-in" else {}
        with pytest.raises(
            mr.UnsupportedModel, match=r"needs the layers.*rise, occlusion, kernel-shap need its forward"
        ):
            mr.attribute(file, x, 0, name, **options)
    with pytest.raises(mr.UnsupportedModel, match="Loop"):
        mr.attribute(loop(), x, 0, "gradient")


def test_panel_and_quantus() -> None:
    file = open_any(loop())
    x = X[:2].astype(np.float32)
    panel = mr.Panel(file, x, method_options={"rise": {"samples": 50}})
    assert panel.names == tuple(COVERING)
    for name in panel.names:
        found = panel.attempt(name, x, 1)
        assert found is not None, panel.failures
        options: dict[str, Any] = {"samples": 50} if name == "rise" else {}
        np.testing.assert_array_equal(found.attribution, mr.attribute(file, x, 1, name, **options).attribution)
        theirs = mr.explain_func(file, name, **options)(None, x, np.array([1, 1]))
        np.testing.assert_array_equal(theirs, found.contribution)
    mixed = mr.Panel(file, x, names=["patternnet", "gradient", "occlusion"])
    assert [mixed.attempt(name, x, 1) is None for name in mixed.names] == [True, True, False]
    assert all("needs the layers" in mixed.failures[name] or "need" in mixed.failures[name] for name in mixed.failures)
    with pytest.raises(mr.UnsupportedModel, match="needs the layers"):
        mr.explain_func(file, "gradient")


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(forest(np.float32)[1], "trees.onnx")
    np.save("x.npy", X[:5].astype(np.float32))
    return tmp_path


@pytest.mark.slow
def test_explain_on_the_command_line(trees: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("explain", "trees.onnx", "x.npy", "--method", "kernel-shap", "--target", "1", "--option", "baseline=0.5")
    assert main([*given, "-o", "out"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("trees.onnx: explained by its forward pass alone, as it has no inverse: ")
    assert "out/overlay_00004_row_4.svg\n" in printed
    assert "explained by its forward pass alone, as it has no inverse: " in Path("out/index.html").read_text()
    with np.load("out/attribution.npz") as stored:
        res = mr.attribute("trees.onnx", np.load("x.npy"), 1, "kernel-shap", baseline=0.5)
        np.testing.assert_array_equal(stored["attribution"], res.attribution)
        np.testing.assert_array_equal(stored["delta"], res.delta)
        header = json.loads(str(stored["header"]))
        assert stored["target"].tolist() == [1] * 5
    assert (header["method"], header["tensor"]) == ("kernel-shap", "X")
    assert main([*given, "--at", "auto", "-o", "again"]) == 0
    for others, message in (
        (("--method", "gradient", "--target", "1"), "tree ensemble"),
        (("--method", "rise", "--target", "3"), "target 3 is out of range"),
        (("--method", "rise", "--target", "1", "--at", "label"), "of this file only the input 'X' can be"),
    ):
        assert main(["explain", "trees.onnx", "x.npy", *others, "-o", "none"]) == 2
        assert message in capsys.readouterr().err


def test_pictures_of_a_file_without_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(odd(1, 10, 10), "odd.onnx")
    np.save("x.npy", np.random.default_rng(0).random((2, 1, 10, 10)).astype(np.float32))
    given = ["explain", "odd.onnx", "x.npy", "--method", "rise", "--option", "samples=60", "--target", "99"]
    assert main([*given, "-o", "out"]) == 0
    assert {path.name for path in Path("out").iterdir()} == {
        "attribution.npz",
        "explained.json",
        "index.html",
        "overlay_00000_image_0.png",
        "overlay_00001_image_1.png",
    }
