"""`mipin explain` preprocesses its images as the inverse or the patterns were fitted, and says where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.cli.test_explain import residual
from tests.networks import to_onnx

NORMAL = ("--mean", "0.5,0.4,0.6", "--std", "0.25")
MEAN = np.array([0.5, 0.4, 0.6], np.float32).reshape(3, 1, 1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "bytes.npy", rng.integers(0, 256, (30, 3, 8, 8), np.uint8))
    np.save(tmp_path / "floats.npy", (np.load(tmp_path / "bytes.npy") / 255).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


HOW = {
    "inverse": (("fit", "--target", "1"), ("--inverse", "saved"), "the inverse was fitted"),
    "patterns": (("patterns",), ("--method", "patternnet", "--patterns", "saved", "--target", "1"),
                 "the patterns were fitted"),
}  # fmt: skip
each_way = pytest.mark.parametrize("way", HOW)


def fit(way: str, *options: str, data: str = "bytes.npy") -> None:
    command, *more = HOW[way][0]
    assert main([command, "net.onnx", data, *more, "-o", "saved", *options]) == 0


def explain(way: str, *options: str, images: str = "bytes.npy") -> int:
    return main(["explain", "net.onnx", images, *HOW[way][1], "-o", "out", *options])


def stored() -> dict[str, Any]:
    with np.load("out/attribution.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@each_way
@pytest.mark.parametrize("options", [(), NORMAL, ("--std", ".25,.25,.25"), ("--scale", "255", "--mean", ".5,.4,.6")])
def test_the_preprocessing_of_the_fit_is_used(
    way: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    fit(way, *NORMAL)
    capsys.readouterr()
    assert explain(way, *options) == 0
    said = capsys.readouterr()
    assert "minus mean (0.5, 0.4, 0.6), then divided by std 0.25" in said.out.splitlines()[0]
    assert said.out.splitlines()[0].endswith(f", as {HOW[way][2]}")
    assert "warning" not in said.err
    x = (np.load("floats.npy") - MEAN) / np.float32(0.25)
    found = stored()
    np.testing.assert_array_equal(found["value"].astype(np.float32), x)
    expected = mr.attribute(mr.load("net.onnx"), x, 1, "gradient").output
    np.testing.assert_array_equal(found["output"], expected)


@each_way
@pytest.mark.parametrize(
    ("fitted", "given", "told"),
    [
        (NORMAL, ("--mean", "0.4"), "mean 0.4 is asked for, and {} with mean (0.5, 0.4, 0.6)"),
        (NORMAL, ("--mean", "0.5,0.4,0.7"), "mean (0.5, 0.4, 0.7) is asked for, and {} with mean (0.5, 0.4, 0.6)"),
        (NORMAL, (*NORMAL[:2], "--std", "0.5"), "std 0.5 is asked for, and {} with std 0.25"),
        (NORMAL, ("--scale", "1"), "scale 1 is asked for, and {} with scale 255 for bytes, else 1"),
        (("--scale", "100"), ("--scale", "255"), "scale 255 is asked for, and {} with scale 100"),
        ((), NORMAL, "mean (0.5, 0.4, 0.6) is asked for, and {} with mean none"),
        ((), ("--preprocess", "imagenet"), "mean (0.485, 0.456, 0.406) is asked for, and {} with mean none"),
        (NORMAL, ("--preprocess", "unit"), "preprocessing unit (values divided by 255) is asked for, and {} with"),
        ((), ("--std", "2"), "std 2 is asked for, and {} with std none"),
    ],
)
def test_another_preprocessing_is_refused_with_both_values(
    way: str, fitted: tuple[str, ...], given: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(way, *fitted)
    capsys.readouterr()
    assert explain(way, *given) == 2
    said = capsys.readouterr()
    assert told.format(HOW[way][2]) in said.err
    assert said.err.startswith("mipin: ")
    assert said.err.count("\n") == 1
    assert not Path("out").exists()


@each_way
def test_what_is_the_same_in_effect_is_no_other(way: str) -> None:
    fit(way)
    assert explain(way, "--mean", "0", "--std", "1,1,1", "--scale", "255") == 0
    assert explain(way, images="floats.npy") == 0
    fit(way, "--scale", "255", "--mean", "0")
    assert explain(way) == 0


@pytest.mark.parametrize("given", ["array", "file"])
def test_what_is_not_known_is_left_to_the_options(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An array in Python may have been preprocessed in any way before."""
    net = mr.load("net.onnx")
    x = (np.load("floats.npy") - np.float32(0.5)) / np.float32(0.25)
    np.save("x.npy", x)
    mr.fit(net, x if given == "array" else "x.npy", 1).save("saved")
    assert explain("inverse", "--mean", "0.5", "--std", "0.25") == (0 if given == "array" else 2)
    said = capsys.readouterr()
    if given == "array":
        assert "as the inverse was fitted" not in said.out
        np.testing.assert_array_equal(stored()["value"].astype(np.float32), x)
    else:
        assert "the inverse was fitted with mean none" in said.err


@each_way
def test_images_far_outside_are_a_line_on_stderr(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One, however many batches there are."""
    fit(way)
    many = np.tile(np.load("bytes.npy"), (10, 1, 1, 1)).astype(np.float32)
    np.save("far.npy", many)
    capsys.readouterr()
    assert explain(way, images="far.npy") == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: the input is far from the data that ")
    assert "runs from 0 to 255; calibration data ran from 0 to 1" in error
    assert error.count("\n") == 1
    assert explain(way) == 0
    assert capsys.readouterr().err == ""


def test_the_arrays_say_how_they_were_made() -> None:
    fit("inverse", *NORMAL)
    assert explain("inverse") == 0
    header = json.loads(str(stored()["header"]))
    assert header["preprocessing"]["mean"] == [0.5, 0.4, 0.6]
    assert header["preprocessing"]["shape"] == [3, 8, 8]
    assert main(["explain", "net.onnx", "floats.npy", "--method", "gradient", "--target", "1", "-o", "out"]) == 0
    assert json.loads(str(stored()["header"]))["preprocessing"]["mean"] is None


def test_a_fit_resumed_or_for_several_classes_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit", "net.onnx", "bytes.npy", "--target", "0,1", "-o", "c{target}.mipin", *NORMAL]
    assert main([*command, "--checkpoint", "kept"]) == 0
    first = [Path(f"c{target}.mipin").read_bytes() for target in (0, 1)]
    assert main([*command, "--checkpoint", "kept"]) == 0
    assert [Path(f"c{target}.mipin").read_bytes() for target in (0, 1)] == first
    net = mr.load("net.onnx")
    for target in (0, 1):
        inv = mr.load_inverse(f"c{target}.mipin", net)
        assert inv.preprocessing == mr.data.Preprocessing(mean=(0.5, 0.4, 0.6), std=0.25, shape=(3, 8, 8))
        np.testing.assert_allclose(inv.seen.high, (1 - MEAN.ravel()) / 0.25, rtol=4e-7)
