"""What experiments tell as numbers for tables of figures: what their parts hold, of the networks asked for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reproduce_paper
from paper import accuracy, causes, clutter_boxes, grid, sensitivity, study, table1
from paper.depth_table import Row, figures
from paper.page import Table
from paper.results import Results
from paper.told import told

SPLIT: dict[str, Any] = {"apc": 0.1, "apc_low": 0.05, "apc_high": 0.15, "positive": 0.05, "positive_low": 0.04}
SPLIT |= {"positive_high": 0.06, "median": 0.07, "left_out": 0, "accuracy": 0.9}
SPLIT |= {"classes": {"0": {"samples": 12}, "1": {"samples": 13}}}

FEW = {"calibration": 5, "validation": 6, "samples": 7}


def asked(*networks: str) -> argparse.Namespace:
    return argparse.Namespace(networks=list(networks)) if networks else argparse.Namespace()


def test_table1_tells_the_networks_that_were_asked_for(tmp_path: Path) -> None:
    store, part = Results(tmp_path), {"r2_at_input": 0.5, "test": SPLIT, "calibration": {**SPLIT, "apc": 0.2}}
    for name in ("mnist_mlp--all", "mnist_cnn--target_class--conv_bias"):
        store.part("table1", name, {"samples": 50}, lambda: part)
    rows = told(table1, store, asked("mnist_cnn"))["rows"]
    assert [(row["network"], row["split"], row["apc"], row["conv_bias"]) for row in rows] == [
        ("mnist_cnn", "test", 0.1, True),
        ("mnist_cnn", "calibration", 0.2, True),
    ]
    assert rows[0]["counted"] == 25
    values = told(table1, store, asked("mnist_cnn"))["values"]
    assert values["mnist_cnn_target_class_conv_bias_calibration_apc"] == 0.2
    assert values["mnist_mlp_all_test_positive_high"] == 0.06
    assert values["mnist_cnn_samples"] == 50
    assert (rows[0]["paper_apc"], rows[0]["paper_positive"], rows[0]["samples"]) == (0.165, 0.023, 50)
    (table,) = table1.blocks(store)
    assert isinstance(table, Table)
    assert [row[4] for row in table.rows] == ["10.0% (5.0% to 15.0%)", "20.0% (5.0% to 15.0%)"] * 2


def test_accuracy(tmp_path: Path) -> None:
    store = Results(tmp_path)
    store.part("accuracy", "clutter_vgg", {"samples": 10, "seed": 1}, lambda: {"accuracy": 0.5})
    row = {"network": "clutter_vgg", "accuracy": 0.5, "samples": 10, "seed": 1}
    assert told(accuracy, store, asked("clutter_vgg", "clutter_resnet"))["rows"] == [row]
    assert told(accuracy, store, asked("clutter_resnet"))["rows"] == []


def test_sensitivity_ranks_what_was_measured(tmp_path: Path) -> None:
    store = Results(tmp_path)

    def result(mean: float) -> dict[str, Any]:
        means = {"attribution": mean, "contribution": 2 * mean}
        return {"mean": means, "low": {"attribution": 0.1, "contribution": 0.2}, "high": {}, "zero": {"attribution": 1}}

    for method, mean in (("gradient", 3.0), ("deconvnet", 4.0), ("smoothgrad", 5.0), ("grad-cam", 9.0)):
        store.part("sensitivity", method, {"samples": 20}, lambda mean=mean: result(mean))  # type: ignore[misc]
    store.part("sensitivity", "deeplift", {"samples": 20}, lambda: {"failed": "no rule"})
    made = told(sensitivity, store, asked())
    assert [row["method"] for row in made["rows"]] == ["smoothgrad", "deconvnet", "gradient", "grad-cam"]
    last = made["rows"][-1]
    assert (last["mean_attribution"], last["mean_contribution"], last["mean_positive_part"]) == (None, 18.0, None)
    assert made["rows"][0]["paper"] == 6.45
    assert (made["values"]["gradient_mean_attribution"], made["values"]["gradient_high_attribution"]) == (3.0, None)
    assert made["values"]["images"] == 20
    # Of three methods that the paper has too ours rank 3, 4, 5 and the paper's 7.18, 6.42, 6.45.
    assert made["values"]["methods_positive_part"] == 0
    assert made["values"]["order_positive_part"] is None


def test_pointing(tmp_path: Path) -> None:
    store = Results(tmp_path)
    scores = {"gradient": 0.4, "deep-taylor": 0.6, "mip-in": 0.5, "mip-in, preset localise": 0.75}
    for row, score in scores.items():
        of_kinds = {"contribution": [score - 0.1, score + 0.1], "attribution": [0.25, 0.25]}
        one = {"scores": of_kinds, "empty": {"contribution": 0, "attribution": 2}, "asked": [3, 3]}
        store.part("pointing", f"{row}, pixels", {}, lambda one=one: one)  # type: ignore[misc]
    store.part("pointing", "deeplift, pixels", {}, lambda: {"failed": "no rule"})
    centre = {"scores": {"contribution": [0.25] * 2}, "empty": {"contribution": 0, "attribution": 0}, "asked": [3, 3]}
    store.part("pointing", "centre Gaussian, pixels", {}, lambda: centre)
    made = told(grid, store, asked())
    assert [row["method"] for row in made["rows"]] == [*sorted(scores, key=scores.__getitem__)[::-1], "centre Gaussian"]
    for row in made["rows"][:-1]:
        # Both mosaics ask for one photograph: whatever is drawn, the mean is the same.
        whole = [row[f"pixels_contribution{end}"] for end in ("", "_low", "_high")]
        assert whole == pytest.approx([scores[row["method"]]] * 3)
        assert (row["pixels_attribution"], row["pixels_attribution_empty"], row["last_contribution"]) == (0.25, 2, None)
    assert (made["values"]["pixels_best"], made["values"]["last_best"]) == ("deep-taylor", None)
    ahead = [made["values"][f"pixels_{name}_ahead"] for name in ("default", "localise")]
    assert ahead == pytest.approx([-0.1, 0.15])


def test_variants_that_were_not_asked_for_are_not_told_again(tmp_path: Path) -> None:
    """Another command of the same table has told them."""
    store = Results(tmp_path)
    split = {**SPLIT, "logit": 2.0, "quantiles": {"0.5": 0.1}, "classes": {"0": {"positive": 0.1}}}
    for title in ("as in Table 1", "ridge 50", "dropout 0.5"):
        part = {"r2": {"input": 0.5}, "test": split, "calibration": split}
        store.part("causes", f"mnist_mlp--{title}", FEW | {"evaluated": 4}, lambda part=part: part)  # type: ignore[misc]
    options = argparse.Namespace(networks=["mnist_mlp"], variants=["dropout 0.5", "as in Table 1"])
    made = told(causes, store, options)
    assert [row["variant"] for row in made["rows"]] == ["as in Table 1", "dropout 0.5"]
    assert "mnist_mlp_ridge_50_test_apc" in made["values"]


def test_a_study_tells_what_it_chose(tmp_path: Path) -> None:
    store = Results(tmp_path)
    for variant, score in (("ridge 1", 0.5), ("ridge 100", 0.625), ("input_mask", 0.25)):
        accuracy = {"relu": {"magnitude": score, "contribution": None}, "input": {"attribution": 0.5625}}
        store.part("study", f"clutter_vgg--{variant}", FEW, lambda of=accuracy: {"accuracy": of})  # type: ignore[misc]
    made = told(study, store, asked())
    assert made == {
        "rows": [],
        "values": {
            "clutter_vgg_chosen_score": 0.625,
            "clutter_vgg_chosen_variant": "ridge 100",
            "clutter_vgg_chosen_tensor": "relu",
            "clutter_vgg_chosen_kind": "magnitude",
        },
    }


def test_boxes_are_ranked_by_network(tmp_path: Path) -> None:
    store = Results(tmp_path)
    for network, method, score in (("vgg", "gradient", 0.5), ("vgg", "deconvnet", 0.6), ("resnet", "grad-cam", 0.7)):
        scores = {"contribution": 0.2, "attribution": 0.3}
        part = {
            "test": score,
            "kind": "|A·X|",
            "at": "",
            "validation": scores,
            "scores": [score, score, None],
            "chance": 0.14,
        }
        store.part("clutter", f"clutter_{network}--{method}", FEW, lambda part=part: part)  # type: ignore[misc]
    store.part("clutter", "clutter_vgg--deeplift", {}, lambda: {"failed": "no rule", "at": "the pixels"})
    rows = told(clutter_boxes, store, asked("clutter_vgg"))["rows"]
    assert [(row["method"], row["box"]) for row in rows] == [("deconvnet", 0.6), ("gradient", 0.5)]
    assert [row["paper"] for row in rows] == [0.226, 0.345]
    assert [(row["low"], row["high"], row["where"]) for row in rows] == [(0.6, 0.6, "pixels"), (0.5, 0.5, "pixels")]
    (row,) = told(clutter_boxes, store, asked("clutter_resnet"))["rows"]
    assert (row["where"], row["paper"]) == ("last map", 0.512), "Grad-CAM's own place"


def test_a_margin_is_of_the_same_scenes(tmp_path: Path) -> None:
    """Two rows that differ by as much on every scene have a margin without an interval, however much scenes differ."""
    store, scores = Results(tmp_path), np.random.default_rng(0).random(50).tolist()
    rows = {"mip-in": scores, "gradient": [one + 0.125 for one in scores], "deconvnet": [0.0] * 50}
    for method, of in rows.items():
        made = {"test": float(np.mean(of)), "kind": "|A·X|", "at": "", "validation": {}, "scores": of, "chance": 0.14}
        store.part("clutter", f"clutter_vgg--{method}", FEW, lambda made=made: made)  # type: ignore[misc]
    values = told(clutter_boxes, store, asked("clutter_vgg"))["values"]
    margin = [values[f"clutter_vgg_mip_in_pixels_margin{end}"] for end in ("", "_low", "_high")]
    assert margin == pytest.approx([-0.125] * 3, abs=1e-12)
    assert values["clutter_vgg_rival"] == "gradient"
    assert values["clutter_vgg_rival_box"] == pytest.approx(np.mean(scores) + 0.125, abs=1e-12)
    assert (values["clutter_vgg_samples"], values["clutter_vgg_chance"]) == (7, 0.14)
    assert values["clutter_vgg_mip_in_pixels_low"] < np.mean(scores) < values["clutter_vgg_mip_in_pixels_high"]


def test_a_row_by_depth() -> None:
    kinds = {"contribution": 0.5, "attribution": 0.25}
    row = Row("relu", (8, 4, 4), False, 0.9, kinds, kinds, {"contribution": 0, "attribution": 1}, {})
    told = {"tensor": "relu", "shape": "8×4×4", "resized": False, "r2": 0.9, "mean_contribution": 0.5}
    told |= {"mean_attribution": 0.25, "error_contribution": 0.5, "error_attribution": 0.25}
    assert figures(row) == {**told, "empty_contribution": 0, "empty_attribution": 1}


def test_a_command_writes_them_beside_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        accuracy,
        "run",
        lambda options, results: results.part("accuracy", "clutter_vgg", {"samples": 4, "seed": 2}, made),
    )

    def made() -> dict[str, Any]:
        return {"accuracy": float(np.float32(0.25))}

    out, given = tmp_path / "told.json", ["--mnist", "m.npz", "--fashion", "f.npz", "--results", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "accuracy", *given, "--json", str(out)])
    reproduce_paper.main()
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["rows"] == [{"network": "clutter_vgg", "accuracy": 0.25, "samples": 4, "seed": 2}]
