"""`mipin explain` of inner tensors, in batches: arrays and pictures against the library, errors in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
import mipin_ref.cli.explain
from mipin_ref.cli import main
from mipin_ref.explain import settle
from tests.cli.processes import terminal_read
from tests.linked import linked
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Conv, Dense, GlobalAveragePool, MaxPool, Op, Reshape

SAMPLES = 23
ARRAYS = ("value", "source", "attribution", "contribution", "output")


def residual() -> list[Op]:
    """Input 3×8×8; "block" 4×8×8 is read by a branch with "inside" and by a shortcut; "last" 4×4×4 is the last map."""
    rng = np.random.default_rng(1)
    return [
        Conv(("input",), "stem", rng.standard_normal((4, 3, 3, 3)) / 4, pads=(1, 1, 1, 1)),
        Activation(("stem",), "block", "Relu"),
        Conv(("block",), "a", rng.standard_normal((4, 4, 3, 3)) / 4, pads=(1, 1, 1, 1)),
        Activation(("a",), "inside", "Relu"),
        Conv(("inside",), "b", rng.standard_normal((4, 4, 3, 3)) / 4, pads=(1, 1, 1, 1)),
        Add(("b", "block"), "sum"),
        MaxPool(("sum",), "pool", (2, 2), (2, 2)),
        Activation(("pool",), "last", "Relu"),
        GlobalAveragePool(("last",), "mean"),
        Reshape(("mean",), "flat", (4,)),
        Dense(("flat",), "scores", rng.standard_normal((4, 3))),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx, x.npy, and inverses down to the input (full.mipin) and to "last" (last.mipin)."""
    folder = tmp_path_factory.mktemp("explain")
    x = np.random.default_rng(0).standard_normal((SAMPLES, 3, 8, 8)).astype(np.float32)
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(folder / "net.onnx"))
    np.save(folder / "x.npy", x)
    net = mr.load(str(folder / "net.onnx"))
    mr.fit(net, x, 1).save(folder / "full.mipin")
    mr.fit(net, x, 1, at="last").save(folder / "last.mipin")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return linked(made, tmp_path, monkeypatch)


def explain(*options: str, inverse: str = "full.mipin", images: str = "x.npy") -> int:
    return main(["explain", "net.onnx", images, "--inverse", inverse, "-o", "out", *options])


def arrays() -> dict[str, Any]:
    with np.load("out/attribution.npz", allow_pickle=False) as stored:
        return dict(stored)


def expected(at: str | None = None) -> mr.Attribution:
    inverse: mr.Inverse = mr.load_inverse("full.mipin", mr.load("net.onnx"))
    return inverse.attribute(np.load("x.npy"), at=at)


def written(stem: str) -> list[str]:
    return sorted(name for name in os.listdir("out") if name.startswith(stem))


@pytest.mark.parametrize("tensor", ["last", "inside", "block"])
def test_an_inner_tensor_from_a_full_inverse(folder: Path, tensor: str) -> None:
    assert explain("--at", tensor) == 0
    res, stored = expected(tensor), arrays()
    for name in ARRAYS:
        assert np.array_equal(stored[name], getattr(res, name)), name
    assert np.array_equal(stored["map"], np.maximum(res.contribution.sum(axis=1), 0))
    header = json.loads(str(stored["header"]))
    assert (header["tensor"], header["target"]) == (tensor, 1)
    assert header["map"] == {"kind": "contribution", "positive": True, "size": None}
    assert len(written("overlay")) == SAMPLES
    assert len(written("index")) == 1


def test_the_papers_recipe_at_the_size_of_the_input(folder: Path) -> None:
    """Channel mean, ReLU, bilinear resize; and a page a ten samples that shows where in the input a map lies."""
    assert explain("--at", "last", "--size", "input", "--map", "attribution") == 0
    res, stored = expected("last"), arrays()
    assert np.array_equal(stored["map"], mr.saliency(res, "attribution", positive=True, size=(8, 8)))
    assert json.loads(str(stored["header"]))["map"] == {"kind": "attribution", "positive": True, "size": [8, 8]}
    assert stored["value"].shape[1:] == (4, 4, 4)
    assert len(written("overlay")) == SAMPLES


def test_another_size(folder: Path) -> None:
    assert explain("--at", "last", "--size", "5x7") == 0
    assert np.array_equal(arrays()["map"], mr.saliency(expected("last"), size=(5, 7)))


