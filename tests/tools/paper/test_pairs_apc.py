"""APC of scenes of two objects: Eq. 10 and 11 over both objects by loops, and what a run writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
import reproduce_paper
from paper import pairs_apc, scenes
from paper.pairs_rows import TUNED
from tests.tools.training.clutter_data import files
from training import clutter

REACH = (("", 0), ("_low", -0.05), ("_high", 0.05))


def test_a_summary_is_equations_10_and_11_over_both_objects() -> None:
    rng = np.random.default_rng(0)
    change = rng.normal(size=(40, 2))
    y = np.stack([np.arange(40) % 3, np.arange(40) % 3 + 1], axis=1)
    by_class: dict[int, list[float]] = {}
    for i in range(40):
        for turn in (0, 1):
            by_class.setdefault(int(y[i, turn]), []).append(float(change[i, turn]))
    told = pairs_apc.summary(change, y)
    assert told["apc"] == pytest.approx(np.mean([np.mean(np.abs(one)) for one in by_class.values()]), rel=1e-12)
    positive = np.mean([np.mean(np.maximum(one, 0)) for one in by_class.values()])
    assert told["positive"] == pytest.approx(positive, rel=1e-12)
    assert told["median"] == pytest.approx(np.median(np.abs(change)), rel=1e-12)
    assert told["apc_low"] < told["apc"] < told["apc_high"]


def test_phrases_name_networks_whose_intervals_lie_apart() -> None:
    def row(name: str, fit: str, apc: float, positive: float) -> dict[str, Any]:
        told = {"network": name, "fit": fit}
        ends = {f"{key}{end}": of + by for key, of in (("apc", apc), ("positive", positive)) for end, by in REACH}
        return {**told, **ends}

    rows = [row("a", "mip-in", 0.5, 0.3), row("a", TUNED, 0.8, 0.35), row("b", "mip-in", 0.5, 0.3)]
    rows += [row("b", TUNED, 0.9, 0.1), row("c", TUNED, 0.9, 0.1)]
    assert pairs_apc.phrases(rows) == {
        "apc_above": "`a`, `b`",
        "apc_below": "none",
        "positive_above": "none",
        "positive_below": "`b`",
    }


@pytest.mark.slow
def test_a_run_sets_the_preset_beside_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist, fashion = files(tmp_path)
    given = ["--mnist", str(mnist), "--fashion", str(fashion), "--results", str(tmp_path / "out")]
    few = ["--networks", "pairs_resnet", "--samples", "6", "--calibration", "8", "--all"]
    out = tmp_path / "rows.json"
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "pairs-apc", *given, *few, "--json", str(out)])
    reproduce_paper.main()
    told = {row["fit"]: row for row in json.loads(out.read_text())["rows"]}
    assert told.keys() == {"mip-in", TUNED}
    sources = (clutter.load_sources(mnist, fashion, split) for split in ("train", "test"))
    seeds = (scenes.CALIBRATION_SEED, scenes.PAIRS_SEED)
    fitted, drawn = (
        clutter.compose(of, split, count, seed, pairs=True)
        for of, split, count, seed in zip(sources, ("train", "test"), (8, 6), seeds, strict=True)
    )
    net = scenes.network("pairs_resnet")
    x, calibration = (one.x.astype(np.float32) / np.float32(255) for one in (drawn, fitted))
    by_class: dict[int, list[float]] = {}
    inverses = mr.fit(net, calibration, np.unique(drawn.y).tolist(), preset="localise", dtype="float32")
    for i in range(6):
        for c in drawn.y[i].tolist():
            signal = inverses[c].attribute(x[i : i + 1]).source.astype(np.float32)
            before, after = (float(net.predict(of)[1][0, c]) for of in (x[i : i + 1], signal))
            by_class.setdefault(c, []).append((before - after) / abs(before))
    expected = np.mean([np.mean(np.abs(one)) for one in by_class.values()])
    # Signals of single precision, fitted once for all classes here and there.
    assert told[TUNED]["apc"] == pytest.approx(expected, rel=1e-2)
    assert told["mip-in"]["apc"] != told[TUNED]["apc"]
    assert told[TUNED]["scenes"] == 6
