"""Two objects in one scene: where maps of either point, against sums written out, and what a run writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import pairs, pairs_maps, pairs_subject, scenes
from paper.places import last_map
from paper.results import Results
from tests.tools.paper.reading import part_in
from tests.tools.training.clutter_data import files
from training import clutter


def test_every_part_has_a_file_of_its_own(tmp_path: Path) -> None:
    store = Results(tmp_path)
    for part in pairs.expected():
        store.part(pairs.NAME, part, {}, lambda part=part: {"part": part})  # type: ignore[misc]
    assert [store.read(pairs.NAME, part).result for part in pairs.expected()] == [  # type: ignore[union-attr]
        {"part": part} for part in pairs.expected()
    ]


def test_box_and_mass_are_those_of_the_box_asked_for() -> None:
    maps = np.zeros((2, 2, 8, 8))
    maps[0, 0, :2, :2] = [[1, 2], [3, -9]]
    maps[0, 0, 4:6, 4:6] = 1
    maps[0, 0, 7, 7] = 10
    maps[1, 0, 4:6, 4:6] = 2
    maps[0, 1] = maps[1, 1] = -1
    boxes = np.array([[[0, 0, 2, 2], [4, 4, 6, 6]]] * 2)
    told = pairs_maps.pointing(list(maps), boxes)
    # Of the four highest of the first map three are in its box, all of the second's are; flat maps have none.
    assert [one[0] for one in told["boxes"]] == pytest.approx([3 / 8, 4 / 8])
    assert [one[0] for one in told["masses"]] == pytest.approx([6 / 20 / 2, 1 / 2])
    assert told["box"][0] == pytest.approx(np.mean([3 / 4, 0, 4 / 4, 0]))
    assert told["mass"][0] == pytest.approx(np.mean([6 / 20, 0, 1, 0]))
    assert told["empty"] == 2


def test_scenes_are_drawn_not_maps() -> None:
    """The two maps of a scene are not two scenes: where they are alike, the interval is as wide as that of one."""
    rng = np.random.default_rng(0)
    one = rng.random((50, 8, 8))
    boxes = np.broadcast_to(np.array([[[0, 0, 3, 3], [0, 0, 3, 3]]]), (50, 2, 4))
    told = pairs_maps.pointing([one, one], boxes)
    assert told["mass"] == pytest.approx(told["masses"][0])


def test_pixels_as_coarse_as_the_last_map_are_sums_over_its_places() -> None:
    maps = np.random.default_rng(1).random((3, 64, 64))
    told = pairs_maps.coarse(maps)
    assert told.shape == (3, 8, 8)
    assert told[2, 1, 7] == pytest.approx(maps[2, 8:16, 56:64].sum())


def test_the_square_of_tokens_leaves_the_class_token_out() -> None:
    values = np.random.default_rng(2).random((2, 65, 5))
    told = pairs_maps.summed(values, 2)
    assert told.shape == (2, 8, 8)
    assert told[1, 3, 4] == pytest.approx(values[1, 1 + 3 * 8 + 4].sum())


def test_maps_are_resized_as_saliency_does_it() -> None:
    net = scenes.network("clutter_se")
    x = np.random.default_rng(3).random((2, 3, 64, 64), np.float32)
    res = mr.attribute(net, x, [1, 2], "gradient", at=last_map(net), dtype="float32")
    told = pairs_maps.placed(pairs_maps.map_of(res), (64, 64))
    expected = mr.saliency(res, positive=False, size=(64, 64))
    # 64 channels are summed in single precision, in another order.
    np.testing.assert_allclose(told, expected, rtol=0, atol=64 * np.finfo(np.float32).eps * np.abs(expected).max())


def test_no_method_surpasses_the_oracle() -> None:
    boxes = np.array([[[3, 4, 20, 30], [30, 30, 60, 50]]])
    size = (64, 64)
    acts = np.random.default_rng(4).random((1, 5, 8, 8))
    for end, best in ((pairs_maps.LAST, 0.85), (pairs_maps.PIXELS, 1.0)):
        maps = [pairs_maps.without(pairs_maps.ORACLE, end, acts, 1, boxes[:, turn], size) for turn in (0, 1)]
        finest = [pairs_maps.at_places(one, end, size)[end] for one in maps if one is not None]
        told = pairs_maps.pointing(finest, boxes)
        assert told["box"][0] >= best
    assert pairs_maps.without(pairs_maps.CLASSLESS, pairs_maps.PIXELS, acts, 1, boxes[:, 0], size) is None
    centre = pairs_maps.without(pairs_maps.CENTRE, pairs_maps.PIXELS, acts, 1, boxes[:, 0], size)
    assert centre is not None
    assert np.unravel_index(centre[0].argmax(), size) == (31, 31)


def test_only_scenes_are_kept_whose_objects_are_named_first() -> None:
    net = scenes.network("clutter_se")
    x = np.random.default_rng(5).random((20, 3, 64, 64), np.float32)
    _, logits = net.predict(x)
    first, second = np.argsort(-logits, axis=1)[:, :2].T
    y = np.stack([second, first], axis=1)
    y[3, 0] = np.argsort(logits[3])[0]
    boxes = np.arange(20 * 8).reshape(20, 2, 4)
    kept = pairs_subject.recognised(net, pairs_subject.by_logit(net, scenes.Boxed(x, y, boxes)))
    assert np.array_equal(kept.x, np.delete(x, 3, axis=0))
    assert np.array_equal(kept.y[:, 0], np.delete(first, 3))
    assert np.array_equal(kept.boxes[:, 0], np.delete(boxes[:, 1], 3, axis=0))


@pytest.mark.slow
def test_either_object_is_explained_the_likelier_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(tmp_path / "out")]
    rows = ["--rows", "gradient", "grad-cam", "mip-in", "smoothgrad", "centre Gaussian", "class-less sum", "oracle"]
    few = ["--networks", "clutter_se", "--samples", "4", "--few", "3", "--calibration", "20", "--ends", "last map"]
    few += ["--all", *rows]
    out = tmp_path / "rows.json"
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "pairs", *given, *few, "--json", str(out)])
    reproduce_paper.main()
    drawn = clutter.compose(clutter.load_sources(mnist, fashion, "test"), "test", 4, scenes.PAIRS_SEED, pairs=True)
    net = scenes.network("clutter_se")
    x, at = drawn.x.astype(np.float32) / np.float32(255), last_map(net)
    masses = np.zeros((4, 2))
    for i in range(4):
        logits = [float(mr.attribute(net, x[i : i + 1], int(c), "gradient").output[0]) for c in drawn.y[i]]
        for turn, which in enumerate(np.argsort(logits)[::-1]):
            x0, y0, x1, y1 = drawn.boxes[i, which]
            res = mr.attribute(net, x[i : i + 1], int(drawn.y[i, which]), "gradient", at=at)
            one = np.maximum(mr.saliency(res, positive=False, size=(64, 64))[0], 0)
            masses[i, turn] = one[y0:y1, x0:x1].sum() / one.sum() if one.sum() > 0 else 0
    place = part_in(Results(tmp_path / "out"), "pairs", "clutter_se--gradient, last map").result["places"]["last map"]
    # Signals of the tool are of single precision.
    assert [one[0] for one in place["masses"]] == pytest.approx(masses.mean(axis=0), abs=1e-3)
    assert place["mass"][0] == pytest.approx(masses.mean(), abs=1e-3)
    assert place["mass"][1] <= place["mass"][0] <= place["mass"][2]
    written = json.loads(out.read_text())
    told = {row["method"]: row for row in written["rows"]}
    assert set(told) == set(rows[1:])
    assert {method: row["scenes"] for method, row in told.items()} == {**dict.fromkeys(told, 4), "smoothgrad": 3}
    # Networks that were not measured are not spoken of.
    assert written["values"]["last_box_lead"] == ""
    assert told["gradient"]["last_mass"] == place["mass"][0]
    assert told["oracle"]["last_box"] == max(row["last_box"] for row in told.values())
    assert told["grad-cam"]["pixels_box"] is None
