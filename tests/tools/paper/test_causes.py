"""What Table 1 depends on: variants from end to end."""

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
