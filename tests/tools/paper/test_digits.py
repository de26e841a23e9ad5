"""The experiments on digits, on a few: figures 3, 4 and 5, class sensitivity and sanity checks against direct loops."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr
import reproduce_paper
from paper import digits, figure3, figure4, figure5, published, sanity, sensitivity, table1
from paper.results import Results
from tests.tools.paper.reading import rows_of
from tests.tools.training.clutter_data import blobs

MODELS = Path(__file__).parents[3] / "models_onnx"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST and Fashion-MNIST in small: rectangles, image i of class i modulo 10."""
    folder = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("mnist", "fashion")):
        arrays = {f"x_{split}": blobs(80, 10 * number + i) for i, split in enumerate(("train", "test"))}
        labels = {f"y_{split}": (np.arange(80) % 10).astype(np.uint8) for split in ("train", "test")}
        np.savez(folder / f"{name}.npz", **arrays, **labels)  # type: ignore[arg-type]
    return folder


def command(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, name: str, *options: str) -> Any:
    files = ["--mnist", str(data / "mnist.npz")]
    if name in ("figure4", "sanity", "table1"):
        files += ["--fashion", str(data / "fashion.npz")]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", name, *files, "--results", str(out), *options])
    reproduce_paper.main()
    return Results(out)


def images(data: Path, split: str, count: int = 80) -> NDArray[np.float32]:
    with np.load(data / "mnist.npz") as stored:
        return np.asarray(stored[f"x_{split}"][:count, None].astype(np.float32) / np.float32(255))


def picture(text: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_figure3_shows_signals_with_and_without_masks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure3, "COMPARED", 4)
    results = command(monkeypatch, data, tmp_path, "figure3", "--calibration", "60", "--shown", "2", "--digit", "3")
    result = results.read("figure3", "mnist_mlp").result
    net = mr.load(MODELS / "mnist_mlp" / "model.onnx")
    mine = images(data, "test")[3::10][:4]
    for column, key, local in ((1, "global", False), (3, "local", True)):
        res = mr.fit(net, images(data, "train", 60), 3, local=local, dtype="float32").attribute(mine)
        for offset, letter, values in ((0, "S", res.source), (1, "A", res.oriented.attribution)):
            shown = picture(result["columns"][column + offset][1])
            np.testing.assert_allclose(shown.astype(int), mr.heatmap(values[1, 0]).astype(int), atol=1)
            flat = values.reshape(4, -1).astype(np.float64)
            pairs = [np.corrcoef(flat[i], flat[j])[0, 1] for i in range(4) for j in range(i)]
            assert result["likeness"][f"{letter}, {key}"] == pytest.approx(np.mean(pairs), abs=1e-4)
    assert len(rows_of(figure3.blocks(results))) == 2
    assert len(result["columns"]) == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mipin_ref.PrecisionWarning")  # so few samples are near what float32 is good for
def test_figure4_tells_the_logits_of_source_signals(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure4, "CLASSES", [1, 4])
    results = command(
        monkeypatch, data, tmp_path, "figure4", "--calibration", "80", "--networks", "mnist_mlp", "rgb32_cnn"
    )
    net = mr.load(MODELS / "mnist_mlp" / "model.onnx")
    x = images(data, "train")
    inv = mr.fit(net, x, 4, labels=np.arange(80) % 10, fit_on="target_class", dtype="float32", memory="1GB")
    res = inv.attribute(images(data, "test")[4:5])
    again = mr.attribute(net, res.source, 4, "gradient").output
    shown = results.read("figure4", "mnist_mlp").result["shown"][1]
    assert (shown["class"], shown["logit_x"]) == (4, pytest.approx(float(res.output[0]), rel=1e-4))
    assert shown["logit_s"] == pytest.approx(float(again[0]), rel=1e-3, abs=1e-3)
    rows = rows_of(figure4.blocks(results))
    assert [row[0] for row in rows] == ["mnist_mlp, X", "mnist_mlp, S", "rgb32_cnn, X", "rgb32_cnn, S"]
    assert rows[0][1][1][2] == f"{shown['logit_x']:.1f}"