@pytest.mark.parametrize("options", [(), ("--at", "input"), ("--size", "input")])
def test_the_input_keeps_signed_maps(folder: Path, options: tuple[str, ...]) -> None:
    assert explain(*options) == 0
    found = arrays()["map"]
    assert np.array_equal(found, expected().contribution.sum(axis=1))
    assert found.min() < 0


def test_maps_of_the_input_are_chosen_and_resized_too(folder: Path) -> None:
    assert explain("--map", "attribution", "--size", "4x4") == 0
    assert np.array_equal(arrays()["map"], mr.saliency(expected(), "attribution", positive=False, size=(4, 4)))


def test_an_inverse_that_ends_inside_explains_its_own_end(folder: Path) -> None:
    assert explain("--size", "input", inverse="last.mipin") == 0
    stored = arrays()
    assert json.loads(str(stored["header"]))["tensor"] == "last"
    assert stored["map"].min() >= 0


def in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images at a time."""
    monkeypatch.setattr(mipin_ref.cli.explain, "BATCH_BYTES", 1)


def test_batches_are_one_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain("--at", "last", "--size", "input") == 0
    whole = arrays()
    pictures = {name: Path("out", name).read_bytes() for name in os.listdir("out") if name.endswith(".png")}
    in_batches(monkeypatch)
    sizes = []
    attribute = mr.Inverse.attribute

    def counted(self: mr.Inverse, x: Any, **options: Any) -> Any:
        sizes.append(len(x))
        return attribute(self, x, **options)

    monkeypatch.setattr(mr.Inverse, "attribute", counted)
    assert explain("--at", "last", "--size", "input", "-o", "again") == 0
    assert sizes == [10, 10, 3]
    with np.load("again/attribution.npz", allow_pickle=False) as stored:
        assert set(stored) == set(whole)
        for name in (*ARRAYS, "map"):
            assert stored[name].dtype == whole[name].dtype
            np.testing.assert_allclose(stored[name], whole[name], rtol=1e-4, atol=1e-5)
    assert set(pictures) == {name for name in os.listdir("again") if name.endswith(".png")}


def test_a_bad_image_is_counted_from_the_first_of_its_batch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing half-written stays, and what an earlier run wrote does."""
    assert explain("--limit", "2") == 0
    before = Path("out/attribution.npz").read_bytes()
    x = np.load("x.npy")
    x[17, 0, 2, 2] = np.nan
    np.save("bad.npy", x)
    monkeypatch.setattr(settle, "BATCH", 10)
    capsys.readouterr()
    assert explain(images="bad.npy") == 2
    error = capsys.readouterr().err
    assert error.startswith("mipin: counted from image 10: the data, samples 0..9, hold NaN")
    assert error.count("\n") == 1
    assert Path("out/attribution.npz").read_bytes() == before
    assert not [name for name in os.listdir("out") if name.startswith(".")]


def test_ctrl_c_leaves_a_page_that_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_batches(monkeypatch)
    attribute = mr.Inverse.attribute

    def interrupted(self: mr.Inverse, x: Any, **options: Any) -> Any:
        if Path("out/index.html").exists():
            raise KeyboardInterrupt
        return attribute(self, x, **options)

    monkeypatch.setattr(mr.Inverse, "attribute", interrupted)
    assert explain() == 2
    assert "interrupted" in capsys.readouterr().err
    assert len(written("overlay")) == 10
    assert len(arrays()["map"]) == 10
    assert json.loads(str(arrays()["header"]))["complete"] is False
    assert "This set is not complete" in Path("out/index.html").read_text()


def test_an_earlier_set_is_replaced_as_a_whole(folder: Path) -> None:
    assert explain() == 0
    assert len(written("overlay")) == SAMPLES
    assert explain("--limit", "2") == 0
    assert len(written("overlay")) == 2
    assert len(arrays()["map"]) == 2


def test_files_of_others_are_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/attribution.npz").write_bytes(b"mine")
    assert explain() == 2
    assert "'attribution.npz', which no earlier run of this left there" in capsys.readouterr().err
    assert Path("out/attribution.npz").read_bytes() == b"mine"


