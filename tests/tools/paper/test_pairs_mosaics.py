"""Mosaics of four objects: how they are cut and drawn, and what is counted in their cells, by loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import pairs_mosaics, scenes
from paper.places import last_map
from tests.tools.training.clutter_data import SOURCES, files
from training import clutter


def composed(count: int, seed: int = 3) -> scenes.Boxed:
    made = clutter.compose(SOURCES, "test", count, seed, pairs=True)
    return scenes.Boxed(made.x.astype(np.float32) / np.float32(255), made.y, made.boxes)


def test_a_window_holds_its_object_whole_and_nothing_of_the_other() -> None:
    pairs = composed(30)
    parts, classes = pairs_mosaics.windows(pairs)
    expected = []
    for i in range(30):
        for turn in (0, 1):
            x0, y0, x1, y1 = (int(one) for one in pairs.boxes[i, turn])
            left = min(max((x0 + x1 - 32) // 2, 0), 32)
            top = min(max((y0 + y1 - 32) // 2, 0), 32)
            assert left <= x0 < x1 <= left + 32, "objects are of 28 pixels at most"
            assert top <= y0 < y1 <= top + 32
            other = np.zeros((64, 64), bool)
            a0, b0, a1, b1 = pairs.boxes[i, 1 - turn]
            other[b0:b1, a0:a1] = True
            if not other[top : top + 32, left : left + 32].any():
                expected.append((i, turn, top, left))
    assert 0 < len(expected) < 60
    assert len(parts) == len(classes) == len(expected)
    for part, c, (i, turn, top, left) in zip(parts, classes, expected, strict=True):
        assert c == pairs.y[i, turn]
        assert np.array_equal(part, pairs.x[i, :, top : top + 32, left : left + 32])


def test_mosaics_are_of_four_classes_and_of_each_window_once() -> None:
    classes = np.repeat(np.arange(6), 40)
    parts = np.broadcast_to(np.arange(240, dtype=np.float32)[:, None, None, None], (240, 3, 32, 32))
    made = pairs_mosaics.mosaics(parts, classes, 30, 1)
    used = []
    for i in range(30):
        assert len(set(made.y[i].tolist())) == 4
        for turn in range(4):
            x0, y0, x1, y1 = made.boxes[i, turn]
            cell = made.x[i, :, y0:y1, x0:x1]
            assert cell.shape == (3, 32, 32)
            assert (cell == cell.flat[0]).all()
            used.append(int(cell.flat[0]))
            assert classes[used[-1]] == made.y[i, turn]
    assert len(set(used)) == len(used) == 120
    again = pairs_mosaics.mosaics(parts, classes, 30, 1)
    assert np.array_equal(made.x, again.x)
    assert not np.array_equal(made.y, pairs_mosaics.mosaics(parts, classes, 30, 2).y)
    with pytest.raises(ValueError, match="and there are 3"):
        pairs_mosaics.mosaics(parts[:120], classes[:120], 2, 1)


def test_shares_of_cells_are_those_of_the_grid_pointing_game() -> None:
    maps = np.random.default_rng(2).standard_normal((5, 8, 8))
    maps[3] = -1
    shares = pairs_mosaics.in_cells(maps)
    for turn in range(4):
        expected = mr.metrics.grid_pointing_game(maps, np.full(5, turn), 2).scores
        # Sums of 16 values of one sign.
        np.testing.assert_allclose(shares[:, turn], expected, rtol=64 * np.finfo(float).eps)
    assert (shares[3] == 0).all()


@pytest.mark.slow
def test_every_cell_is_asked_for_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(tmp_path / "out")]
    few = ["--networks", "pairs_se", "--mosaics", "6", "--calibration", "20", "--ends", "last map", "--all"]
    rows = ["gradient", "mip-in", "class-less sum"]
    out = tmp_path / "rows.json"
    told = ["--rows", *rows, "--json", str(out)]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "pairs-mosaics", *given, *few, *told])
    reproduce_paper.main()
    made = clutter.compose(clutter.load_sources(mnist, fashion, "test"), "test", 24, scenes.MOSAICS_SEED, pairs=True)
    drawn = scenes.Boxed(made.x.astype(np.float32) / np.float32(255), made.y, made.boxes)
    mosaics = pairs_mosaics.mosaics(*pairs_mosaics.windows(drawn), 6, scenes.MOSAICS_SEED)
    net = scenes.network("pairs_se")
    share, hits = [], []
    for i in range(6):
        for turn in range(4):
            target = int(mosaics.y[i, turn])
            res = mr.attribute(net, mosaics.x[i : i + 1], target, "gradient", at=last_map(net))
            one = np.maximum(res.contribution[0].sum(axis=0), 0)
            sums = [one[a : a + 4, b : b + 4].sum() for a in (0, 4) for b in (0, 4)]
            # A map without a positive value counts as 0, and points at no cell.
            share.append(sums[turn] / sum(sums) if sum(sums) > 0 else 0)
            hits.append(sum(sums) > 0 and int(np.argmax(sums)) == turn)
    found = {row["method"]: row for row in json.loads(out.read_text())["rows"]}
    assert found.keys() == set(rows)
    # Signals of the tool are of single precision.
    assert found["gradient"]["last_share"] == pytest.approx(np.mean(share), abs=1e-4)
    assert found["gradient"]["last_hit"] == pytest.approx(np.mean(hits))
    assert found["gradient"]["last_share_low"] < found["gradient"]["last_share"] < found["gradient"]["last_share_high"]
    assert found["gradient"]["cells"] == 24
    assert found["gradient"]["pixels_share"] is None
    # The same for every class: all four cells are asked for, and their shares make one.
    assert found["class-less sum"]["last_share"] == pytest.approx(0.25, abs=1e-6)
