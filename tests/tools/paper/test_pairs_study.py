"""The study of options on scenes of two objects: a logit against all others, and what a run writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reproduce_paper
from paper import pairs_study, scenes
from tests.tools.training.clutter_data import files
from training.files import MODELS


def test_a_residual_has_nothing_of_the_other_logits() -> None:
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((200, 4)) @ draw.standard_normal((4, 4)) + 3
    made = (logits - logits.mean(axis=0)) @ pairs_study.residual_matrix(logits, 0.0).T
    for c in range(4):
        others = np.delete(logits, c, axis=1)
        # What is left of the logit by least squares with an intercept.
        design = np.column_stack([others, np.ones(200)])
        expected = logits[:, c] - design @ np.linalg.lstsq(design, logits[:, c], rcond=None)[0]
        np.testing.assert_allclose(made[:, c], expected, rtol=0, atol=1e-10 * np.abs(logits).max())
    far = pairs_study.residual_matrix(logits, 1e12)
    np.testing.assert_allclose(far, np.eye(4), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["clutter_se", "clutter_vgg"])
def test_the_changed_file_gives_the_logits_times_the_matrix(name: str) -> None:
    net, draw = scenes.network(name), np.random.default_rng(1)
    matrix = np.eye(15) + 0.1 * draw.standard_normal((15, 15))
    x = draw.random((3, 3, 64, 64), np.float32)
    _, before = net.predict(x)
    _, after = pairs_study.against_others(MODELS / name / "model.onnx", matrix).predict(x)
    # Products of single precision, of 64 features and 15 logits.
    tolerance = 64 * 15 * np.finfo(np.float32).eps * np.abs(before).max()
    np.testing.assert_allclose(after, before @ matrix.T, rtol=0, atol=tolerance)


def test_phrases_are_of_intervals_that_lie_apart() -> None:
    def row(title: str, box: float, mass: float) -> dict[str, Any]:
        ends = (("", 0.0), ("_low", -0.01), ("_high", 0.01))
        return {"variant": title} | {
            f"pairs_se_{what}{end}": of + by for what, of in (("box", box), ("mass", mass)) for end, by in ends
        }

    rows = [row("grad-cam", 0.9, 0.3), row("default", 0.5, 0.4), row("ridge 10", 0.6, 0.41), row("ridge 1", 0.4, 0.2)]
    told = pairs_study.phrases(rows)
    assert told["highest_box"] == "`pairs_se` ridge 10 (0.600)"
    assert told["ridge_10_box_above_default"] == "`pairs_se`"
    assert told["ridge_10_box_below_grad_cam"] == "`pairs_se`"
    assert told["ridge_10_mass_above_default"] == told["ridge_10_box_below_default"] == "none"
    assert told["ridge_10_mass_above_grad_cam"] == "`pairs_se`"
    assert told["ridge_1_mass_below_default"] == "`pairs_se`"


@pytest.mark.slow
def test_a_run_writes_a_row_a_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(tmp_path / "out")]
    titles = ["default", "against others", "grad-cam"]
    few = ["--networks", "clutter_se", "--validation", "40", "--calibration", "20", "--variants", *titles, "--all"]
    out = tmp_path / "rows.json"
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "pairs-study", *given, *few, "--json", str(out)])
    reproduce_paper.main()
    rows = {row["variant"]: row for row in json.loads(out.read_text())["rows"]}
    assert rows.keys() == set(titles)
    for row in rows.values():
        assert row["place"] == "last map"
        assert 0 < row["clutter_se_box_low"] <= row["clutter_se_box"] <= row["clutter_se_box_high"] < 1
    assert rows["default"]["clutter_se_mass"] != rows["against others"]["clutter_se_mass"]
