"""What a file leaves open, said on the command line; targets in outputs of several axes; where inverses end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr
from mipin_ref.cli import main
from tests.graph.sketch import Sketch

SHIFT = np.array([[[0.25]], [[-0.5]]], np.float32)
OPEN = ("--input-shape", "x:1x2x6x6")


def sketch_of() -> tuple[Sketch, str]:
    """An image of open sizes, a shift [2, 1, 1] and a number, and a Sin, which has no inverse, before a Conv."""
    sketch = Sketch(2, "H", "W")
    sketch.inputs.append(helper.make_tensor_value_info("shift", TensorProto.FLOAT, [2, 1, 1]))
    sketch.inputs.append(helper.make_tensor_value_info("rate", TensorProto.FLOAT, []))
    moved = sketch.node("Mul", sketch.node("Add", "x", "shift"), "rate")
    waves = sketch.node("Sin", moved, out="waves")
    return sketch, sketch.node("Relu", sketch.conv(waves, 2, 3), out="map")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sketch, last = sketch_of()
    mean = sketch.node("Flatten", sketch.node("GlobalAveragePool", last))
    onnx.save(sketch.model(sketch.dense(mean, 3, 4)), "classes.onnx")
    sketch, last = sketch_of()
    onnx.save(sketch.model(sketch.conv(last, 3, 5, out="cells")), "cells.onnx")
    np.save("shift.npy", SHIFT)
    np.savez("shift.npz", shift=SHIFT, other=np.zeros(3))
    np.savez_compressed("named_x.npz", x=SHIFT)
    x = np.random.default_rng(0).random((12, 2, 6, 6)).astype(np.float32)
    np.save("x.npy", x)
    return tmp_path


def loaded(file: str) -> mr.Network:
    return mr.load(file, input_shape={"x": (2, 6, 6)}, given={"shift": SHIFT, "rate": 2.0})


def code_of(*arguments: str) -> object:
    """The exit code, of the parser or of the command."""
    try:
        return main(arguments)
    except SystemExit as left:
        return left.code


@pytest.mark.parametrize("shift", ["shift.npy", "shift.npz", "named_x.npz"])
@pytest.mark.parametrize("rate", ["2", "2.0", "2e0"])
def test_inspect_tells_where_inverses_end(
    folder: Path, shift: str, rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "classes.onnx", *OPEN, "--given", f"shift={shift}", "--given", f"rate={rate}"]) == 0
    table, block = capsys.readouterr().out.split("\n\n")
    assert table.splitlines()[-4:] == [
        "above the layers onnxruntime runs nodes of the file as they are: 1 Add, 1 Mul, 1 Sin",
        "  without an inverse: 1 Sin",
        "  they make 'waves' [N, 2×6×6]",
        "explained at 'waves' at most: inverses reach no further down",
    ]
    assert block.splitlines()[:-1] == [
        "tensors to explain (--at):",
        "  tensor  shape  map",
        "  map     3×4×4  --map attribution",
        "  waves   2×6×6  --map contribution",
    ]
    assert [row.split()[1] for row in table.splitlines()[1:-5]][:3] == ["Conv", "Activation", "GlobalAveragePool"]


def test_names_with_colons_and_inputs_that_hold_integers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As TensorFlow names them, and as networks of sound take their rate."""
    sketch = Sketch(4)
    sketch.inputs[:] = [
        helper.make_tensor_value_info("in:0", TensorProto.FLOAT, ["N", "features"]),
        helper.make_tensor_value_info("rate:0", TensorProto.INT64, []),
    ]
    scaled = sketch.node("Mul", "in:0", sketch.node("Cast", "rate:0", to=TensorProto.FLOAT))
    onnx.save(sketch.model(sketch.dense(scaled, 4, 3)), str(tmp_path / "net.onnx"))
    said = ["inspect", str(tmp_path / "net.onnx"), "--input-shape", "in:0:1x4", "--given"]
    assert main([*said, "rate:0=16000"]) == 0
    assert "input 'in:0' [N, 4] float32" in capsys.readouterr().out
    assert main([*said, "rate:0=1.5"]) == 2
    assert "given 'rate:0' is float64; the network reads int64" in capsys.readouterr().err


