"""Faithfulness of maps: Quantus's scores beside a loop, what redrawn weights leave, and rows from end to end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import faithfulness, scenes
from paper.page import Table
from paper.redrawing import rank_correlations, redrawn
from paper.results import Results
from tests.tools.training.clutter_data import files
from training import clutter

pytestmark = pytest.mark.slow
"""Quantus takes seconds to import."""


def test_estimate_is_a_loop_over_pixels_that_go_black() -> None:
    net = mr.load("models_onnx/mnist_mlp/model.onnx")
    with np.load("models_onnx/mnist_mlp/calibration.npz") as data:
        x, y = data["x_test"][:2].astype(np.float32) / 255, data["y_test"][:2].astype(int)
    maps = np.random.default_rng(0).standard_normal((2, 28, 28))
    told = faithfulness.quantus_scores(net, x, y, maps)
    for number in range(2):
        order = np.argsort(-maps[number].ravel())
        before = net.predict(x[number : number + 1])[1][0, y[number]]
        changed, sums, drops = x[number].copy().reshape(-1), [], []
        for step in order.reshape(28, 28):
            changed = x[number].copy().reshape(-1)
            changed[step] = 0
            drops.append(before - net.predict(changed.reshape(1, 1, 28, 28))[1][0, y[number]])
            sums.append(maps[number].ravel()[step].sum())
        # Quantus divides maps by their largest value, which no correlation sees; logits are float32.
        assert told["estimate"][number] == pytest.approx(np.corrcoef(sums, drops)[0, 1], abs=1e-5)
    assert {key: one.shape for key, one in told.items()} == dict.fromkeys(faithfulness.QUANTUS, (2,))


def test_values_of_colours_go_black_one_by_one_in_equal_steps() -> None:
    """24 steps of 128 values of three colours, 28 rows of a digit."""
    assert (faithfulness.steps_of(784, 28), faithfulness.steps_of(3072, 28), faithfulness.steps_of(12288, 28)) == (
        28,
        24,
        24,
    )
    net = mr.load("models_onnx/rgb32_cnn/model.onnx")
    with np.load("models_onnx/rgb32_cnn/calibration.npz") as data:
        x, y = data["x_test"][:1].astype(np.float32) / 255, data["y_test"][:1].astype(int)
    maps = np.random.default_rng(0).standard_normal((1, 32, 32))
    told = faithfulness.quantus_scores(net, x, y, maps)
    every = np.broadcast_to(maps[:, None], x.shape).ravel()
    sums, drops, before = [], [], net.predict(x)[1][0, y[0]]
    for step in np.argsort(-every).reshape(24, 128):
        changed = x.copy().reshape(-1)
        changed[step] = x.min()
        sums.append(every[step].sum())
        drops.append(before - net.predict(changed.reshape(x.shape))[1][0, y[0]])
    # Which of three equal values goes first is the sort's choice, so that steps differ at their ends.
    assert told["estimate"][0] == pytest.approx(np.corrcoef(sums, drops)[0, 1], abs=0.05)


def test_clutter_is_fitted_and_explained_on_scenes_of_two_splits(tmp_path: Path) -> None:
    mnist, fashion = files(tmp_path)
    options = argparse.Namespace(mnist=mnist, fashion=fashion, calibration=3, samples=2)
    given = faithfulness.data_of("clutter_vgg", options)
    for number, split, count, seed in ((0, "train", 3, scenes.CALIBRATION_SEED), (2, "test", 2, scenes.TEST_SEED)):
        composed = clutter.compose(clutter.load_sources(mnist, fashion, split), split, count, seed)
        np.testing.assert_array_equal(given[number], composed.x.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(given[number + 1], composed.y)


def test_redrawn_is_a_rank_correlation_and_nothing_where_a_map_is_flat() -> None:
    maps = np.stack([np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3), np.ones((3, 3))])
    others = np.stack([np.exp(maps[0]), -maps[1], maps[0]])
    np.testing.assert_allclose(rank_correlations(others, maps), [1, -1, np.nan], atol=1e-12)


def test_a_redrawn_network_differs_in_its_last_layer_alone() -> None:
    net = mr.load("models_onnx/mnist_mlp/model.onnx")
    other = redrawn(net, [net.logits])[net.logits]
    with np.load("models_onnx/mnist_mlp/calibration.npz") as data:
        x = data["x_test"][:4].astype(np.float32) / 255
    hidden, last = (
        [mr.attribute(one, x, 3, "gradient", at=at).value for one in (net, other)]
        for at in ("/relu2/Relu_output_0", net.logits)
    )
    np.testing.assert_array_equal(hidden[0], hidden[1])
    assert np.abs(last[0] - last[1]).max() > 1


def test_rows_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    out, path = tmp_path / "out", tmp_path / "rows.json"
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(out), "--json", str(path)]
    few = ["--networks", "mnist_mlp", "--samples", "3", "--calibration", "30"]
    chosen = ["random", "gradient", "mip-in, own class", "grad-cam"]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "faithfulness", *given, *few, "--methods", *chosen])
    reproduce_paper.main()
    rows = {row["method"]: row for row in json.loads(path.read_text())["rows"]}
    # Grad-CAM needs a map of locations, which an MLP has not.
    assert sorted(rows) == ["gradient", "mip-in, own class", "random"]
    assert list(rows) == sorted(rows, key=lambda name: rows[name]["deletion"])
    assert rows["random"]["redrawn"] is None
    net = mr.load("models_onnx/mnist_mlp/model.onnx")
    with np.load(mnist) as data:
        x, y = data["x_test"][:3, None].astype(np.float32) / 255, data["y_test"][:3].astype(int)
    maps = mr.saliency(mr.attribute(net, x, y, "gradient"), positive=False)
    assert rows["gradient"]["deletion"] == pytest.approx(mr.metrics.deletion(net, x, maps, y, steps=28).mean)
    assert rows["gradient"]["insertion"] == pytest.approx(mr.metrics.insertion(net, x, maps, y, steps=28).mean)
    assert rows["gradient"]["deletion_low"] <= rows["gradient"]["deletion"] <= rows["gradient"]["deletion_high"]
    blocks = faithfulness.blocks(Results(out))
    assert isinstance(blocks[0], Table)
    assert "grad-cam fails: " in str(blocks[1])
