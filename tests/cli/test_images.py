"""Folders of photographs at the command line: sub-folders, broken files, turned ones, and names that travel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

from mipin_ref.cli import main
from mipin_ref.report.page import compose_page
from tests.cli.processes import assert_refused, mipin
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

PICTURES = np.random.default_rng(1).integers(0, 256, (23, 8, 8, 3), np.uint8)
NAMES = [f"{'cat' if number < 9 else 'dog/summer'}/{number:02d}.png" for number in range(23)]
EXPLAIN = ("explain", "net.onnx", "photos", "--method", "gradient", "--target", "1", "-o", "out")
PATTERNS = ("--method", "patternnet", "--calibration", "photos", "--target", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with net.onnx and photos/ of 23 pictures in sub-folders."""
    rng = np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 3, 3, 3))),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (72,)),
        Dense(("flat",), "scores", rng.standard_normal((72, 3))),
    ]
    monkeypatch.chdir(tmp_path)
    onnx.save(to_onnx(ops, (3, 8, 8)), "net.onnx")
    for name, picture in zip(NAMES, PICTURES, strict=True):
        save(picture, f"photos/{name}")
    return tmp_path


def save(picture: npt.NDArray[np.uint8], path: str, **options: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)


def stored(path: str = "out/attribution.npz") -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_names_travel_to_the_arrays(folder: Path) -> None:
    assert main(list(EXPLAIN)) == 0
    arrays = stored()
    assert arrays["names"].tolist() == NAMES
    np.testing.assert_array_equal(arrays["value"], PICTURES.transpose(0, 3, 1, 2) / np.float32(255))


def test_arrays_are_named_by_their_numbers(folder: Path) -> None:
    np.save("x.npy", PICTURES.transpose(0, 3, 1, 2))
    assert main([*EXPLAIN[:2], "x.npy", *EXPLAIN[3:]]) == 0
    assert stored()["names"].tolist() == [f"image {number}" for number in range(23)]