def test_fit_and_explain_take_what_load_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = (*OPEN, "--given", "shift=shift.npy", "--given", "rate=2")
    assert (
        main(["fit", "classes.onnx", "x.npy", *said, "--target", "1,3", "-o", "c{target}.mipin", "--at", "auto"]) == 0
    )
    assert "explained at 'map', the last map\n" in capsys.readouterr().out
    net, x = loaded("classes.onnx"), np.load("x.npy")
    expected = mr.fit(net, x, 3, at="map").attribute(x)
    again = ("explain", "classes.onnx", "x.npy", *said, "--inverse", "c3.mipin", "-o", "out", "--at", "auto")
    assert main(list(again)) == 0
    with np.load("out/attribution.npz") as stored:
        np.testing.assert_allclose(stored["attribution"], expected.attribution, rtol=1e-12, atol=1e-12)
    assert main(["patterns", "classes.onnx", "x.npy", *said, "-o", "p.patterns", "--at", "waves"]) == 0
    way = ("--method", "gradient", "--target", "1", "--at", "waves", "-o", "gradient")
    assert main(["explain", "classes.onnx", "x.npy", *said, *way]) == 0
    with np.load("gradient/attribution.npz") as stored:
        gradient = mr.attribute(net, x, 1, "gradient", at="waves").attribution
        np.testing.assert_allclose(stored["attribution"], gradient, rtol=1e-12, atol=1e-12)


