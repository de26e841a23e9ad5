"""`mipin evaluate` as a command: what is printed and written, methods that fail, errors in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.cli.evaluate.box import BoxMeasure
from mipin_ref.cli.evaluate.measure import MEASURES
from mipin_ref.cli.evaluate.study import Study
from mipin_ref.methods.cam import ActivationMap
from mipin_ref.panel.registry import METHODS
from mipin_ref.store import packages
from tests.cli.evaluate.files import CALIBRATION, as_json, boxes, evaluate, write_files
from tests.linked import linked
from tests.networks import to_onnx
from tests.oracles.spec import Conv, Dense, GlobalAveragePool, Op, Reshape

METRICS: dict[str, tuple[str, ...]] = {
    "apc": (),
    "box": ("--boxes", "data.npz"),
    "sensitivity": (),
    "grid": ("--labels", "data.npz", "--mosaics", "5"),
    "randomization": (),
    "deletion": ("--steps", "4"),
}
KEYS = [
    "format",
    "version",
    "packages",
    "metric",
    "title",
    "complete",
    "model",
    "data",
    "calibration",
    "options",
    "method_options",
    "batch",
    "settings",
    "methods",
    "failed",
]
ROWS: dict[str, set[str]] = {
    "apc": {"apc", "positive", "median", "samples", "left_out", "per_class"},
    "box": {"mean", "flat", "scores"},
    "sensitivity": {"mean", "zero", "distances"},
    "grid": {"mean", "standard_error", "empty", "scores"},
    "randomization": {"steps"},
    "deletion": {"deletion", "insertion"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    write_files(folder)
    return folder


@pytest.fixture(autouse=True)
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return linked(made, tmp_path, monkeypatch)


def test_every_metric_is_run_here() -> None:
    assert list(METRICS) == list(ROWS) == list(MEASURES)


@pytest.mark.parametrize("metric", METRICS)
def test_the_json_says_what_it_depends_on(metric: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = (*METRICS[metric], *CALIBRATION, "--methods", "patternnet,mip-in", "--limit", "40", "-o", "out.json")
    document = as_json(capsys, metric, *options, "--calibration-limit", "50", "--ridge", "0.5")
    assert list(document) == KEYS
    assert (document["format"], document["version"], document["metric"]) == ("mipin-evaluation", 1, metric)
    assert document["complete"] is True
    assert document["packages"] == packages()
    net = mr.load("net.onnx")
    assert document["model"] == {"file": "net.onnx", "sha256": net.sha256, "output": "scores", "classes": 5}
    assert document["data"]["samples"] == 40
    assert document["calibration"] == {"path": "data.npz", "samples": 50}
    assert document["method_options"]["mip-in"] == {"ridge": 0.5, "conv_bias": False, "fit_on": "all", "at": None}
    assert document["options"]["calibration_limit"] == 50
    assert document["failed"] == {}
    assert list(document["methods"]) == ["patternnet", "mip-in"]
    for row in document["methods"].values():
        assert set(row) == ROWS[metric]
    assert json.loads(Path("out.json").read_text()) == document


@pytest.mark.parametrize("metric", METRICS)
def test_tables_fit_a_terminal_and_list_what_fails(metric: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = "mip-in,patternnet" if metric == "apc" else "mip-in,gradient,patternnet,deeplift"
    calibration = CALIBRATION if metric == "apc" else ()
    assert evaluate(metric, *METRICS[metric], *calibration, "--methods", names, "--limit", "40") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    following = "".join(f" {word}" for word in calibration)
    shown = f"next: the maps beside each other: mipin compare net.onnx data.npz{following} --methods {names}"
    assert lines.pop() == f"{shown} -o report.html"
    assert max(map(len, lines)) <= 100
    rows = [name for line in lines for name in names.split(",") if line.startswith(f"{name}  ")]
    if metric == "apc":
        assert rows == ["mip-in", "patternnet"]
        return
    assert set(rows) == {"gradient", "deeplift"}
    failed = lines[lines.index("failed:") + 1 :]
    assert failed == [
        "  mip-in: mip-in must be fitted, and there are no calibration samples",
        "  patternnet: the pattern methods must be fitted, and there are no calibration samples",
    ]


def test_seeds_are_printed_and_all_methods_run(capsys: pytest.CaptureFixture[str]) -> None:
    every = ("--methods", "all")
    assert evaluate("grid", "--labels", "data.npz", "--seed", "12", "--mosaics", "3", *every, *CALIBRATION) == 0
    printed = capsys.readouterr().out
    assert "seed 12" in printed.replace("\n  ", " ")
    net = mr.load("net.onnx")
    for method, facts in METHODS.items():
        assert (f"\n{method} " in printed) == facts.suits(net)
    assert "failed" not in printed
    assert "left out" not in printed


def test_methods_of_hundreds_of_passes_run_where_they_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, or by an option of theirs; a measure that they have no part in does not speak of them."""
    given = ("grid", "--labels", "data.npz", "--mosaics", "2", *CALIBRATION)
    slow = [name for name, facts in METHODS.items() if facts.many_passes]
    assert evaluate(*given, "--option", "rise.samples=20") == 0
    printed = capsys.readouterr().out
    assert "\nrise " in printed
    assert not any(f"\n{name} " in printed for name in slow if name != "rise")
    assert "left out: score-cam, occlusion, kernel-shap, which take hundreds of forward passes" in printed
    assert evaluate(*given, "--methods", "occlusion", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["methods"]) == ["occlusion"]


