"""Photographs cut in two, one part explained and the other to fit on: scores against loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import parts, photographs
from paper.results import Results
from tests.tools.paper.pointing_data import SIDE, logits_of, recognisable
from tests.tools.paper.reading import rows_of
from tests.tools.paper.test_grid import score_by_hand

WIDTH = 40
"""Pixels of a part."""


def halves_of(images: list[photographs.Photograph]) -> list[list[photographs.Photograph]]:
    """The left parts of images, and the right ones."""
    return [[one._replace(pixels=one.pixels[:, start : start + WIDTH]) for one in images] for start in (0, WIDTH)]


@pytest.mark.slow
def test_scores_are_those_of_the_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = recognisable(tmp_path, twice=True)
    told = tmp_path / "rows.json"
    given = ["--model", str(model), "--photographs", str(tmp_path), "--results", str(tmp_path / "out")]
    given += ["--mosaics", "1", "--calibration", "24", "--dtype", "float64", "--json", str(told)]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "parts", *given])
    reproduce_paper.main()
    net, images = mr.load(model), photographs.photographs(tmp_path)
    cut = halves_of(images)
    right = [{one.name for one in photographs.recognised(of, logits_of(model), SIDE)} for of in cut]
    # The first photograph is named as the second one is: the class of neither is its own.
    asked = [one.name for one in images[2:] if one.name in right[0] & right[1]]
    assert len(asked) < 14, "one that is not recognised in both parts is not asked for"
    scores: dict[str, list[float]] = {row: [] for row in parts.ROWS}
    places = []
    for turn in (0, 1):
        for part in (0, 1):
            shown = [one for one in cut[part][turn::2] if one.name in asked]
            x, labels = photographs.mosaics(shown, len(shown), 0, SIDE, targets=[one.label for one in shown])
            places += [[one.name for one in images].index(one.name) for one in shown]
            fitted_on = {
                parts.ABSENT: cut[1 - part][1 - turn :: 2],
                parts.PRESENT: cut[1 - part][turn::2],
                parts.SEEN: cut[part][turn::2],
            }
            for row in parts.ROWS:
                inverses = {}
                if row in fitted_on:
                    crops, _ = photographs.calibration(fitted_on[row], 24, 0, SIDE, 0.0)
                    inverses = dict(mr.fit(net, crops, [one.label for one in shown], ridge=10.0))
                for i, one in enumerate(shown):
                    if row in fitted_on:
                        res = inverses[one.label].attribute(x[i : i + 1], at="features")
                    else:
                        res = mr.attribute(net, x[i : i + 1], one.label, "grad-cam", at="features")
                    (score,) = mr.saliency(res, kind="contribution")
                    scores[row].append(score_by_hand(score, labels[i].tolist().index(one.label)))
    results = Results(tmp_path / "out")
    for row, expected in scores.items():
        kept = results.read("parts", row)
        assert kept is not None
        # One by one and all at once: sums in another order.
        assert kept.result["scores"] == pytest.approx(expected, rel=1e-6)
        assert kept.result["asked"] == places
    written = json.loads(told.read_text())
    assert [row["fitted_on"] for row in written["rows"]] == [*parts.FITTED_ON, None]
    for row, name in zip(written["rows"], parts.ROWS, strict=True):
        assert row["score"] == pytest.approx(np.mean(scores[name]), rel=1e-6)
        lead = np.mean(scores[name]) - np.mean(scores["grad-cam"])
        assert row["ahead"] is None if row["fitted_on"] is None else row["ahead"] == pytest.approx(lead, rel=1e-5)
    assert written["values"]["gain"] == pytest.approx(
        np.mean(scores[parts.PRESENT]) - np.mean(scores[parts.ABSENT]), rel=1e-5
    )
    assert written["values"]["asked"] == len(asked)
    assert len(rows_of(parts.blocks(results))) == len(parts.ROWS)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_a_photograph_is_cut_across_its_longer_side(shape: tuple[int, int]) -> None:
    pixels: Any = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    first, second = parts.cut(photographs.Photograph("a_1.jpg", 1, pixels))
    along = 0 if shape[0] > shape[1] else 1
    np.testing.assert_array_equal(np.concatenate([first.pixels, second.pixels], axis=along), pixels)
    assert abs(first.pixels.shape[along] - second.pixels.shape[along]) <= 1
