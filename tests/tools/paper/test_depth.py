"""The grid pointing game by depth, on a small network that recognises coloured noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mipin_ref as mr
import reproduce_paper
from paper import depth_table, photographs, places
from tests.networks import to_onnx
from tests.oracles.spec import Add, Conv, Dense, GlobalAveragePool, Op, Reshape
from tests.tools.paper.pointing_data import SIDE, logits_of, recognisable


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that recognises images by their features, and a folder of them: one a class, the first misnamed."""
    return recognisable(tmp_path_factory.mktemp("photographs"))


def command(monkeypatch: pytest.MonkeyPatch, files: tuple[Path, Path], *options: str) -> None:
    model, folder = files
    given = ["--model", str(model), "--photographs", str(folder), *options]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "depth", *given])
    reproduce_paper.main()


SMALL = ("--classes", "3", "--mosaics", "3", "--calibration", "24", "--ridge", "0.1", "--dtype", "float64")


def score_by_hand(one: NDArray[np.floating[Any]], cell: int) -> float:
    """The share of a map whose sides are even."""
    h, w = (length // 2 for length in one.shape)
    row, column = divmod(cell, 2)
    positive = np.maximum(one, 0)
    inside = positive[row * h : (row + 1) * h, column * w : (column + 1) * w].sum()
    return float(inside / positive.sum()) if positive.any() else 0.0


@pytest.mark.slow
def test_the_table_holds_the_score_of_every_tensor(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    told_to = ("--out", str(out), "--json", str(tmp_path / "told.json"))
    command(monkeypatch, files, *SMALL, "--calibration-mosaics", "0.5", "--batch", "3", *told_to)
    study, told = json.loads(out.read_text()), json.loads((tmp_path / "told.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.json", "told.json"]
    assert [row["mean_contribution"] for row in told["rows"]] == [row["means"]["contribution"] for row in study["rows"]]
    assert told["values"]["last"] == study["rows"][1]["means"]["contribution"]
    printed, noted = capsys.readouterr()
    assert printed.count("\n") == 3 + len(study["rows"])
    assert "recognised: 01_" in noted

    model, folder = files
    net = mr.load(model)
    images = photographs.photographs(folder)
    right = photographs.recognised(images, logits_of(model), SIDE)
    assert (study["photographs"], study["recognised"], len(right)) == (16, 15, 15)
    classes, shown = study["classes"], [one for one in right if one.name in {one.name for one in images[::2]}]
    assert classes == [one.label for one in shown[:3]]
    x, _ = photographs.calibration(images[1::2], 24, 0, SIDE, 0.5)
    asked, labels = photographs.mosaics(shown, 9, 0, SIDE, targets=classes)
    assert study["mosaics"] == 9
    names = ["features", "pool", "inner relu", "input"]
    assert [row["tensor"] for row in study["rows"]] == ["features", *sorted(names, key=list(net.shapes).index)[::-1]]
    for row in study["rows"]:
        inverses = mr.fit(net, x, classes, at=row["tensor"], ridge=0.1, dtype="float64")
        for kind in ("contribution", "attribution"):
            by_class: dict[str, list[float]] = {str(c): [] for c in classes}
            for i, (mosaic, row_labels) in enumerate(zip(asked, labels, strict=True)):
                target = classes[i % 3]
                res = inverses[target].attribute(mosaic[None])
                (one,) = mr.saliency(res, kind=kind, size=(SIDE, SIDE) if row["resized"] else None)
                by_class[str(target)].append(score_by_hand(one, row_labels.tolist().index(target)))
            scores = [score for own in by_class.values() for score in own]
            assert row["means"][kind] == pytest.approx(np.mean(scores), rel=1e-9)
            assert row["errors"][kind] == pytest.approx(np.std(scores) / np.sqrt(9), rel=1e-9)
            assert row["by_class"][kind] == pytest.approx({c: np.mean(s) for c, s in by_class.items()}, rel=1e-9)
            assert f"{np.mean(scores):.3f} ± " in printed
        r2 = np.mean([inv.report[row["tensor"]].r2 for inv in inverses.values()])
        assert row["r2"] == pytest.approx(r2, rel=1e-9)


def test_all_classes_in_one_fit_give_the_same_table(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, option in (("together", "--no-one-by-one"), ("alone", "--one-by-one")):
        command(monkeypatch, files, *SMALL, option, "--out", str(tmp_path / name))
    together, alone = (json.loads((tmp_path / name).read_text()) for name in ("together", "alone"))
    for one, other in zip(together["rows"], alone["rows"], strict=True):
        assert one["tensor"] == other["tensor"]
        assert one["means"] == pytest.approx(other["means"], rel=1e-9)


def test_what_is_fitted_on_all_photographs_is_another_table(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = files
    rows = {}
    for name, options in (("apart", ()), ("seen", ("--seen",))):
        command(monkeypatch, files, *SMALL, *options, "--tensors", "last", "--out", str(tmp_path / name))
        study = json.loads((tmp_path / name).read_text())
        rows[name] = study["rows"][1]["means"]["contribution"]
        images = photographs.photographs(folder)
        right = photographs.recognised(images, logits_of(model), SIDE)
        shown = [one for one in right if one.name in {one.name for one in images[::2]}]
        x, _ = photographs.calibration(images if options else images[1::2], 24, 0, SIDE, 0.0)
        asked, labels = photographs.mosaics(shown, 9, 0, SIDE, targets=study["classes"])
        inverses = mr.fit(mr.load(model), x, study["classes"], at="features", ridge=0.1)
        scores = []
        for i, mosaic in enumerate(asked):
            target = study["classes"][i % 3]
            (one,) = mr.saliency(inverses[target].attribute(mosaic[None]))
            scores.append(score_by_hand(one, labels[i].tolist().index(target)))
        assert rows[name] == pytest.approx(np.mean(scores), rel=1e-9)
    assert rows["apart"] != rows["seen"]


def test_tensors_by_name_come_from_the_top_down(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.json"
    command(monkeypatch, files, *SMALL, "--tensors", "inner,last,sum", "--out", str(out))
    rows = json.loads(out.read_text())["rows"]
    assert [(row["tensor"], row["resized"]) for row in rows] == [
        ("features", True),
        ("features", False),
        ("sum", False),
        ("inner", False),
    ]
    # A pre-activation is not fitted: its signal is the activation's.
    assert [row["r2"] is None for row in rows] == [False, False, True, True]
    assert "| inner | 8×12×12 |  |" in capsys.readouterr().out


def test_which_tensors_are_explained_and_how_deep_the_fit_goes(files: tuple[Path, Path]) -> None:
    net = mr.load(files[0])
    fitted = ["flat", "features", "inner relu", "pool", "input"]
    ordered = ["features", "inner relu", "pool", "input"]
    assert places.chosen_tensors(net, ["all"], fitted) == ordered
    assert places.chosen_tensors(net, ["middle"], fitted) == ["pool"]
    assert places.chosen_tensors(net, ["input", "last"], fitted) == ["features", "input"]
    with pytest.raises(ValueError, match=r"'flat' of shape \[8\] has no two spatial axes"):
        places.chosen_tensors(net, ["flat"], fitted)
    with pytest.raises(ValueError, match="'average'"):
        places.chosen_tensors(net, ["average"], fitted)
    with pytest.raises(mr.InvalidData, match="did you mean 'inner'"):
        places.chosen_tensors(net, ["inne"], fitted)
    assert [places.deepest(net, [word]) for word in ("all", "middle", "input")] == [None] * 3
    assert places.deepest(net, ["last"]) == "features"
    assert places.deepest(net, ["pool", "inner", "last"]) == "pool"
    assert places.deepest(net, ["sum", "inner relu"]) == "inner relu"


def test_a_fit_cannot_stop_on_one_of_two_branches() -> None:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "left", rng.standard_normal((2, 3, 1, 1))),
        Conv(("input",), "right", rng.standard_normal((2, 3, 1, 1))),
        Add(("left", "right"), "sum"),
        GlobalAveragePool(("sum",), "average"),
        Reshape(("average",), "flat", (2,)),
        Dense(("flat",), "scores", rng.standard_normal((2, 4)), bias=np.zeros(4)),
    ]
    net = mr.load(to_onnx(ops, (3, 6, 6)))
    assert places.deepest(net, ["left", "right"]) is None
    assert places.deepest(net, ["left", "sum"]) == "left"


def test_rows_are_means_over_mosaics_and_r2_over_classes(files: tuple[Path, Path]) -> None:
    net = mr.load(files[0])
    top, deep = depth_table.Place("features", resized=True), depth_table.Place("pool")

    def one(scores: list[float], r2: float, empty: int) -> Any:
        keys = [(place, kind) for place in (top, deep) for kind in depth_table.KINDS]
        values = {key: np.array(scores) + (0.1 if key[1] == "attribution" else 0) for key in keys}
        return depth_table.Explained(values, {"features": r2}, dict.fromkeys(keys, empty))

    first, second = depth_table.table(net, {7: one([0.2, 0.4, 0.6], 0.5, 1), 9: one([0.8], 0.9, 0)})
    assert (first.tensor, first.resized, first.shape, first.r2) == ("features", True, (3, SIDE, SIDE), 0.7)
    assert (second.tensor, second.resized, second.shape, second.r2) == ("pool", False, (8, 12, 12), None)
    assert second.means == pytest.approx({"contribution": 0.5, "attribution": 0.6})
    assert second.errors == pytest.approx(dict.fromkeys(depth_table.KINDS, np.sqrt(0.05) / 2))
    assert second.empty == {"contribution": 1, "attribution": 1}
    assert second.by_class["contribution"] == pytest.approx({7: 0.4, 9: 0.8})
    told = depth_table.values([first, second])
    assert (told["last"], told["end"], told["tensors"], told["kept"]) == (second.means["contribution"], 0.5, 1, 1)
    assert told["lowest_tensor"] == told["highest_tensor"] == "pool"
    printed = depth_table.as_markdown([first, second]).splitlines()
    assert printed[2].startswith("| features, resized to the input | 24×24 |  | 0.500 ± 0.112 (1 empty) |")
    assert printed[3].startswith("| pool | 8×12×12 |  | 0.500 ± 0.112 (1 empty) | 0.600 ± 0.112 (1 empty) |")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--classes", "9"), "recognises photographs of 7 classes in a half, not of 9"),
        (("--mosaics", "0"), "must be at least 1"),
        (("--calibration-mosaics", "1.5"), "between 0 and 1"),
        (("--tensors", "nothing"), "tensor 'nothing'"),
        (("--photographs", "/nowhere"), "holds no photograph"),
        (("--model", "/nowhere.onnx"), "nowhere"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    files: tuple[Path, Path],
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, files, *options)
    assert caught.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(("reproduce_paper.py: error: ", "reproduce_paper.py depth: error: "))
    assert message in last


def test_grey_networks_are_refused(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(mr.__file__).parents[1] / "models_onnx" / "mnist_cnn" / "model.onnx"
    with pytest.raises(SystemExit):
        command(monkeypatch, files, "--model", str(model))
    assert "not square colour images" in capsys.readouterr().err