def test_figure5_has_a_row_a_method(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["mip-in", "gradient", "patternnet"]
    results = command(monkeypatch, data, tmp_path, "figure5", "--calibration", "80", "--methods", *names)
    net = mr.load(MODELS / "mnist_mlp" / "model.onnx")
    mine = images(data, "test")[[0, 2, 3, 5]]
    maps = mr.attribute(net, mine, np.array([0, 2, 3, 5]), "gradient", dtype="float32").attribution[:, 0]
    result = results.read("figure5", "gradient").result
    np.testing.assert_allclose(picture(result["pictures"][2]).astype(int), mr.heatmap(maps[2]).astype(int), atol=1)
    on = mine[:, 0] > 0
    assert result["shares"]["on"] == pytest.approx(np.abs(maps)[on].sum() / np.abs(maps).sum(), rel=1e-4)
    assert sum(result["shares"].values()) == pytest.approx(1)
    told = figure5.blocks(results)
    assert [row[0] for row in rows_of(told)] == ["input", "mip-in", "gradient", "patternnet"]
    assert [row[0] for row in rows_of(told, 1)] == ["mip-in", "gradient", "patternnet"]


def test_shares_of_a_map_by_distance_from_the_strokes() -> None:
    x, maps = np.zeros((1, 1, 9, 9)), np.ones((1, 9, 9))
    x[0, 0, 4, 4] = 1
    maps[0, 4, 4] = -3
    assert figure5.shares(maps, x) == pytest.approx({"on": 3 / 83, "around": 24 / 83, "background": 56 / 83})


@pytest.mark.slow
def test_sensitivity_is_the_distance_of_maps_divided_by_their_largest(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--samples", "6", "--calibration", "30", "--methods", "mip-in", "gradient", "deep-taylor", "grad-cam")
    results = command(monkeypatch, data, tmp_path, "sensitivity", *few)
    net = mr.load(MODELS / "mnist_cnn" / "model.onnx")
    x = images(data, "test", 6)
    fits = mr.fit(net, images(data, "train", 30), [3, 8], dtype="float32")
    for name in ("mip-in", "gradient"):
        pair = [
            fits[c].attribute(x) if name == "mip-in" else mr.attribute(net, x, c, name, dtype="float32") for c in (3, 8)
        ]
        for kind in ("attribution", "contribution", "positive part"):
            distances = []
            for i in range(6):
                a, b = (
                    getattr(res.oriented, kind.replace("positive part", "attribution"))[i, 0].astype(float)
                    for res in pair
                )
                if kind == "positive part":
                    a, b = a.clip(min=0), b.clip(min=0)
                distances.append(np.linalg.norm(a / np.abs(a).max() - b / np.abs(b).max()))
            result = results.read("sensitivity", name).result
            assert result["mean"][kind] == pytest.approx(np.mean(distances), rel=1e-3)
            # By the deviation of a mean, of which so few make an interval that is some narrower.
            half, error = (result["high"][kind] - result["low"][kind]) / 2, np.std(distances) / np.sqrt(6)
            assert half == pytest.approx(1.96 * error, rel=0.15)
    told = sensitivity.blocks(results)
    assert len(rows_of(told)) == 4
    assert "Rank correlation" in str(told[1])


def test_order_is_the_rank_correlation_with_the_paper() -> None:
    same = {name: 10 * value for name, value in published.SENSITIVITY.items()} | {"deeplift": 1.0}
    for sign in (1, -1):
        value, count = sensitivity.order({name: sign * value for name, value in same.items()})
        assert count == 8
        assert value == pytest.approx(sign)
    assert np.isnan(sensitivity.order({"gradient": 1.0})[0])


@pytest.mark.slow
def test_sanity_compares_classes_and_redrawn_layers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--networks", "mnist_cnn", "--samples", "2", "--calibration", "30", "--layers", "2")
    names = ("mip-in", "input-x-gradient", "deep-taylor")
    results = command(monkeypatch, data, tmp_path, "sanity", *few, "--methods", *names)
    net = mr.load(MODELS / "mnist_cnn" / "model.onnx")
    x, y = images(data, "test", 2), np.arange(2)
    first, second = (
        mr.attribute(net, x, of, "input-x-gradient", dtype="float32").attribution[:, 0].reshape(2, -1)
        for of in (y, y + 1)
    )
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
    result = results.read("sanity", "mnist_cnn--input-x-gradient").result
    assert result["label"]["mean"] == pytest.approx(np.mean(alike), abs=1e-4)
    assert result["label"]["low"] == pytest.approx(min(alike), abs=1e-4), "of two samples"

    def explain(of: mr.Network, some: Any, target: int) -> mr.Attribution:
        return mr.fit(of, images(data, "train", 30), target, dtype="float32").attribute(some)

    top = [layer.output for layer in reversed(net.layers) if layer.kind in ("Dense", "Conv")][:2]
    cascade = mr.metrics.randomization(net, explain, x, y, tensors=top, ssim=False)
    weights = results.read("sanity", "mnist_cnn--mip-in").result["weights"]
    assert list(weights) == top
    for step in cascade.steps:
        assert weights[step.tensor]["signed"]["mean"] == pytest.approx(step.signed, abs=2e-3)
        assert weights[step.tensor]["absolute"]["mean"] == pytest.approx(step.absolute, abs=2e-3)
    (row,) = (row for row in sanity.rows(results) if row["method"] == "mip-in")
    assert row["signed_last"] == row["signed_2"] == weights[top[1]]["signed"]["mean"]
    assert row["absolute_1_low"] == weights[top[0]]["absolute"]["low"]
    assert sanity.values(results)["mnist_cnn_mip_in_label"] == row["label"]
    assert len(rows_of(sanity.blocks(results))) == 3


def test_some_of_each_class_or_an_error() -> None:
    y = np.array([1, 0, 1, 1, 0])
    np.testing.assert_array_equal(digits.some_of_each(y, [0, 1], 2), [1, 4, 0, 2])
    with pytest.raises(ValueError, match="2 samples of class 0, not 3"):
        digits.some_of_each(y, [0, 1], 3)


def test_table1_is_the_change_of_the_logit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = command(
        monkeypatch, data, tmp_path, "table1", "--samples", "60", "--evaluated", "60", "--networks", "mnist_mlp"
    )
    net = mr.load(MODELS / "mnist_mlp" / "model.onnx")
    y = np.arange(80) % 10
    for fit_on in ("all", "target_class"):
        fits = mr.fit(net, images(data, "train", 60), list(range(10)), labels=y[:60], fit_on=fit_on)
        for name, split in (("test", "test"), ("calibration", "train")):
            changes, gains = np.empty((10, 6)), np.empty((10, 6))
            for c in range(10):
                x = images(data, split)[:60][y[:60] == c]
                before, after = (
                    mr.attribute(net, of.astype(np.float32), c, "gradient").output
                    for of in (x, fits[c].attribute(x).source)
                )
                changes[c] = np.abs(before - after) / np.abs(before)
                gains[c] = np.maximum(before - after, 0) / np.abs(before)
            result = results.read("table1", f"mnist_mlp--{fit_on}").result
            assert result[name]["apc"] == pytest.approx(changes.mean(), rel=1e-3)
            assert result[name]["positive"] == pytest.approx(gains.mean(), rel=1e-3)
    assert [row[1:4] for row in rows_of(table1.blocks(results))] == [
        [fit_on, "False", name] for fit_on in ("all", "target_class") for name in ("test", "calibration")
    ]
    options = ("--samples", "60", "--evaluated", "60", "--networks", "mnist_mlp", "--choices", "target_class")
    few = command(monkeypatch, data, tmp_path / "few", "table1", *options)
    assert [row[1] for row in rows_of(table1.blocks(few))] == ["target_class"] * 2
    assert len(table1.expected()) == 10, "two of the MLP, four of either network of convolutions"
