"""The command that each command suggests at its end runs as it is printed, word for word."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from mipin_ref.cli import main
from mipin_ref.cli.following import following, preprocessing_flags
from mipin_ref.data import PRESETS, Preprocessing
from tests.cli.test_door import SHIFT, sketch_of
from tests.graph.test_several_inputs import network, samples

OPEN = ["--input-shape", "x:1x2x6x6", "--given", "shift=shift.npy", "--given", "rate=2"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that leaves sizes and two inputs open, has two outputs and a space in its name; one of several inputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sketch, last = sketch_of()
    mean = sketch.node("Flatten", sketch.node("GlobalAveragePool", last))
    scores = sketch.dense(mean, 3, 4)
    model = sketch.model(scores)
    model.graph.output.append(onnx.helper.make_tensor_value_info(mean, onnx.TensorProto.FLOAT, ["N", 3]))
    onnx.save(model, "my net.onnx")
    onnx.save(network(), "two.onnx")
    np.savez("two.npz", **samples())
    np.save("shift.npy", SHIFT)
    draw = np.random.default_rng(0)
    np.savez("my data.npz", held_out=draw.random((12, 2, 6, 6)).astype(np.float32))
    np.savez("bytes.npz", held_out=draw.integers(0, 256, (12, 2, 6, 6), np.uint8))
    sketch, last = sketch_of()
    onnx.save(sketch.model(sketch.conv(last, 3, 5, out="cells")), "cells.onnx")
    return tmp_path


def scores_of(path: str) -> str:
    return str(onnx.load(path).graph.output[0].name)


def suggested(capsys: pytest.CaptureFixture[str], *, images: str = "IMAGES") -> list[str]:
    """The words of the command at the end of what was printed; images: what a user has for IMAGES or DATA."""
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: ")
    words = shlex.split(last[last.rindex("mipin ") :])
    return [images if word in ("IMAGES", "DATA") else word for word in words[1:]]


def run(words: list[str]) -> None:
    assert main(words) == 0, words


@pytest.mark.slow
def test_of_a_model_that_leaves_much_open(capsys: pytest.CaptureFixture[str]) -> None:
    said = [*OPEN, "--output", scores_of("my net.onnx")]
    read = [*said, "--key", "held_out"]
    run(["inspect", "my net.onnx", *said])
    words = suggested(capsys, images="my data.npz")
    assert words == ["explain", "my net.onnx", "my data.npz", "--output", said[-1], *OPEN]
    run([*words, "--key", "held_out"])
    following_explain = suggested(capsys)
    run(following_explain)
    measured = suggested(capsys)
    assert measured[:2] == ["evaluate", "deletion"]
    run(measured)
    again = suggested(capsys)
    assert again[0] == "compare"
    run(again)
    run(["fit", "my net.onnx", "my data.npz", *read, "--target", "1,2", "--at", "auto", "-o", "[a]-{target}.mipin"])
    run(suggested(capsys))
    run(suggested(capsys))
    run(["fit", "my net.onnx", "my data.npz", *read, "--target", "1", "--at", "auto", "-o", "[one].mipin"])
    run(suggested(capsys))
    run(["patterns", "my net.onnx", "my data.npz", *read, "--at", "auto", "-o", "net.patterns"])
    words = suggested(capsys)
    assert "--patterns" in words
    run(words)
    run(suggested(capsys))
    run(["inspect", "my net.onnx", "bytes.npz", *read])
    words = suggested(capsys)
    assert "held_out" in words
    run(words)


def test_of_a_preprocessing(capsys: pytest.CaptureFixture[str]) -> None:
    said = [*OPEN, "--output", scores_of("my net.onnx"), "--key", "held_out"]
    run(["explain", "my net.onnx", "bytes.npz", *said, "--scale", "200", "--mean=-0.5,0.25", "--method", "grad-cam"])
    words = suggested(capsys)
    assert words[words.index("--scale") + 1] == "200"
    assert "--mean=-0.5,0.25" in words
    run([*words, "--methods", "grad-cam"])
    measured = suggested(capsys)
    assert "--mean=-0.5,0.25" in measured
    run(measured)
    run(
        [
            "fit",
            "my net.onnx",
            "bytes.npz",
            *said,
            "--preprocess",
            "inception",
            "--target",
            "1",
            "--at",
            "map",
            "-o",
            "i",
        ]
    )
    run(suggested(capsys))
    words = suggested(capsys)
    assert words[words.index("--preprocess") + 1] == "inception"
    run(words)


def test_of_several_inputs_and_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    run(["explain", "two.onnx", "two.npz", "--input", "x"])
    words = suggested(capsys)
    assert words[words.index("--input") + 1] == "x"
    run(words)
    run(["inspect", "cells.onnx", *OPEN])
    run([*suggested(capsys, images="my data.npz"), "--key", "held_out"])


def test_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    onnx.save(to_onnx(LogisticRegression().fit(x, x[:, 1] > 0), x[:1], options={"zipmap": False}), "table.onnx")
    np.save("x.npy", x)
    run(["explain", "table.onnx", "x.npy"])
    run(suggested(capsys))
    run(suggested(capsys))


def test_images_that_cannot_be_read_are_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save("photos/a.png")
    Path("photos/b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    from tests.cli.test_explain import residual
    from tests.networks import to_onnx as exported

    onnx.save(exported(residual(), (3, 8, 8)), "rgb.onnx")
    assert main(["compare", "rgb.onnx", "photos", "--methods", "gradient", "-o", "r.html"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "next: open r.html in a browser"


@pytest.mark.slow
def test_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    run(["demo", "-o", "my demo"])
    run(suggested(capsys))


def test_words_that_begin_with_a_dash_and_presets() -> None:
    options = Namespace(model="-m.onnx", output="-scores", given=[("-a", -2.0), ("b", "it's.npy")], exif=False)
    line = following("explain", options, "-photos", keep=["exif"])
    assert shlex.split(line) == [
        *("mipin", "explain", "./-m.onnx", "./-photos", "--output=-scores", "--given=-a=-2"),
        *("--given", "b=it's.npy", "--no-exif"),
    ]
    assert preprocessing_flags(PRESETS["caffe"]) == ["--preprocess", "caffe"]
    assert preprocessing_flags(Preprocessing(1.0, 2.5, exif=False)) == ["--scale", "1", "--mean", "2.5", "--no-exif"]
    assert preprocessing_flags(None) == []