def test_apc_lists_methods_with_a_source_signal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for every in ((), ("--methods", "all")):
        assert evaluate("apc", *CALIBRATION, "--limit", "40", *every) == 0
        printed = capsys.readouterr().out
        assert "left out" not in printed
        assert "failed" not in printed
        named = [name for name in mr.methods() if f"\n{name} " in printed]
        assert named == [name for name, facts in METHODS.items() if facts.signals]
    assert evaluate("apc", *CALIBRATION, "--limit", "40", "--methods", "mip-in,gradient") == 0
    assert "gradient: it has no source signal; mip-in and patternnet have one" in capsys.readouterr().out


def test_a_method_that_the_network_fails_is_told_and_the_rest_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A picture without channels, and no map behind it: nothing that a class activation map could explain."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Reshape(("input",), "flat", (64,)),
        Dense(("flat",), "scores", rng.standard_normal((64, 5))),
    ]
    onnx.save(to_onnx(ops, (8, 8)), "plain.onnx")
    net, x = mr.load("plain.onnx"), rng.standard_normal((9, 8, 8)).astype(np.float32)
    np.save("plain.npy", x)
    with pytest.raises(mr.MipinError) as alone:
        mr.attribute(net, x, 0, "grad-cam")
    cams = [name for name, method in METHODS.items() if issubclass(method, ActivationMap)]
    named = ",".join([*mr.Panel(net).names, *cams])
    given = ["sensitivity", "plain.onnx", "plain.npy", "--target", "0", "--against", "1", "--methods", named]
    assert main(["evaluate", *given, "--json", "--calibration", "plain.npy"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "grad-cam" in cams
    assert document["failed"] == dict.fromkeys(cams, str(alone.value))
    assert list(document["methods"]) == [*mr.Panel(net).names]


def test_where_no_method_is_left_the_reasons_are_printed_and_the_exit_code_is_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate("apc", "--methods", "mip-in,gradient", "--json", "-o", "out.json") == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["methods"] == {}
    assert set(json.loads(printed.out)["failed"]) == {"mip-in", "gradient"}
    assert printed.err == "mipin: no method could be measured; the reasons are listed in the output\n"
    assert json.loads(Path("out.json").read_text())["complete"] is True


def test_flat_maps_are_a_failure_of_their_method(capsys: pytest.CaptureFixture[str]) -> None:
    """A network without a single positive gradient along the input: the positive part of A is zero everywhere."""
    ops: list[Op] = [
        Reshape(("input",), "flat", (128,)),
        Dense(("flat",), "scores", -np.abs(np.random.default_rng(0).standard_normal((128, 5)))),
    ]
    onnx.save(to_onnx(ops, (2, 8, 8)), "flat.onnx")
    given = ["box", "flat.onnx", "data.npz", "--boxes", "data.npz", "--methods", "gradient,input-x-gradient", "--json"]
    assert main(["evaluate", *given, "--map", "attribution"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "nothing is ranked" in document["failed"]["gradient"]
    assert set(document["methods"]) == {"input-x-gradient"}
    assert document["methods"]["input-x-gradient"]["flat"] == 0


def test_ctrl_c_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole = BoxMeasure.row

    def row(self: BoxMeasure, name: str) -> Any:
        if name == "deeplift":
            raise KeyboardInterrupt
        return whole(self, name)

    monkeypatch.setattr(BoxMeasure, "row", row)
    options = ("--boxes", "data.npz", "--methods", "gradient,deeplift,input-x-gradient", "--limit", "5")
    assert evaluate("box", *options, "--json", "-o", "out.json") == 2
    printed = capsys.readouterr()
    assert "interrupted" in printed.err
    for document in (json.loads(printed.out), json.loads(Path("out.json").read_text())):
        assert list(document["methods"]) == ["gradient"]
        assert document["complete"] is False
    assert [name for name in os.listdir() if "tmp" in name] == []


def test_steps_before_a_failure_are_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Study.panel_of

    def panel_of(self: Study, net: Any, name: str) -> mr.Panel:
        own: Any = self.net
        if not np.array_equal(net.layers[0].weight, own.layers[0].weight):
            raise mr.InvalidData("the first layer is dead")
        return whole(self, net, name)

    given = ("--methods", "gradient", "--limit", "5")
    steps = as_json(capsys, "randomization", *given)["methods"]["gradient"]["steps"]
    monkeypatch.setattr(Study, "panel_of", panel_of)
    document = as_json(capsys, "randomization", *given)
    assert len(steps) == 2
    assert document["methods"]["gradient"]["steps"] == steps[:1]
    assert document["failed"] == {"gradient": "the first layer is dead"}
    assert evaluate("randomization", *given) == 0
    assert " -\n" in capsys.readouterr().out


ONE = ("--methods", "gradient", "--limit", "6")
BOX = ("--boxes", "data.npz")


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("apc", ("--methods", "mip_in"), "there is no method 'mip_in'; did you mean 'mip-in'?"),
        ("apc", ("--methods", "gradient,gradient"), "each once"),
        ("apc", ("--methods", "gradient,"), "there is no method ''"),
        ("apc", ("--option", "smoothgrad.sample=3"), "method 'smoothgrad' has no option 'sample'; its options are"),
        ("apc", ("--option", "gradient.samples=3"), "method 'gradient' has no option 'samples'; it has none"),
        ("apc", ("--option", "smothgrad.samples=3"), "there is no method 'smothgrad'; did you mean 'smoothgrad'?"),
        ("apc", ("--option", "samples=3"), "--option must look like smoothgrad.samples=50"),
        ("apc", ("--option", "smoothgrad.samples"), "must look like"),
        ("apc", ("--option", "mip-in.ridge=3"), "options of 'mip-in' are those of its fit"),
        ("apc", ("--option", "smoothgrad.samples=3", *ONE), "smoothgrad is not among the --methods"),
        ("apc", ("--labels", "few.npy"), "few.npy: there are 5 labels for 70 samples"),
        ("apc", ("--labels", "few.npy", "--limit", "6"), "there are 5 labels for 6 samples"),
        ("apc", ("--labels", "many.npy"), "there are 80 labels for 70 samples"),
        ("apc", ("--labels", "large.npy"), "labels run up to 5; the network has classes 0..4"),
        ("apc", ("--labels", "images"), "images without labels"),
        ("apc", ("--labels", "none.npy"), "no such file"),
        ("apc", ("--label-key", "y"), "--label-key goes with --labels"),
        ("apc", ("--calibration-key", "fit"), "go with --calibration"),
        ("apc", ("--calibration", "data.npz", "--calibration-key", "fits"), "no array 'fits'"),
        ("apc", ("--classes", "7"), "target 7 is out of range"),
        ("apc", ("--labels", "ones.npy", "--classes", "1,2"), "--classes: no sample is labelled as class 2"),
        ("apc", ("--key", "z"), "no array 'z'"),
        ("apc", ("-o", "nowhere/out.json"), "there is no folder 'nowhere'"),
        ("apc", ("-o", "images"), "'images' is a folder"),
        ("apc", ("--memory", "little"), "memory must look like"),
        ("apc", ("--ridge", "-1"), "ridge must be a number >= 0, not -1"),
        ("apc", ("--backend", "cupy"), "cupy"),
        ("apc", ("--key", "nan", *ONE), "NaN or Inf"),
        ("sensitivity", ("--key", "nan", *ONE, "--labels", "data.npz"), "NaN or Inf"),
        ("randomization", ("--key", "nan", *ONE, "--labels", "data.npz"), "NaN or Inf"),
        ("box", ("--boxes", "none.npz"), "there is no file 'none.npz'"),
        ("box", ("--boxes", "data.npz", "--box-key", "boxes"), "no array 'boxes'"),
        ("box", ("--boxes", "outside.npy", *ONE), "sample 2: box (6, 1, 9, 3) leaves its map of 8×8 pixels"),
        ("box", ("--boxes", "empty.npy", *ONE), "sample 2: box (3, 1, 3, 3) is empty"),
        ("box", ("--boxes", "short.npy"), "there are 6 boxes for 70 samples"),
        ("box", ("--boxes", "floats.npy"), "boxes must be integers [N, 4]"),
        ("box", ("--boxes", "whole.npy", *ONE), "no box covers less than 33 % of its image"),
        ("box", ("--boxes", "boxes.json"), "for a folder of images, which data.npz is not"),
        ("box", ("--boxes", "net.onnx"), "boxes are read from .npz, .npy and .json"),
        ("box", (*BOX, "--at", "mapp"), "tensor 'mapp' is not on the way"),
        ("box", (*BOX, "--at", "flat"), "--at: tensor 'flat' of shape [96] has no map"),
        ("sensitivity", ("--target", "1"), "--target and --against go together"),
        ("sensitivity", ("--target", "1", "--against", "1"), "are both 1"),
        ("sensitivity", ("--target", "1", "--against", "5"), "target 5 is out of range"),
        ("grid", (), "grid needs --labels"),
        ("grid", ("--labels", "data.npz", "--grid", "3"), "8×8 pixels has no 3×3 equal cells"),
        ("grid", ("--labels", "data.npz", "--grid", "1"), "--grid must be at least 2, not 1"),
        ("grid", ("--labels", "data.npz", "--grid", "4"), "needs images of 16 classes; there are 5"),
        ("grid", ("--labels", "wrong.npy"), "gets none of the samples right"),
        ("randomization", ("--tensors", "fired"), "'fired' is not the output of a layer with weights"),
        ("randomization", ("--tensors", "convv"), "did you mean 'conv'"),
        ("deletion", ("--deletion-fill", "1,2,3"), "fill must be a number, a value a channel (2)"),
        ("deletion", ("--insertion-fill", "inf"), "fill must be real and finite"),
    ],
)
def test_errors_are_one_line(
    metric: str, options: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bad_files()
    before = sorted(os.listdir())
    needed = BOX if metric == "box" and "--boxes" not in options else ()
    assert evaluate(metric, *needed, *options) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mipin: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""
    assert sorted(os.listdir()) == before


def write_bad_files() -> None:
    with np.load("data.npz") as arrays:
        held = dict(arrays)
    held["nan"] = np.where(np.arange(70)[:, None, None, None] == 5, np.nan, held["x"]).astype(np.float32)
    Path("data.npz").unlink()
    np.savez("data.npz", **held)
    good = boxes()
    for name, box in (("outside", [6, 1, 9, 3]), ("empty", [3, 1, 3, 3])):
        changed = good.copy()
        changed[2] = box
        np.save(f"{name}.npy", changed)
    np.save("short.npy", good[:6])
    np.save("floats.npy", good.astype(np.float64))
    np.save("whole.npy", np.tile([0, 0, 8, 8], (70, 1)))
    np.save("few.npy", np.arange(5))
    np.save("many.npy", np.arange(80) % 5)
    np.save("large.npy", np.arange(70) % 6)
    np.save("ones.npy", np.ones(70, np.int64))
    net = mr.load("net.onnx")
    scored = mr.attribute(net, held["x"], 0, "gradient", at=net.logits).value
    np.save("wrong.npy", np.argmin(scored, axis=1))
    Path("images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("images/a.png")
    Path("boxes.json").write_text("{}")


def test_maps_need_an_input_that_is_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    ops: list[Op] = [Dense(("input",), "scores", np.random.default_rng(0).standard_normal((128, 5)))]
    onnx.save(to_onnx(ops, (128,)), "features.onnx")
    np.save("features.npy", np.ones((3, 128), np.float32))
    np.save("labels.npy", np.zeros(3, np.int64))
    for metric, more in (("randomization", []), ("box", ["--boxes", "b.npy"]), ("grid", ["--labels", "labels.npy"])):
        assert main(["evaluate", metric, "features.onnx", "features.npy", "--methods", "gradient", *more]) == 2
        assert f"{metric} measures maps of images" in capsys.readouterr().err


def test_features_are_deleted_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a linear network the feature that adds most goes first."""
    draw = np.random.default_rng(0)
    weights, x = draw.standard_normal((6, 3)), draw.standard_normal((4, 6)).astype(np.float32)
    onnx.save(to_onnx([Dense(("input",), "scores", weights)], (6,)), "features.onnx")
    np.save("features.npy", x)
    options = ["--methods", "input-x-gradient", "--json", "--score", "logit", "--steps", "6"]
    assert main(["evaluate", "deletion", "features.onnx", "features.npy", *options]) == 0
    told = json.loads(capsys.readouterr().out)["methods"]["input-x-gradient"]["deletion"]
    parts = x * weights.T[(x @ weights).argmax(axis=1)]
    left = np.cumsum(np.sort(parts, axis=1), axis=1)[:, ::-1]  # all, and then without the largest, and so on
    expected = np.concatenate([left, np.zeros((4, 1))], axis=1).mean(axis=0)
    # Single precision adds up six numbers of at most a few units.
    np.testing.assert_allclose(told["curve"], expected, atol=50 * float(np.finfo(np.float32).eps))


def test_more_samples_than_memory(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((1, 1, 3, 3))),
        GlobalAveragePool(("conv",), "mean"),
        Reshape(("mean",), "flat", (1,)),
        Dense(("flat",), "scores", rng.standard_normal((1, 3))),
    ]
    onnx.save(to_onnx(ops, (1, 1000, 1000)), "large.onnx")
    np.save("many.npy", np.zeros((9, 1, 1000, 1000), np.float32))
    np.save("y.npy", np.zeros(9, np.int64))
    given = ["large.onnx", "many.npy", "--labels", "y.npy", "--methods", "gradient", "--memory", "64MB"]
    assert main(["evaluate", "deletion", *given]) == 2
    assert "more than --memory 64MB; give a --limit" in capsys.readouterr().err


def test_images_of_several_sizes_that_the_input_cannot_take(capsys: pytest.CaptureFixture[str]) -> None:
    """Two channels are no colour image that could be resized."""
    Path("images").mkdir()
    for name, size in (("a", (8, 8)), ("b", (9, 8))):
        Image.fromarray(np.zeros(size, np.uint8)).save(f"images/{name}.png")
    assert main(["evaluate", "deletion", "net.onnx", "images", "--methods", "gradient"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "images of several sizes need the height and width of the network's input" in printed.err


def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("boxes",), ("box", "net.onnx", "data.npz"), ("apc", "net.onnx", "data.npz", "--at", "map")):
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", *arguments])
        assert stopped.value.code == 2
        capsys.readouterr()
