"""Outputs are tried before the work begins, inputs are never overwritten, and killed runs leave nothing that stays."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.cli.dispatch import _parser
from mipin_ref.cli.evaluate.arguments import MeasureParser
from mipin_ref.cli.outputs import INPUTS
from mipin_ref.files import temporary_folder, written_whole
from tests.cli.processes import COMMAND, environment
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

COMMANDS = {
    "fit": ("fit", "net.onnx", "x.npy", "--target", "1"),
    "patterns": ("patterns", "net.onnx", "x.npy"),
    "explain": ("explain", "net.onnx", "x.npy", "--method", "gradient", "--target", "1"),
    "compare": ("compare", "net.onnx", "x.npy", "--methods", "gradient"),
    "evaluate": ("evaluate", "sensitivity", "net.onnx", "x.npy", "--methods", "gradient"),
    "demo": ("demo",),
    "golden": ("golden", "make", "net.onnx", "x.npy", "--target", "1"),
}
FOLDERS = ("explain", "demo", "golden")
"""Commands whose output is a folder."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with net.onnx and x.npy."""
    rng = np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 1, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (32,)),
        Dense(("flat",), "scores", rng.standard_normal((32, 3))),
    ]
    onnx.save(to_onnx(ops, (1, 6, 6)), str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", rng.standard_normal((12, 1, 6, 6)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the network fails loudly: outputs are to be told of before."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    monkeypatch.setattr("onnxruntime.InferenceSession.run", forbidden)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def places(command: str) -> Iterator[tuple[str, str]]:
    """Outputs that cannot be, and what is told of each."""
    if command in FOLDERS:
        yield "x.npy", "is a file"
        yield "x.npy/out", "is a file"
        yield "/proc/out", ""
    else:
        yield "missing/out", "no folder 'missing'"
        yield "a_folder", "is a folder"
        yield "/proc/out.mipin", "/proc/out.mipin"
        yield "/dev/null", "no regular file"
        yield "pipe", "no regular file"
    yield "n" * 256, "File name too long"
    yield "/".join(["n" * 200] * 30), "File name too long"


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("command", COMMANDS)
def test_outputs_are_tried_before_the_work(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkdir("a_folder")
    os.mkfifo("pipe")
    before = sorted(os.listdir())
    for place, told in places(command):
        error = refused(capsys, *COMMANDS[command], "-o", place)
        assert told in error
        assert "cannot be" in error
    assert sorted(os.listdir()) == before
    assert os.path.exists("/dev/null")
    assert not os.path.isfile("/dev/null")


@pytest.mark.usefixtures("nothing_computed")
def test_a_checkpoint_that_cannot_be_is_told_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("/proc/checkpoint", "x.npy/checkpoint", "n" * 256):
        assert "cannot be" in refused(capsys, *COMMANDS["fit"], "-o", "a.mipin", "--checkpoint", place)


@pytest.mark.slow
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_a_disk_that_is_full_is_told_with_the_file(command: str, folder: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses the write in the same way."""
    # The second is met by the files themselves, where they are larger than what is tried before.
    for limit in (0, 4096) if command in ("explain", "compare", "golden") else (0,):
        done = subprocess.run(
            [*COMMAND, *COMMANDS[command], "-o", "out"],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
            timeout=120,
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert "'out" in done.stderr
        assert "File too large" in done.stderr
        assert not list(Path().rglob(".*"))


@pytest.mark.usefixtures("nothing_computed")
def test_an_input_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("labels.npy", "calibration.npy", "names.json", "i.mipin", "p.patterns", "boxes.npy"):
        Path(name).write_bytes(b"precious")
    os.symlink("net.onnx", "symlink")
    os.link("x.npy", "hardlink")
    attempts = [
        (*COMMANDS["fit"], "-o", "net.onnx"),
        (*COMMANDS["fit"], "-o", "./x.npy"),
        (*COMMANDS["fit"], "-o", "symlink"),
        (*COMMANDS["fit"], "-o", "hardlink"),
        (*COMMANDS["fit"], "--labels", "labels.npy", "-o", "labels.npy"),
        ("fit", "net.onnx", "x.npy", "--target", "0,1", "-o", "{target}.mipin"),
        (*COMMANDS["patterns"], "-o", "hardlink"),
        (*COMMANDS["compare"], "-o", "symlink"),
        (*COMMANDS["compare"], "--calibration", "calibration.npy", "-o", "calibration.npy"),
        (*COMMANDS["compare"], "--class-names", "names.json", "-o", "names.json"),
        (*COMMANDS["compare"], "--labels", "labels.npy", "-o", "labels.npy"),
        (*COMMANDS["evaluate"], "-o", "hardlink"),
        ("evaluate", "box", "net.onnx", "x.npy", "--boxes", "boxes.npy", "-o", "boxes.npy"),
    ]
    os.link("x.npy", "1.mipin")
    contents = {name: Path(name).read_bytes() for name in os.listdir()}
    for arguments in attempts:
        assert "-o would overwrite" in refused(capsys, *arguments)
    assert {name: Path(name).read_bytes() for name in os.listdir()} == contents


@pytest.mark.usefixtures("nothing_computed")
def test_weights_beside_the_model_are_an_input_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(onnx.load("net.onnx"), "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    before = Path("big.data").read_bytes()
    assert "'big.data'" in refused(capsys, "fit", "big.onnx", "x.npy", "--target", "1", "-o", "big.data")
    assert Path("big.data").read_bytes() == before


@pytest.mark.usefixtures("nothing_computed")
def test_files_of_a_folder_that_are_inputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkdir("out")
    np.savez("out/attribution.npz", x=np.load("x.npy"))
    explain = ("explain", "net.onnx", "out/attribution.npz", "--method", "gradient", "--target", "1", "-o")
    assert "-o would overwrite 'out/attribution.npz'" in refused(capsys, *explain, "out")
    os.mkdir("photos")
    Image.fromarray(np.zeros((6, 6), np.uint8)).save("photos/a.png")
    for out in ("photos", "photos/out", "photos/new/out"):
        error = refused(capsys, "explain", "net.onnx", "photos", "--method", "gradient", "--target", "1", "-o", out)
        assert "taken for images the next time" in error
    os.link("photos/a.png", "a.mipin")
    assert "would overwrite" in refused(capsys, "fit", "net.onnx", "photos", "--target", "1", "-o", "a.mipin")
    assert os.listdir("photos") == ["a.png"]


def test_every_argument_that_names_a_file_is_known_as_an_input() -> None:
    """A new one that is forgotten would be overwritten."""

    def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
        if isinstance(parser, MeasureParser):
            parser.take_arguments()
        for action in parser._actions:
            yield action
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    yield from actions(inner)

    read = {
        action.dest
        for action in actions(_parser())
        if action.metavar in ("MODEL", "DATA", "IMAGES", "FILE") and action.dest != "out"
    }
    assert read == set(INPUTS)


def test_what_killed_runs_left_goes_with_the_next(folder: Path) -> None:
    """Each is killed while it holds its temporary files: the system drops the lock, the files stay."""
    script = (
        "import os, sys\nfrom mipin_ref.files import temporary_folder, written_whole\n"
        "with temporary_folder('out/attribution.npz') as folder, written_whole('out/attribution.npz') as file,"
        " written_whole('out/overlay_00007_a.png') as picture, written_whole('a.mipin') as inverse:\n"
        "    open(folder / 'value', 'wb').write(b'1')\n"
        "    file.write(b'half')\n    print(flush=True)\n    sys.stdin.read()\n"
    )
    os.mkdir("out")
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None
        process.stdout.readline()
        processes.append(process)
    dead, alive = processes
    dead.kill()
    dead.communicate()
    assert len(os.listdir("out")) == 6
    assert main([*COMMANDS["explain"], "-o", "out", "--limit", "2"]) == 0
    assert main([*COMMANDS["fit"], "-o", "a.mipin"]) == 0
    left = [name for name in [*os.listdir("out"), *os.listdir()] if name.startswith(".")]
    alive.communicate(b"")
    assert len(left) == 4, "those of the living one stay"
    assert alive.returncode == 0
    pictures = ["overlay_00000_image_0.png", "overlay_00001_image_1.png", "overlay_00007_a.png"]
    assert sorted(os.listdir("out")) == ["attribution.npz", "explained.json", "index.html", *pictures]
    assert not [name for name in os.listdir() if name.startswith(".")]


@pytest.mark.slow
def test_a_fit_that_is_killed_with_its_checkpoint(folder: Path) -> None:
    """Whether or not the next one goes on from it, what it left is gone when the inverse is there."""
    for again in ((), ("--resume",)):
        process = subprocess.Popen(
            [*COMMAND, *COMMANDS["fit"], "-o", "a.mipin", "--resume", "--limit", "12"],
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not list(Path().glob(".a.mipin.checkpoint/*/*")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
        process.wait()
        os.makedirs(".a.mipin.checkpoint", exist_ok=True)  # where the kill came late
        assert main([*COMMANDS["fit"], "-o", "a.mipin", *again]) == 0
        assert not [name for name in os.listdir() if name.startswith(".")]


def test_two_at_once_keep_out_of_each_others_way(folder: Path) -> None:
    """Writers of one path, none of which loses its temporary file to another."""
    script = (
        "import sys\nfrom mipin_ref.files import written_whole\n"
        "for i in range(300):\n    with written_whole('shared') as file:\n        file.write(bytes([i % 256]) * 9)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script], env=environment()) for _ in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert Path("shared").read_bytes() == bytes([299 % 256]) * 9
    assert [name for name in os.listdir() if "shared" in name] == ["shared"]


def test_names_of_any_length_that_the_system_takes(folder: Path) -> None:
    assert main([*COMMANDS["fit"], "-o", "n" * 255]) == 0
    assert mr.load_inverse("n" * 255, mr.load("net.onnx")).target == 1
    os.unlink("n" * 255)
    for name in ("n" * 255, "é" * 127):
        with written_whole(name) as file:
            file.write(b"1")
        with temporary_folder(name):
            pass
        assert Path(name).read_bytes() == b"1"
        os.unlink(name)
    assert sorted(os.listdir()) == ["net.onnx", "x.npy"]


NO_PLACE = "cannot be written|cannot be made|is no path"


@pytest.mark.parametrize("place", ["/proc/a", "missing/a", "n" * 256, "a\0b", "\ud800", "a_folder", ""])
def test_in_python_a_bad_place_is_an_error_of_this_package(place: str, folder: Path) -> None:
    os.mkdir("a_folder")
    net, x = mr.load("net.onnx"), np.load("x.npy")
    inverse, patterns = mr.fit(net, x, 1), mr.fit_patterns(net, x)
    for save in (inverse.save, patterns.save):
        with pytest.raises(mr.InvalidData, match=NO_PLACE):
            save(place)
    bad = {"missing/a": "x.npy/a", "a_folder": "x.npy", "": "net.onnx"}.get(place, place)
    with pytest.raises(mr.InvalidData, match=NO_PLACE):
        mr.golden.make("net.onnx", x, 1, bad)
    with pytest.raises(mr.InvalidData, match=rf"{NO_PLACE}|cannot be a folder|name a folder"):
        mr.fit(net, x, 1, checkpoint=bad)


def test_a_golden_case_of_a_model_whose_path_is_not_utf8(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.onnx")
    os.rename("net.onnx", name)
    made = mr.golden.make(name, np.load("x.npy"), 1, "case")
    assert mr.golden.read_case("case").model.samefile(name)
    assert made.model.samefile(name)
