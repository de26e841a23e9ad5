"""The grid pointing game of all methods, on a small network that recognises coloured noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import grid, photographs
from paper.maps import batches
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
    monkeypatch.setattr(grid, "batches", lambda count, size: batches(count, min(size, 3)))
    rows = ["mip-in, last feature map", "mip-in", "gradient", "grad-cam", "patternnet"]
    few = ("--classes", "3", "--mosaics", "7", "--calibration", "24", "--ridge", "0.1")
    results = command(monkeypatch, tmp_path, *few, "--rows", *rows)
    net = mr.load(tmp_path / "model.onnx")
    images = photographs.photographs(tmp_path)
    right = photographs.recognised(images, logits_of(tmp_path / "model.onnx"), SIDE)
    classes = list(dict.fromkeys(one.label for one in right))[:3]
    x, labels = photographs.mosaics(right, 7, 0, SIDE, targets=classes)
    fitted_on, _ = photographs.calibration(images, 24, 0, SIDE, 0.0)
    for row, at in (("mip-in, last feature map", "features"), ("mip-in", "input"), ("gradient", "input")):
        for kind in ("contribution", "attribution"):
            scores = []
            for i in range(7):
                c = classes[i % 3]
                if row == "gradient":
                    res = mr.attribute(net, x[i : i + 1], c, row)
                else:
                    res = mr.fit(net, fitted_on, c, ridge=0.1).attribute(x[i : i + 1], at=at)
                (one,) = mr.saliency(res, kind=kind)
                scores.append(score_by_hand(one, labels[i].tolist().index(c)))
            result = results.read("pointing", row).result
            assert result["mean"][kind] == pytest.approx(np.mean(scores), abs=1e-3)
            assert result["error"][kind] == pytest.approx(np.std(scores) / np.sqrt(7), abs=1e-3)
    assert results.read("pointing", "grad-cam").options["recognised"] == 15
    assert {row[0] for row in rows_of(grid.blocks(results))} == set(rows)


def test_too_many_classes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(monkeypatch, tmp_path, "--classes", "16")
    assert "recognises photographs of 15 classes, not of 16" in capsys.readouterr().err