def test_evaluate_and_compare_take_them_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = (*OPEN, "--given", "shift=shift.npy", "--given", "rate=2", "--methods", "gradient,occlusion-of-nothing")
    assert main(["evaluate", "sensitivity", "classes.onnx", "x.npy", *said, "--json"]) == 2
    assert "occlusion-of-nothing" in capsys.readouterr().err
    said = (*said[:-1], "grad-cam")
    assert main(["evaluate", "sensitivity", "classes.onnx", "x.npy", *said, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["options"]["given"] == [["shift", "shift.npy"], ["rate", 2]]
    assert told["options"]["input_shape"] == [["x", [2, 6, 6]]]
    assert main(["compare", "classes.onnx", "x.npy", *said, "--limit", "2", "-o", "report.html"]) == 0
    assert "shift=shift.npy" in Path("report.html").read_text()


def test_a_target_of_several_indices(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Colons join the indices of one target, commas part targets; files are named with dashes."""
    said = (*OPEN, "--given", "shift=shift.npy", "--given", "rate=2", "--at", "map")
    asked = ["fit", "cells.onnx", "x.npy", *said, "--target", "1:0:1,4:1:0"]
    assert main([*asked, "-o", "cell-{target}.mipin"]) == 0
    assert sorted(path.name for path in folder.glob("*.mipin")) == ["cell-1-0-1.mipin", "cell-4-1-0.mipin"]
    net, x = loaded("cells.onnx"), np.load("x.npy")
    expected = mr.fit(net, x, (4, 1, 0), at="map").attribute(x)
    way = ("--inverse", "cell-4-1-0.mipin", "--target", "4:1:0")
    assert main(["explain", "cells.onnx", "x.npy", *said, *way, "-o", "out"]) == 0
    with np.load("out/attribution.npz") as stored:
        np.testing.assert_allclose(stored["attribution"], expected.attribution, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(stored["output"], expected.output)
        assert json.loads(str(stored["header"]))["target"] == [4, 1, 0]
    way = ("--method", "gradient", "--target", "4:1:0")
    assert main(["explain", "cells.onnx", "x.npy", *said, *way, "-o", "gradient"]) == 0
    with np.load("gradient/attribution.npz") as stored:
        gradient = mr.attribute(net, x, (4, 1, 0), "gradient", at="map").attribution
        np.testing.assert_allclose(stored["attribution"], gradient, rtol=1e-10, atol=1e-12)
    capsys.readouterr()
    for target, message in {"5:0:0": "5, 0, 0) is out of range", "1:2": "has 2 indices", "1": "has 1 indices"}.items():
        assert main(["fit", "cells.onnx", "x.npy", *said, "--target", target, "-o", "no.mipin"]) == 2
        assert message in capsys.readouterr().err


def test_inspect_shows_the_part_of_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A detector joins what several branches make; one of them has no inverse near its end."""
    sketch = Sketch(2, 6, 6)
    left = sketch.conv(sketch.node("Relu", sketch.conv("x", 2, 3), out="left"), 3, 2, out="boxes")
    right = sketch.conv(sketch.node("Relu", sketch.conv("x", 2, 3), out="right"), 3, 4, out="scores")
    out = sketch.node("Concat", sketch.node("Sin", left, out="bent"), right, axis=1)
    file = str(tmp_path / "joined.onnx")
    onnx.save(sketch.model(out), file)
    assert main(["inspect", file]) == 0
    assert "this is of all targets at once: --target shows the part" in capsys.readouterr().out
    assert main(["inspect", file, "--target", "3:1:1"]) == 0
    shown = capsys.readouterr().out
    assert not any(word in shown for word in ("left", "bent", "at most"))
    lines = shown.splitlines()
    assert lines[-3:-1] == ["  right   3×4×4  --map attribution", "  x       2×6×6  --map contribution"]
    assert lines[-1].startswith(f"next: mipin explain {file} DATA")
    assert main(["inspect", file, "--target", "0:1:1"]) == 2
    assert "between tensor 'bent' and the target: nothing is to be fitted" in capsys.readouterr().err
    assert main(["inspect", file, "--target", "6:1:1"]) == 2
    assert "out of range" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input-shape", "x:2x6x6x6"], "the first size is the batch, which is free: write 1 there, not 2"),
        (["--input-shape", "2x6x6"], "must look like image:1x3x224x224, not '2x6x6'"),
        (["--input-shape", "x:1x2x-6"], "must look like image:1x3x224x224"),
        (["--input-shape", "x:1"], "must look like image:1x3x224x224"),
        (["--input-shape", "x:1x2x6x6", "--input-shape", "x:1x2x7x7"], "--input-shape is given twice for input 'x'"),
        (["--input-shape", "y:1x2x6x6"], "the network has no input 'y'; its inputs are x, shift, rate"),
        (["--given", "rate"], "must look like rate=16000 or state=FILE.npy, not 'rate'"),
        (["--given", "=3"], "must look like rate=16000"),
        (["--given", "rate="], "must look like rate=16000"),
        (["--given", "rate=1", "--given", "rate=2"], "--given is given twice for input 'rate'"),
        (["--given", "rate=nowhere.npy"], "nowhere.npy: no such file or folder"),
        ([*OPEN, "--given", "shift=shift.npy", "--given", "rate=nan"], "given 'rate' holds NaN or Inf"),
        (["--given", "shift=objects.npy"], "holds pickled Python objects, which are never read"),
        (["--given", "shift=broken.npy"], "broken.npy"),
        (["--given", "rate=shift.npz"], "shift.npz: no array 'rate' or 'x'; it holds"),
        (["--given", "shift=."], "a folder, where one array is needed"),
        (["--given", "shift=picture.png"], "no .npy or .npz file, which hold arrays as they are"),
        (
            [*OPEN, "--given", "rate=1", "--given", "shift=wide.npy"],
            "'shift' has shape [3, 1, 1]; the network reads 'shift' float [2, 1, 1]",
        ),
        (["--given", "noise=3"], "the network has no input 'noise'"),
        (["--target", "1:x"], "must be a whole number"),
    ],
)
def test_one_line_for_what_does_not_fit(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    np.save("wide.npy", np.zeros((3, 1, 1), np.float32))
    Path("broken.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{")
    Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    assert code_of("inspect", "classes.onnx", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("mipin")
    assert error.count("\n") == 1


def test_a_given_file_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = (*OPEN, "--given", "shift=shift.npy", "--given", "rate=2", "--target", "1", "-o", "shift.npy")
    assert main(["fit", "classes.onnx", "x.npy", *said]) == 2
    assert "-o would overwrite 'shift.npy', which is 'shift.npy', read as GIVEN" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("shift.npy"), SHIFT)
