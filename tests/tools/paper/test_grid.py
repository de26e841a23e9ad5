"""The grid pointing game of all methods, on a small network that recognises coloured noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import grid, photographs
from paper.halves import halves
from paper.results import Results
from tests.tools.paper.pointing_data import SIDE, logits_of, recognisable
from tests.tools.paper.reading import rows_of


def score_by_hand(one: Any, cell: int) -> float:
    h, w = (length // 2 for length in one.shape)
    row, column = divmod(cell, 2)
    positive = np.maximum(one, 0)
    inside = positive[row * h : (row + 1) * h, column * w : (column + 1) * w].sum()
    return float(inside / positive.sum()) if positive.any() else 0.0


def command(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> Any:
    model, images = recognisable(folder)
    given = ["--model", str(model), "--photographs", str(images), "--results", str(folder / "out")]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "pointing", *given, *options])
    reproduce_paper.main()
    return Results(folder / "out")


def test_scores_are_those_of_the_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "BATCH", 2)
    seen = "mip-in, preset localise, fitted on all photographs"
    rows = ["mip-in", "mip-in, preset localise", seen, "gradient", "grad-cam", "patternnet", "class-less sum"]
    few = ("--classes", "3", "--mosaics", "1", "--calibration", "24", "--dtype", "float64")
    results = command(
        monkeypatch, tmp_path, *few, "--rows", *rows, "centre Gaussian", "--json", str(tmp_path / "rows.json")
    )
    net = mr.load(tmp_path / "model.onnx")
    images = photographs.photographs(tmp_path)
    right = {one.name for one in photographs.recognised(images, logits_of(tmp_path / "model.onnx"), SIDE)}
    made = {}
    for end, at in (("last map", "features"), ("pixels", "input")):
        for row, ridge in (("mip-in", 1e-3), ("mip-in, preset localise", 10.0), (seen, 10.0), ("gradient", None)):
            for kind in ("contribution", "attribution"):
                scores = []
                for own, other in ((images[0::2], images[1::2]), (images[1::2], images[0::2])):
                    shown = [one for one in own if one.name in right]
                    x, labels = photographs.mosaics(shown, 3, 0, SIDE, targets=[one.label for one in shown[:3]])
                    of = images if row == seen else other
                    fitted_on, _ = photographs.calibration(of, 24, 0, SIDE, 0.0)
                    for i in range(3):
                        c = shown[i].label
                        if ridge is None:
                            res = mr.attribute(net, x[i : i + 1], c, row, at=at)
                        else:
                            res = mr.fit(net, fitted_on, c, ridge=ridge).attribute(x[i : i + 1], at=at)
                        (one,) = mr.saliency(res, kind=kind)
                        scores.append(score_by_hand(one, labels[i].tolist().index(c)))
                told = results.read("pointing", f"{row}, {end}").result
                # One by one and in batches: sums in another order.
                assert told["scores"][kind] == pytest.approx(scores, rel=1e-6)
                made[row, end, kind] = np.mean(scores)
    centred = results.read("pointing", "centre Gaussian, pixels").result["scores"]["contribution"]
    assert centred == pytest.approx([0.25] * 6, rel=1e-12)
    assert "class-less sum, pixels" not in grid.parts()
    written = {row["method"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert set(written) == {*rows, "centre Gaussian"}
    for (row, end, kind), mean in made.items():
        assert written[row][f"{end.split()[0]}_{kind}"] == pytest.approx(mean, rel=1e-6)
    assert written["grad-cam"]["pixels_contribution"] is None
    assert {row[0] for row in rows_of(grid.blocks(results))} == set(written)


def test_no_half_is_fitted_on_what_it_explains(tmp_path: Path) -> None:
    recognisable(tmp_path)
    images = photographs.photographs(tmp_path)
    given: Any = {"crops": 30, "in_mosaics": 0.0, "classes": None, "seed": 3, "side": SIDE}
    first, second = halves(images, images[1:], mosaics=2, **given)
    assert sorted([*set(first.asked), *set(second.asked)]) == list(range(1, 16)), "each is asked for, in one of them"
    for half in (first, second):
        assert not set(half.held.ravel()) & set(half.seen)
        assert len(half.seen) == 8
        for i, place in enumerate(half.asked):
            assert images[place].label == half.y[i]
            assert half.held[i, half.cells[i]] == place
            row, column = divmod(int(half.cells[i]), 2)
            part = half.x[i, :, row * 12 : row * 12 + 12, column * 12 : column * 12 + 12]
            np.testing.assert_array_equal(part, photographs.prepared(images[place].pixels, 12))
        # The photographs are smooth: a crop's colours lie within those of one that it may be of.
        low, high = (
            np.array([reach(photographs.prepared(images[one].pixels, 24)) for one in half.seen])
            for reach in (lowest, highest)
        )
        for crop in half.fitted_on:
            assert ((low <= lowest(crop) + 0.2) & (highest(crop) - 0.2 <= high)).all(axis=1).any()


def lowest(x: Any) -> Any:
    return x.min(axis=(1, 2))


def highest(x: Any) -> Any:
    return x.max(axis=(1, 2))


def test_too_many_classes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(monkeypatch, tmp_path, "--classes", "9")
    assert "recognises photographs of 7 classes in a half, not of 9" in capsys.readouterr().err
