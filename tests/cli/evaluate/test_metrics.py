"""`mipin evaluate`: every number against the library's functions, called for one sample at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.data import Preprocessing, open_data
from tests.cli.evaluate.files import CALIBRATION, SAMPLES, as_json, evaluate, one_by_one, stored, write_files
from tests.cli.test_explain import residual
from tests.graph.sketch import Sketch
from tests.networks import to_onnx

METHODS = ("mip-in", "gradient", "lrp-epsilon", "grad-cam", "patternnet", "pattern-attribution")
NAMED = ",".join(METHODS)
LABELS = ("--labels", "data.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    write_files(folder)
    return folder


@pytest.fixture(autouse=True)
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def scores(x: Any) -> Any:
    net = mr.load("net.onnx")
    return mr.attribute(net, x, 0, "gradient", at=net.logits).value


def saliencies(results: list[mr.Attribution], *, positive: bool, size: tuple[int, int] | None, kind: Any) -> Any:
    return np.concatenate([mr.saliency(res, kind, positive, size) for res in results])


def close(value: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.array(value, np.float64), np.asarray(expected, np.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("labelled", [True, False])
def test_apc(labelled: bool, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, "apc", *CALIBRATION, "--methods", NAMED, *(LABELS if labelled else ()))
    x, y, net = stored("x"), stored("y"), mr.load("net.onnx")
    y = y if labelled else np.argmax(scores(x), axis=1)
    assert set(document["methods"]) == {"mip-in", "patternnet"}
    assert set(document["failed"]) == {"gradient", "lrp-epsilon", "grad-cam", "pattern-attribution"}
    assert all("no source signal" in reason for reason in document["failed"].values())
    for method, row in document["methods"].items():
        of_classes = []
        for c in np.unique(y):
            changes = []
            for res in one_by_one(method, x[y == c], [int(c)] * int(np.sum(y == c))):
                before, after = float(res.output[0]), float(scores(res.source.astype(np.float32))[0, c])
                changes.append((before - after) / abs(before))
            mine = row["per_class"][str(c)]
            assert mine["samples"] == len(changes)
            close([mine["apc"], mine["median"]], [np.mean(np.abs(changes)), np.median(np.abs(changes))])
            of_classes.append((np.mean(np.abs(changes)), np.mean(np.maximum(changes, 0)), np.median(np.abs(changes))))
        close([row["apc"], row["positive"], row["median"]], np.mean(of_classes, axis=0))
        assert (row["samples"], row["left_out"]) == (SAMPLES, 0)
        results = {int(c): one_class(method, net, x[y == c], int(c)) for c in np.unique(y)}
        close(row["apc"], mr.metrics.apc(net, results).apc)


def one_class(method: str, net: mr.Network, x: Any, c: int) -> mr.Attribution:
    fit = stored("fit")
    if method == "mip-in":
        return mr.fit(net, fit, c).attribute(x)
    return mr.attribute(net, x, c, method, patterns=mr.fit_patterns(net, fit))


@pytest.mark.parametrize(
    ("options", "kind", "positive", "at"),
    [
        ((), "contribution", True, None),
        (("--map", "attribution", "--at", "last-map", "--signed"), "attribution", False, "map"),
    ],
)
def test_box(
    options: tuple[str, ...], kind: str, positive: bool, at: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (*LABELS, *CALIBRATION, "--boxes", "data.npz", "--methods", NAMED, *options)
    document = as_json(capsys, "box", *given)
    x, y, boxes = stored("x"), stored("y"), stored("box")
    assert set(document["methods"]) == set(METHODS)
    assert document["settings"]["left_out"] >= 1
    assert document["settings"]["size"] == [8, 8]
    for method, row in document["methods"].items():
        results = one_by_one(method, x, y.tolist(), **({"at": at} if method == "mip-in" else {}))
        of = "contribution" if method == "grad-cam" else kind
        maps = saliencies(results, positive=positive, size=(8, 8), kind=of)
        expected = mr.metrics.box_accuracy(maps, boxes)
        close(row["mean"], expected.mean)
        assert np.sum(np.isnan(expected.scores)) == row["scores"].count(None) == document["settings"]["left_out"]
        close([np.nan if one is None else one for one in row["scores"]], expected.scores)
        assert row["flat"] == expected.flat
        close(document["settings"]["chance"], expected.chance)


def test_boxes_of_image_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images of several sizes with boxes in their own pixels score as their arrays with boxes moved by hand."""
    rng, folder, model = np.random.default_rng(1), tmp_path / "images", str(tmp_path / "colour.onnx")
    folder.mkdir()
    for name, size in (("a.png", (8, 8)), ("b.png", (16, 16)), ("c.png", (8, 12))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    # The last one is twelve pixels wide, of which two are cut off on either side.
    told = {"a.png": [1, 2, 4, 5], "b.png": [[2, 4, 8, 10]], "c.png": [3, 2, 6, 5]}
    (tmp_path / "boxes.json").write_text(json.dumps(told))
    onnx.save(to_onnx(residual(), (3, 8, 8)), model)
    command = ["evaluate", "box", model, str(folder), "--boxes", str(tmp_path / "boxes.json"), "--methods", "gradient"]
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    net, x = mr.load(model), open_data(folder, preprocessing=Preprocessing(shape=(3, 8, 8)))[:]
    y = np.argmax(mr.attribute(net, x, 0, "gradient", at=net.logits).value, axis=1)
    maps = mr.saliency(mr.attribute(net, x, y, "gradient"))
    expected = mr.metrics.box_accuracy(maps, [[1, 2, 4, 5]] * 3)
    close(document["methods"]["gradient"]["scores"], expected.scores)
    assert len(set(expected.scores)) > 1


@pytest.mark.parametrize("pair", [None, (3, 1)])
def test_sensitivity(pair: tuple[int, int] | None, capsys: pytest.CaptureFixture[str]) -> None:
    asked = () if pair is None else ("--target", str(pair[0]), "--against", str(pair[1]))
    document = as_json(capsys, "sensitivity", *CALIBRATION, "--methods", NAMED, *asked)
    x = stored("x")
    ranked = [np.argsort(-one)[:2].tolist() if pair is None else list(pair) for one in scores(x)]
    assert document["settings"]["target"] == [a for a, _ in ranked]
    assert document["settings"]["against"] == [b for _, b in ranked]
    for method in METHODS:
        first, second = (
            saliencies(
                one_by_one(method, x, [both[i] for both in ranked]), positive=True, size=(8, 8), kind="contribution"
            )
            for i in (0, 1)
        )
        distances = []
        for a, b in zip(first, second, strict=True):
            a, b = (one / np.max(np.abs(one)) if np.any(one) else one for one in (a, b))
            distances.append(np.sqrt(np.sum((a - b) ** 2)))
        row = document["methods"][method]
        close(row["distances"], distances)
        close(row["mean"], np.mean(distances))
        assert row["zero"] == sum(int(not np.any(one)) for one in (*first, *second))


def test_grid(capsys: pytest.CaptureFixture[str]) -> None:
    given = (*LABELS, *CALIBRATION, "--mosaics", "11", "--methods", NAMED)
    document = as_json(capsys, "grid", *given)
    settings, x, y = document["settings"], stored("x"), stored("y")
    right = np.flatnonzero(np.argmax(scores(x), axis=1) == y)
    assert settings["recognised"] == len(right) < SAMPLES
    mosaics = []
    for images, target, cell in zip(settings["images"], settings["targets"], settings["cells"], strict=True):
        assert set(images) <= set(right.tolist())
        assert len({int(y[i]) for i in images}) == 4
        assert y[images[cell]] == target
        mosaics.append(composed(x[images]))
    assert settings["targets"][: len(settings["classes"])] == settings["classes"] == sorted({*y[right].tolist()})
    assert len(mosaics) == 11
    for method in METHODS:
        results = one_by_one(method, np.stack(mosaics), settings["targets"])
        expected, empty = [], 0
        for res, cell in zip(results, settings["cells"], strict=True):
            game = mr.metrics.grid_pointing_game(mr.saliency(res), [cell], 2)
            expected.append(game.mean)
            empty += game.empty
        row = document["methods"][method]
        close(row["scores"], expected)
        close([row["mean"], row["standard_error"]], [np.mean(expected), np.std(expected) / np.sqrt(11)])
        assert row["empty"] == empty
    other = as_json(capsys, "grid", *given, "--seed", "1", "--methods", "gradient")["settings"]
    assert other["images"] != settings["images"]
    assert as_json(capsys, "grid", *given, "--methods", "gradient")["settings"] == settings


def composed(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Four images [4, 2, 8, 8] as the quarters of one, pixel by pixel."""
    mosaic = np.empty((2, 8, 8), np.float32)
    for number, image in enumerate(images):
        top, left = 4 * (number // 2), 4 * (number % 2)
        for channel, plane in enumerate(image):
            largest = np.abs(plane).max()
            small = Image.fromarray(plane / largest).resize((4, 4), Image.Resampling.BILINEAR)
            mosaic[channel, top : top + 4, left : left + 4] = np.asarray(small) * largest
    return mosaic


def test_randomization(capsys: pytest.CaptureFixture[str]) -> None:
    given = (*LABELS, *CALIBRATION, "--limit", "9", "--seed", "3", "--methods", NAMED)
    document = as_json(capsys, "randomization", *given, "--option", "lrp-epsilon.epsilon=0.25")
    assert document["settings"]["tensors"] == ["scores", "conv"]
    x, y, net = stored("x")[:9], stored("y")[:9], mr.load("net.onnx")
    for method in METHODS:

        def explain(changed: mr.Network, x: Any, target: int, method: str = method) -> mr.Attribution:
            if method == "mip-in":
                return mr.fit(changed, stored("fit"), target).attribute(x)
            options: dict[str, Any] = {"epsilon": 0.25} if method == "lrp-epsilon" else {}
            if method.startswith("pattern"):
                options = {"patterns": mr.fit_patterns(changed, stored("fit"))}
            return mr.attribute(changed, x, target, method, **options)

        expected = mr.metrics.randomization(net, explain, x, y, seed=3)
        for mine, step in zip(document["methods"][method]["steps"], expected.steps, strict=True):
            assert (mine["tensor"], mine["kind"], mine["flat"]) == (step.tensor, step.kind, step.flat)
            close([mine["signed"], mine["absolute"], mine["ssim"]], [step.signed, step.absolute, step.ssim])
    short = as_json(capsys, "randomization", *given, "--methods", "gradient", "--tensors", "conv", "--no-ssim")
    (only,) = short["methods"]["gradient"]["steps"]
    assert only["tensor"] == "conv"
    assert only["ssim"] is None
    close(only["signed"], document["methods"]["gradient"]["steps"][1]["signed"])


def test_deletion(capsys: pytest.CaptureFixture[str]) -> None:
    given = (*LABELS, *CALIBRATION, "--limit", "7", "--methods", NAMED, "--steps", "16")
    document = as_json(capsys, "deletion", *given, "--deletion-fill", "0.5,-0.25", "--score", "logit")
    x, y, net = stored("x")[:7], stored("y")[:7], mr.load("net.onnx")
    for method in METHODS:
        maps = saliencies(one_by_one(method, x, y.tolist()), positive=False, size=(8, 8), kind="contribution")
        for kind, measure, fill in (
            ("deletion", mr.metrics.deletion, (0.5, -0.25)),
            ("insertion", mr.metrics.insertion, "blur"),
        ):
            row = document["methods"][method][kind]
            for i in range(7):
                rows = slice(i, i + 1)
                alone = measure(net, x[rows], maps[rows], y[rows], fill=fill, steps=16, output="logit")
                np.testing.assert_allclose(row["auc"][i], alone.mean, rtol=1e-5)
            assert row["fill"] == ("0.5, -0.25" if kind == "deletion" else "blur")
            close(row["mean"], np.mean(row["auc"]))
    assert evaluate("deletion", *given, "--deletion-fill", "0.5,-0.25") == 0
    printed = capsys.readouterr().out.replace("\n  ", " ")
    assert "deletion fill 0.5, -0.25" in printed
    assert "insertion fill blur" in printed


def test_only_some_classes(capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, "apc", *CALIBRATION, *LABELS, "--methods", "mip-in", "--classes", "1,4")
    y = stored("y")
    assert document["settings"]["classes"] == [1, 4]
    assert document["methods"]["mip-in"]["samples"] == int(np.isin(y, [1, 4]).sum())


def test_options_of_mip_in_reach_its_fit(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--ridge", "7.5", "--conv-bias", "--fit-on", "target_class", "--dtype", "float32")
    document = as_json(capsys, "apc", *CALIBRATION, *LABELS, "--methods", "mip-in", "--classes", "3", *given)
    net, x, y = mr.load("net.onnx"), stored("x"), stored("y")
    inv = mr.fit(net, stored("fit"), 3, ridge=7.5, conv_bias=True, fit_on="target_class", dtype="float32")
    expected = mr.metrics.apc(net, {3: inv.attribute(x[y == 3])})
    np.testing.assert_allclose(document["methods"]["mip-in"]["apc"], expected.apc, rtol=1e-6)
    several: list[dict[str, Any]] = [{}, {"ridge": 7.5}, {"ridge": 7.5, "conv_bias": True}]
    for options in several:
        other = mr.metrics.apc(net, {3: mr.fit(net, stored("fit"), 3, **options).attribute(x[y == 3])})
        assert abs(other.apc - expected.apc) > 1e-4


def test_the_probability_of_deletion_follows_the_head(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One Sigmoid and several: what is measured is what the file gives; the class is the one target 0 of one output."""
    shutil.copy(made / "data.npz", tmp_path)
    monkeypatch.chdir(tmp_path)
    for classes in (1, 3):
        sketch = Sketch(2, 8, 8)
        flat = sketch.node("Flatten", sketch.node("Relu", sketch.conv("x", 2, 3)))
        model = sketch.model(sketch.node("Sigmoid", sketch.dense(flat, 108, classes)))
        onnx.save(model, "net.onnx")
        document = as_json(capsys, "deletion", "--methods", "gradient", "--limit", "3", "--steps", "4")
        x = stored("x")[:3]
        (told,) = ort.InferenceSession("net.onnx").run(None, {"x": x})
        (gone,) = ort.InferenceSession("net.onnx").run(None, {"x": x * 0})
        best = told.argmax(axis=1)
        curve = document["methods"]["gradient"]["deletion"]["curve"]
        assert curve[0] == pytest.approx(told.max(axis=1).mean(), rel=1e-5)
        assert curve[-1] == pytest.approx(gone[np.arange(3), best].mean(), rel=1e-5)
        assert evaluate("deletion", "--methods", "gradient", "--limit", "3", "--steps", "4") == 0
        assert "the sigmoid of the class's logit" in capsys.readouterr().out.replace("\n  ", " ")
