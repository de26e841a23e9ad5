"""The command line as a user meets it: real files, real processes, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.inverse.test_bad_input import X
from tests.networks import sample_inputs, to_onnx
from tests.networks.dead import own_heads
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with net.onnx, x.npy and images.npz (bytes)."""
    rng = np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 1, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (32,)),
        Dense(("flat",), "scores", rng.standard_normal((32, 3))),
    ]
    onnx.save(to_onnx(ops, (1, 6, 6)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "images.npz", x=rng.integers(0, 256, (12, 6, 6), np.uint8), y=np.arange(12) % 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_fit_explain_round_trip(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "net.onnx", "x.npy", "--target", "1", "-o", "one.mipin") == 0
    assert run("explain", "net.onnx", "x.npy", "--inverse", "one.mipin", "-o", "out", "--limit", "11") == 0
    printed = capsys.readouterr().out
    expected = mr.fit(mr.load("net.onnx"), X, 1).attribute(X[:11])
    with np.load("out/attribution.npz", allow_pickle=False) as stored:
        for name in ("value", "source", "attribution", "contribution", "output"):
            assert np.array_equal(stored[name], getattr(expected, name))
        assert json.loads(str(stored["header"]))["target"] == 1
    pictures = [f"overlay_{i:05d}_image_{i}.png" for i in range(11)]
    assert sorted(os.listdir("out")) == sorted(["attribution.npz", "explained.json", "index.html", *pictures])
    assert all(path in printed for path in ("attribution.npz", pictures[10], "one.mipin"))


def test_classes_that_share_a_part_lie_in_one_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless the name asks for one each."""
    shared = ["fit", "net.onnx", "x.npy", "--target", "all", "--common", "relu", "-o"]
    assert run(*shared, "all.mipin") == 0
    assert "3 classes: all.mipin" in capsys.readouterr().out
    assert run("explain", "net.onnx", "x.npy", "--inverse", "all.mipin", "-o", "out", "--limit", "4") == 0
    assert run(*shared, "class-{target}.mipin") == 0
    net = mr.load("net.onnx")
    expected = mr.fit(net, X, "all", common="relu")
    for target, inverse in mr.load_inverse("all.mipin", net).items():
        one = mr.load_inverse(f"class-{target}.mipin", net)
        for loaded in (inverse, one):
            assert np.array_equal(loaded.attribute(X).attribution, expected[target].attribute(X).attribution)


def test_classes_that_share_nothing_are_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They depend on different tensors, so that there is no file of all of them; but what was fitted is not lost."""
    monkeypatch.chdir(tmp_path)
    network = own_heads(0).network
    onnx.save(to_onnx(network.ops, network.input_shape), "heads.onnx")
    np.save("few.npy", sample_inputs(network.input_shape, 20, 0).astype(np.float32))
    assert run("fit", "heads.onnx", "few.npy", "--target", "0,1", "--common", "auto", "-o", "all.mipin") == 0
    printed = capsys.readouterr().out
    net, x = mr.load("heads.onnx"), np.load("few.npy")
    for target in (0, 1):
        assert f"class {target}: all-{target}.mipin" in printed
        expected = mr.fit(net, x, target).attribute(x).attribution
        assert np.array_equal(mr.load_inverse(f"all-{target}.mipin", net).attribute(x).attribution, expected)
    assert "--inverse 'all-*.mipin'" in printed


def test_several_classes_and_bytes_are_scaled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--labels", "images.npz", "--fit-on", "target_class", "--dtype", "float32", "--conv-bias"]
    assert run("fit", "net.onnx", "images.npz", "--target", "all", "-o", "c{target}.mipin", *arguments) == 0
    assert "255" in capsys.readouterr().out
    net = mr.load("net.onnx")
    with np.load("images.npz") as stored:
        x, y = stored["x"][:, None].astype(np.float32) / 255, stored["y"]
    options = {"labels": y, "fit_on": "target_class", "dtype": "float32", "conv_bias": True}
    for target in range(3):
        loaded, fitted = mr.load_inverse(f"c{target}.mipin", net), mr.fit(net, x, target, **options)
        assert np.array_equal(loaded.attribute(x).source, fitted.attribute(x).source)


def test_inspect_shows_every_layer_and_its_inverse(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "net.onnx") == 0
    printed = capsys.readouterr().out
    for text in ("Conv", "2@3×3", "Relu", "Dense", "adjoint conv, Eq. 7: 18", "passes"):
        assert text in printed


def test_an_inner_tensor_without_an_image_shape(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", "net.onnx", "x.npy", "--target", "1", "--at", "flat", "-o", "flat.mipin") == 0
    assert run("explain", "net.onnx", "x.npy", "--inverse", "flat.mipin", "-o", "out") == 0
    check_drawn("table", "image", len(X), capsys.readouterr().out)
    expected = mr.fit(mr.load("net.onnx"), X, 1, at="flat").attribute(X)
    with np.load("out/attribution.npz", allow_pickle=False) as stored:
        assert "map" not in stored
        assert np.array_equal(stored["contribution"], expected.contribution)


def check_drawn(kind: str, noun: str, samples: int, printed: str) -> None:
    """What has no places in an image is drawn as bars or curves: a drawing a sample, and no PNG."""
    drawings = [f"overlay_{i:05d}_{noun}_{i}.svg" for i in range(samples)]
    assert sorted(os.listdir("out")) == sorted(["attribution.npz", "explained.json", "index.html", *drawings])
    assert os.path.join("out", drawings[-1]) in printed
    with np.load("out/attribution.npz", allow_pickle=False) as stored:
        assert json.loads(str(stored["header"]))["kind"] == kind


def test_signals_without_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A 1-D network: channels and positions, but no image."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 2, 3))),
        Reshape(("conv",), "flat", (12,)),
        Dense(("flat",), "scores", rng.standard_normal((12, 3))),
    ]
    onnx.save(to_onnx(ops, (2, 8)), str(folder / "line.onnx"))
    np.save("line.npy", rng.standard_normal((20, 2, 8)).astype(np.float32))
    assert run("fit", "line.onnx", "line.npy", "--target", "1", "-o", "line.mipin") == 0
    assert run("explain", "line.onnx", "line.npy", "--inverse", "line.mipin", "-o", "out") == 0
    check_drawn("signal", "signal", 20, capsys.readouterr().out)
    net, x = mr.load("line.onnx"), np.load("line.npy")
    with np.load("out/attribution.npz", allow_pickle=False) as stored:
        assert "map" not in stored
        assert np.array_equal(stored["contribution"], mr.fit(net, x, 1).attribute(x).contribution)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "no.onnx", "x.npy", "--target", "1", "-o", "a.mipin"], "no.onnx"),
        (["fit", "x.npy", "x.npy", "--target", "1", "-o", "a.mipin"], "not an ONNX model"),
        (["fit", "net.onnx", "no.npy", "--target", "1", "-o", "a.mipin"], "no.npy"),
        (["fit", "net.onnx", "x.npy", "--target", "7", "-o", "a.mipin"], "out of range"),
        (["fit", "net.onnx", "x.npy", "--target", "x", "-o", "a.mipin"], "--target must be"),
        (["fit", "net.onnx", "x.npy", "--target", "0,1", "-o", "a.mipin"], "{target}"),
        (["fit", "net.onnx", "x.npy", "--target", "1", "-o", "no/a.mipin"], "no folder"),
        (["fit", "net.onnx", "x.npy", "--target", "1", "-o", "."], "is a folder"),
        (["fit", "net.onnx", "x.npy", "--target", "1", "--ridge", "-1", "-o", "a.mipin"], "ridge"),
        (["fit", "net.onnx", "x.npy", "--target", "1", "--output", "q", "-o", "a.mipin"], "no output 'q'"),
        (["fit", "net.onnx", "x.npy", "--target", "1", "--backend", "cupy", "-o", "a.mipin"], "cupy"),
        (["explain", "net.onnx", "x.npy", "--inverse", "x.npy", "-o", "out"], "not a saved inverse"),
        (["inspect", "."], "'.'"),
    ],
)
def test_input_errors_are_one_line_and_exit_2(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir())
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mipin: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("option", ["--target", "--ridge", "--memory", "--labels", "--at", "--checkpoint", "-o"])
def test_two_dashes_for_a_value(folder: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Some Pythons store an empty list for them, on which whoever reads the option fails."""
    value = f"{option}--" if option == "-o" else f"{option}=--"
    with pytest.raises(SystemExit) as left:
        run("fit", "net.onnx", "x.npy", "--target", "1", "-o", "a.mipin", value)
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.startswith("mipin fit: ")
    assert error.count("\n") == 1
    assert option in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["inspect", ""], "MODEL"),
        (["explain", "net.onnx", ""], "IMAGES"),
        (["explain", "net.onnx", "x.npy", "--out="], "-o/--out"),
        (["fit", "net.onnx", "x.npy", "--target", "", "-o", "a.mipin"], "--target"),
    ],
)
def test_what_is_empty_is_no_folder(
    folder: Path, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable of a shell that was never set: the current folder is not meant."""
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    told = f"mipin {arguments[0]}: argument {named}: is empty; see mipin {arguments[0]} --help\n"
    assert (left.value.code, capsys.readouterr().err) == (2, told)


def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["fit", "a"], ["explain", "a", "b", "--limit", "0", "--inverse", "i", "-o", "o"]):
        with pytest.raises(SystemExit) as stopped:
            run(*arguments)
        assert stopped.value.code == 2
        capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "net.onnx", "x.npy", "--target", "1", "-o", "a.mipin"),
        ("explain", "net.onnx", "x.npy", "--no-cache", "-o", "mipin-out"),
        ("compare", "net.onnx", "x.npy", "--methods", "gradient", "-o", "mipin.html"),
        ("evaluate", "deletion", "net.onnx", "x.npy", "--methods", "gradient", "-o", "mipin.json"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_is_one_line(folder: Path, arguments: tuple[str, ...]) -> None:
    """A limit on file size stands for the full disk: the write fails in the middle."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from mipin_ref.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-B", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("mipin: ")
    left = [path for path in Path().rglob("*") if "mipin" in str(path)]
    if "explain" in arguments and left:
        # Pictures that were written are whole, and the folder says that there are not all.
        assert json.loads(Path("mipin-out/explained.json").read_text())["complete"] is False
        left = [path for path in left if not path.is_dir() and not path.name.endswith((".png", ".svg", ".json"))]
    assert not left


@pytest.mark.slow
def test_ctrl_c_leaves_no_partial_file(folder: Path) -> None:
    np.save("many.npy", np.repeat(X, 20_000, axis=0))
    command = [
        sys.executable,
        "-m",
        "mipin_ref",
        "fit",
        "net.onnx",
        "many.npy",
        "--target",
        "all",
        "-o",
        "c{target}.mipin",
    ]
    # A shell ignores SIGINT in what it runs in the background, and so would its children: undo that for this one.
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()  # the line on preprocessing: the fit begins
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2, error
    assert error.count("\n") == 1
    assert "interrupted" in error
    assert not [name for name in os.listdir() if "mipin" in name]


@pytest.mark.slow
def test_piped_output_has_no_progress_bar(folder: Path) -> None:
    command = [sys.executable, "-m", "mipin_ref", "fit", "net.onnx", "x.npy", "--target", "1", "-o", "a.mipin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