def test_broken_images_are_named_and_the_others_explained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(EXPLAIN)) == 0
    whole = stored()
    capsys.readouterr()
    broken = [0, 7, *range(10, 20), 22]
    for number in broken:
        path = Path("photos", NAMES[number])
        path.write_bytes(path.read_bytes()[: 60 if number % 2 else 4])
    save(np.zeros((8, 8, 3), np.uint8), "photos/dog/deep.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("photos/dog/deep.png")
    assert main([*EXPLAIN[:-1], "again"]) == 1
    printed = capsys.readouterr()
    told = printed.err.splitlines()
    assert len(told) == len(broken) + 2
    for number, line in zip(broken, told, strict=False):
        assert line.startswith("mipin: ")
        assert NAMES[number] in line or "deep.png" in line or number > 9
    assert told[-1] == f"mipin: {len(broken) + 1} of 24 images left out"
    kept = [number for number in range(23) if number not in broken]
    arrays = stored("again/attribution.npz")
    assert arrays["names"].tolist() == [NAMES[number] for number in kept]
    for name, array in whole.items():
        if name not in ("header", "names", "class_names"):
            np.testing.assert_array_equal(arrays[name], array[kept])
    drawn = [name for name in os.listdir("again") if name.startswith("overlay")]
    assert len(drawn) == len(kept)


def test_a_batch_of_broken_images_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mipin_ref.cli.explain.BATCH_BYTES", 1)
    for number in range(10, 20):
        Path("photos", NAMES[number]).write_bytes(b"")
    assert main(list(EXPLAIN)) == 1
    assert stored()["names"].tolist() == [*NAMES[:10], *NAMES[20:]]
    assert len([name for name in os.listdir("out") if name.startswith("overlay")]) == 13


@pytest.mark.slow
def test_broken_images_alone_are_an_error(folder: Path) -> None:
    for name in NAMES:
        Path("photos", name).write_bytes(b"\x89PNG")
    assert_refused(mipin(*EXPLAIN), "cat/00.png", "22 images")
    assert not list(Path("out").glob("*"))


def test_a_fit_names_the_broken_image(folder: Path) -> None:
    Path("photos", NAMES[3]).write_bytes(b"\x89PNG")
    assert_refused(mipin("fit", "net.onnx", "photos", "--target", "1", "-o", "a.mipin"), NAMES[3])


def test_compare_leaves_broken_images_out_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos", NAMES[1]).write_bytes(b"\x89PNG")
    np.save("labels.npy", np.arange(23) % 3)
    arguments = ["compare", "net.onnx", "photos", "--methods", "gradient", "--labels", "labels.npy", "-o", "r.html"]
    assert main([*arguments, "--limit", "4"]) == 1
    printed = capsys.readouterr()
    assert NAMES[1] in printed.err
    assert "showing the first 4 of 23 images" in printed.out
    page = Path("r.html").read_text()
    for number in (0, 2, 3):
        assert f"image {number}: {NAMES[number]}</span>" in page
    assert f"image 1: {NAMES[1]}" not in page
    labels = [part.partition("<")[0].partition(",")[0] for part in page.split(">label ")[1:]]
    assert labels == ["class 0", "class 2", "class 0"]


@pytest.mark.parametrize("fitted", [(), ("--no-exif",)])
def test_images_are_turned_as_they_were_for_the_fit(
    fitted: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said to be left as stored is, and the first line says where the fit did otherwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(PICTURES[0], "turned/a.png", exif=exif)
    assert main(["fit", "net.onnx", "photos", "--target", "1", "-o", "saved.mipin", *fitted]) == 0
    for options in ((), ("--no-exif",)):
        capsys.readouterr()
        assert main(["explain", "net.onnx", "turned", "--inverse", "saved.mipin", "-o", "out", *options]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert ("not turned by EXIF" in line) == bool(fitted or options)
        assert line.endswith("as the inverse was fitted" + (", but for EXIF" if options and not fitted else ""))
        pixels = PICTURES[0] if fitted or options else np.rot90(PICTURES[0], -1)
        np.testing.assert_array_equal(stored()["value"][0], np.moveaxis(pixels, -1, 0) / np.float32(255))


def test_images_turned_by_exif_are_explained_upright(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(PICTURES[0], "upright/a.png")
    save(np.rot90(PICTURES[0], 1), "turned/a.png", exif=exif)
    found = {}
    for name, options in (("upright", ()), ("turned", ()), ("turned", ("--no-exif",))):
        assert main([*EXPLAIN[:2], name, *EXPLAIN[3:], *options]) == 0
        found[name, options] = stored()["value"]
        told = "turned: 1 image was turned upright, as EXIF says (--no-exif takes them as they are stored)\n"
        assert (told in capsys.readouterr().out) == (name == "turned" and not options)
    np.testing.assert_array_equal(found["turned", ()], found["upright", ()])
    np.testing.assert_array_equal(found["turned", ("--no-exif",)][0], np.rot90(found["upright", ()][0], 1, (1, 2)))


def test_an_inverse_explains_images_as_they_are_stored_where_that_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(PICTURES[0], "upright/a.png")
    save(np.rot90(PICTURES[0], 1), "turned/a.png", exif=exif)
    assert main(["fit", "net.onnx", "photos", "--target", "0", "-o", "a.mipin"]) == 0
    found = {}
    for name, options in (("upright", ()), ("turned", ()), ("turned", ("--no-exif",))):
        capsys.readouterr()
        assert main(["explain", "net.onnx", name, "--inverse", "a.mipin", "-o", "OUT", *options]) == 0
        assert (", as the inverse was fitted, but for EXIF" in capsys.readouterr().out) == bool(options)
        found[name, options] = stored("OUT/attribution.npz")["value"]
    np.testing.assert_array_equal(found["turned", ()], found["upright", ()])
    np.testing.assert_array_equal(found["turned", ("--no-exif",)][0], np.rot90(found["upright", ()][0], 1, (1, 2)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "net.onnx", "photos", "--method", "gradient", "--target", "1", "-o", "out"),
        ("fit", "net.onnx", "photos", "--target", "1", "-o", "a.mipin"),
        ("patterns", "net.onnx", "photos", "-o", "a.patterns"),
        ("compare", "net.onnx", "photos", "--methods", "gradient", "-o", "r.html"),
        ("compare", "net.onnx", "x.npy", "--methods", "patternnet", "--calibration", "photos", "-o", "r.html"),
        ("explain", "net.onnx", "x.npy", *PATTERNS, "-o", "out"),
        ("evaluate", "sensitivity", "net.onnx", "x.npy", "--methods", "patternnet", "--calibration", "photos"),
        ("evaluate", "sensitivity", "net.onnx", "photos", "--methods", "gradient"),
        ("golden", "make", "net.onnx", "photos", "--target", "1", "--limit", "3", "-o", "case"),
    ],
)
def test_what_is_left_out_is_said(arguments: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", PICTURES.transpose(0, 3, 1, 2))
    Path("photos/cat/notes.txt").write_text("")
    Path("photos/cat/.DS_Store").write_text("")
    assert main(list(arguments)) == 0
    assert "photos: left out 1 hidden, 1 of other types (.txt)\n" in capsys.readouterr().out


@pytest.mark.slow
def test_names_that_no_page_takes(folder: Path) -> None:
    """Names of files, classes, the model and the calibration: shown escaped, in the page and in the arrays."""
    bad = os.fsdecode(b"caf\xe9\x1b[2J\xff")
    os.rename("photos", bad)
    os.rename(Path(bad, NAMES[0]), Path(bad, "cat", f"{bad}.png"))
    os.rename("net.onnx", f"{bad}.onnx")
    Path("names.json").write_text(json.dumps(["a\udc80\u202e", "\ud800\x1b", "[red]<b>"]))
    arguments = (
        "compare",
        f"{bad}.onnx",
        bad,
        "--methods",
        "gradient,patternnet",
        "--calibration",
        bad,
        "-o",
        "r.html",
    )
    done = mipin(*arguments, "--class-names", "names.json")
    assert (done.returncode, done.stderr) == (0, "")
    page = Path("r.html").read_text(encoding="utf-8")
    escaped = r"caf\udce9\x1b[2J\udcff"
    assert f"image 7: cat/{escaped}.png" in page or f"cat/{escaped}.png" in page
    assert f"<dd>{escaped}</dd>" in page
    assert r"a\udc80\u202e" in page
    assert r"\ud800\x1b" in page
    assert "[red]&lt;b&gt;" in page
    assert "\x1b" not in done.stdout + page
    done = mipin("explain", f"{bad}.onnx", bad, "--method", "gradient", "--target", "1", "-o", f"{bad}.out")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"cat/{escaped}.png" in stored(f"{bad}.out/attribution.npz")["names"].tolist()


def test_titles_of_pages_are_drawn_whatever_they_hold() -> None:
    tile = np.zeros((4, 4, 3), np.uint8)
    page = compose_page([[tile]], ["a"], ["lone \udcff\x1b"], heading="\ud800")
    again = compose_page([[tile]], ["a"], [r"lone \udcff\x1b"], heading=r"\ud800")
    np.testing.assert_array_equal(page, again)
