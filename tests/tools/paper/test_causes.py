"""What Table 1 depends on: means over classes, changes of every sample, and variants from end to end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import causes
from paper.results import Results
from paper.variants import Variant
from tests.tools.paper.reading import part_in, rows_of
from tests.tools.training.clutter_data import files
from training.keras import read_split


def test_weights_make_the_mean_that_over_classes() -> None:
    rng = np.random.default_rng(0)
    values, y = rng.random(50), np.repeat([1, 4, 7], [5, 15, 30])
    by_class = [values[y == c].mean() for c in (1, 4, 7)]
    assert causes.weighted(values, y).mean() == pytest.approx(np.mean(by_class), rel=1e-12)


def test_a_summary_is_equations_10_and_11() -> None:
    rng = np.random.default_rng(1)
    before, after, y = rng.uniform(1, 9, 40), rng.uniform(1, 9, 40), np.arange(40) % 3
    change = (before - after) / np.abs(before)
    right = np.where(np.arange(40) < 30, 1.0, 0.0)
    told = causes.summary({"logit": before, "change": change, "clipped": change / 2, "right": right}, y)
    apc = np.mean([np.mean([abs(b - a) / b for b, a in zip(before[y == c], after[y == c])]) for c in range(3)])  # noqa: B905
    positive = np.mean([np.mean(np.maximum(change[y == c], 0)) for c in range(3)])
    assert told["apc"] == pytest.approx(apc, rel=1e-12)
    assert told["positive"] == pytest.approx(positive, rel=1e-12)
    assert told["positive_clipped"] == pytest.approx(positive / 2, rel=1e-12)
    of_right = np.mean([np.mean(np.abs(change[:30][y[:30] == c])) for c in range(3)])
    assert told["apc_right"] == pytest.approx(of_right, rel=1e-12)
    assert told["apc_low"] < told["apc"] < told["apc_high"]
    assert told["accuracy"] == 0.75
    assert told["quantiles"]["0.5"] == pytest.approx(np.median(change), rel=1e-12)
    assert told["classes"]["2"]["samples"] == 13


def test_a_variant_may_train_on_more_images() -> None:
    assert causes.trained_images(Variant(trained_on=5.0), argparse.Namespace(images=10)) == 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_variants_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    out = tmp_path / "out"
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(out), "--networks", "mnist_mlp"]
    few = ["--samples", "30", "--images", "30", "--evaluated", "20", "--json", str(tmp_path / "rows.json")]
    titles = ["as in Table 1", "normalised inputs"]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "causes", *given, *few, "--variants", *titles])
    reproduce_paper.main()
    store = Results(out)
    plain = part_in(store, "causes", "mnist_mlp--as in Table 1").result

    net = mr.load("models_onnx/mnist_mlp/model.onnx")
    x_train, y_train = read_split(mnist, "train")
    x, y = read_split(mnist, "test")
    calibration, shown = (of[:, None].astype(np.float32) / 255 for of in (x_train, x[:20]))
    inverses = mr.fit(net, calibration, list(range(10)), labels=y_train)
    theirs = mr.metrics.apc(net, {c: inv.attribute(shown[y[:20] == c]) for c, inv in inverses.items()})
    # The logits of the last image of a batch may be summed in another order; S is fitted alike.
    assert plain["test"]["apc"] == pytest.approx(theirs.apc, rel=1e-5)
    assert plain["test"]["positive"] == pytest.approx(theirs.positive, rel=1e-5)
    assert len(list((out / "networks").iterdir())) == 1

    told = json.loads((tmp_path / "rows.json").read_text())
    rows = told["rows"]
    assert told["values"]["mnist_mlp_as_in_Table_1_test_positive"] == plain["test"]["positive"]
    assert [row["variant"] for row in rows] == titles
    assert rows[0]["test_apc"] == plain["test"]["apc"]
    assert rows[0]["test_q50"] == plain["test"]["quantiles"]["0.5"]
    assert rows[0]["calibration_highest"] == max(one["positive"] for one in plain["calibration"]["classes"].values())
    assert len(rows_of(causes.blocks(store))) == 4