def test_a_tensor_without_places_is_shown_as_bars(folder: Path) -> None:
    assert explain("--at", "flat") == 0
    assert json.loads(str(arrays()["header"]))["kind"] == "table"
    assert np.array_equal(arrays()["contribution"], expected("flat").contribution)


def run(*options: str, prelude: str = "", **streams: Any) -> subprocess.Popen[str]:
    script = prelude + "import sys; from mipin_ref.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-B", "-c", script, "explain", "net.onnx", "x.npy", "--inverse", "full.mipin"]
    return subprocess.Popen([*command, "-o", "out", *options], text=True, **streams)


@pytest.mark.slow
def test_a_full_disk_is_one_line(folder: Path) -> None:
    """A limit on file size stands for the full disk: the arrays reach it, the pictures do not."""
    prelude = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
    )
    with run("--at", "inside", prelude=prelude, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _, error = process.communicate(timeout=120)
    assert process.returncode == 2, error
    assert error == "mipin: 'out/attribution.npz' cannot be written: File too large\n"
    assert not Path("out/attribution.npz").exists()


@pytest.mark.slow
def test_progress_on_a_terminal_and_nothing_when_piped(folder: Path) -> None:
    with run("--at", "last", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as piped:
        printed, error = piped.communicate(timeout=120)
    assert error == ""
    assert "\x1b" not in printed
    with (
        terminal_read() as (end, parts),
        run("--at", "last", stdout=subprocess.PIPE, stderr=end, env={**os.environ, "TERM": "xterm"}) as shown,
    ):
        printed_again, _ = shown.communicate(timeout=120)
    assert printed_again == printed
    assert f"{SAMPLES}/{SAMPLES}" in b"".join(parts).decode()


@pytest.mark.parametrize(
    ("options", "inverse", "message"),
    [
        (
            ["--at", "lost"],
            "full.mipin",
            "tensor 'lost' is not on the way from the input to the logits; did you mean 'last'",
        ),
        (
            ["--at", "scores"],
            "full.mipin",
            "'scores' is not between the logits and 'input', where the inverse",
        ),
        (
            ["--at", "block"],
            "last.mipin",
            "'block' is not between the logits and 'last', where the inverse",
        ),
        (["--at", "flat", "--size", "input"], "full.mipin", "tensor 'flat' of shape [4] has no map to resize"),
        (["--size", "big"], "full.mipin", "--size must be 'input' or HxW in pixels"),
        (["--size", "3"], "full.mipin", "--size must be"),
        (["--size", "3x"], "full.mipin", "--size must be"),
        (["--size", "0x3"], "full.mipin", "--size must be"),
        (["--size", "3x3x3"], "full.mipin", "--size must be"),
        (["--size", "3x2049"], "full.mipin", "from 1x1 to 2048x2048, not '3x2049'"),
        (["--size", "3x" + "9" * 5000], "full.mipin", "--size must be"),
    ],
)
def test_errors_are_one_line_before_anything_is_written(
    folder: Path, options: list[str], inverse: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(*options, inverse=inverse) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mipin: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""
    assert not Path("out").exists()


def test_calibration_data_that_are_not_there_are_told_before_images_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos").mkdir()  # of which the same would be told
    assert main(["explain", "net.onnx", "photos", "--calibration", "nowhere.npy", "-o", "out"]) == 2
    assert tuple(capsys.readouterr()) == ("", "mipin: nowhere.npy: no such file or folder\n")


def test_an_unknown_map_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        explain("--map", "relevance")
    assert stopped.value.code == 2
    assert "contribution" in capsys.readouterr().err


def test_the_size_of_an_input_that_is_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Reshape(("input",), "image", (1, 6, 6)),
        Conv(("image",), "conv", rng.standard_normal((2, 1, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (32,)),
        Dense(("flat",), "scores", rng.standard_normal((32, 3))),
    ]
    monkeypatch.chdir(tmp_path)
    onnx.save(to_onnx(ops, (36,)), "net.onnx")
    x = rng.standard_normal((12, 36)).astype(np.float32)
    np.save("x.npy", x)
    mr.fit(mr.load("net.onnx"), x, 1).save("full.mipin")
    assert explain("--at", "relu", "--size", "input") == 2
    assert capsys.readouterr().err == "mipin: --size input: the input 'input' of shape [36] is no image\n"
    assert explain("--at", "relu", "--size", "12x12") == 0
    assert arrays()["map"].shape == (12, 12, 12)
