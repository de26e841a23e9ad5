"""Folders of images: sub-folders, links, what is left out, and images that are turned."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mipin_ref.data import Preprocessing, left_out_of, names_of, open_boxes, open_data, open_labels, turned_of
from mipin_ref.data.folders import find_images
from mipin_ref.errors import CorruptFile, InvalidData
from tests.data.formats import write_image

PICTURE = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)

Pixels = npt.NDArray[Any]
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""Orientation -> how an upright picture is stored, by what row 0 and column 0 are (EXIF 2.32, 4.6.4, tag 0x0112):
SIDES says which."""
SIDES = dict(zip(range(1, 9), map(tuple, ("TL", "TR", "BR", "BL", "LT", "RT", "RB", "LB")), strict=True))


def tagged(orientation: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
def test_the_table_of_this_test_is_the_standards(orientation: int) -> None:
    """Row 0 and column 0 of what is stored lie on the sides of the upright picture that the standard names."""
    upright = np.zeros((6, 8, 4), np.uint8)
    for channel, side in enumerate(("T", "B", "L", "R")):
        place = {"T": np.s_[0], "B": np.s_[-1], "L": np.s_[:, 0], "R": np.s_[:, -1]}[side]
        upright[(*(place if isinstance(place, tuple) else (place, slice(None))), channel)] = 1
    stored = STORED[orientation](upright)
    row, column = SIDES[orientation]
    assert stored[0, :, "TBLR".index(row)].all()
    assert stored[:, 0, "TBLR".index(column)].all()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("shape", [None, (3, 6, 8), (3, 4, 4), (144,)])
def test_images_are_turned_upright(orientation: int, shape: tuple[int, ...] | None, tmp_path: Path) -> None:
    upright = write_image(tmp_path / "upright" / "a.png", PICTURE)
    turned = write_image(tmp_path / "turned" / "a.png", STORED[orientation](PICTURE), exif=tagged(orientation))
    for place in (turned, turned.parent):
        samples = open_data(place, preprocessing=Preprocessing(shape=shape))
        np.testing.assert_array_equal(samples[:], open_data(upright, preprocessing=Preprocessing(shape=shape))[:])
        assert turned_of(samples) == (orientation > 1)
    plain = Preprocessing(shape=None, exif=False)
    expected = STORED[orientation](PICTURE).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(open_data(turned, preprocessing=plain)[:][0], expected)
    assert turned_of(open_data(turned, preprocessing=plain)) == 0


@pytest.mark.parametrize("orientation", STORED)
def test_jpegs_are_turned_as_png_files_are(orientation: int, tmp_path: Path) -> None:
    """One colour a quadrant, which JPEG keeps nearly."""
    quadrants = np.kron(
        np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 0, 0]]], np.uint8), np.ones((16, 24, 1), np.uint8)
    )
    path = write_image(
        tmp_path / "a.jpg", STORED[orientation](quadrants), exif=tagged(orientation), quality=95, subsampling=0
    )
    found = open_data(path)[:][0].transpose(1, 2, 0) * 255
    assert found.shape == quadrants.shape
    assert np.abs(found - quadrants).mean() < 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_are_none_leave_the_image(orientation: Any, tmp_path: Path) -> None:
    exif = tagged(orientation)
    path = write_image(tmp_path / "a.png", PICTURE, exif=exif)
    np.testing.assert_array_equal(open_data(path)[:][0].transpose(1, 2, 0), PICTURE / np.float32(255))


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"Exif\0\0nonsense", b"\xff" * 40, b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20]
)
def test_a_damaged_exif_block_leaves_the_image(block: bytes, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", PICTURE, exif=block)
    np.testing.assert_array_equal(open_data(path)[:][0].transpose(1, 2, 0), PICTURE / np.float32(255))


def test_boxes_are_those_of_the_upright_image(tmp_path: Path) -> None:
    write_image(tmp_path / "x" / "a.png", STORED[6](PICTURE), exif=tagged(6))
    (tmp_path / "boxes.json").write_text('{"a.png": [6, 0, 8, 6]}')
    found = open_boxes(tmp_path / "boxes.json", tmp_path / "x", samples=1, shape=(3, 6, 8))
    assert found[0].tolist() == [[6, 0, 8, 6]]
    with pytest.raises(InvalidData, match="leaves the image of 6×8 pixels"):
        open_boxes(tmp_path / "boxes.json", tmp_path / "x", samples=1, shape=(3, 6, 8), exif=False)


def test_sub_folders_are_read_however_deep(tmp_path: Path) -> None:
    names = ["cat/2.png", "cat/b/1.png", "cat/b/c/d/1.JPG", "cat/c.png", "dog/summer/1.jpeg", "eel/x/y/z.png"]
    for number, name in enumerate(reversed(names)):
        write_image(tmp_path / name, np.full((4, 4, 3), number, np.uint8))
    (tmp_path / "ant").mkdir()
    samples = open_data(tmp_path)
    assert names_of(samples) == tuple(names)
    assert len(samples) == 6
    assert open_labels(tmp_path).tolist() == [1, 1, 1, 1, 2, 3]
    assert left_out_of(samples) == ""


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "1.png", PICTURE)
    write_image(tmp_path / "a" / ".2.png", PICTURE)
    write_image(tmp_path / "a" / ".hidden" / "3.png", PICTURE)
    for name in ("a/notes.txt", "a/b.TXT", "a/list", "readme.md"):
        (tmp_path / name).write_text("")
    os.symlink("nowhere", tmp_path / "a" / "broken.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    found = find_images(tmp_path)
    assert found.told() == "left out 2 hidden, 6 of other types (.md, .png, .txt)"
    assert found.names == ("a/1.png",)


def test_links_without_end_end(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "1.png", PICTURE)
    write_image(tmp_path / "b" / "2.png", PICTURE)
    os.symlink("..", tmp_path / "a" / "up")
    os.symlink(".", tmp_path / "a" / "self")
    os.symlink("../b", tmp_path / "a" / "other")
    os.symlink("loop", tmp_path / "loop")
    found = find_images(tmp_path)
    assert found.names == ("a/1.png", "a/other/2.png")
    assert found.told() == "left out 3 linked to a folder already read, 1 of other types"


def test_links_that_double_are_read_once(tmp_path: Path) -> None:
    """Thirty folders, each with two links to the next: a billion paths."""
    for depth in range(30):
        (tmp_path / f"{depth}").mkdir()
        for name in ("x", "y"):
            os.symlink(f"../{depth + 1}", tmp_path / f"{depth}" / name)
    write_image(tmp_path / "30" / "1.png", PICTURE)
    assert len(find_images(tmp_path).files) == 1


def test_folders_nest_deeper_than_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    deep = "/".join(["d"] * 1500)
    try:
        for depth in range(1500):
            os.mkdir(deep[: 2 * depth + 1])
        write_image(Path(deep) / "1.png", PICTURE)
        assert len(open_data(".")) == 1
    finally:
        # Python's own removal calls itself for every level, and pytest's of old folders would fail in a later run.
        subprocess.run(["rm", "-r", "d"], check=True)


def test_names_that_are_not_text_are_escaped(tmp_path: Path) -> None:
    write_image(tmp_path / os.fsdecode(b"caf\xe9\x1b[31m") / "1.png", PICTURE)
    samples = open_data(tmp_path)
    assert names_of(samples) == (r"caf\udce9\x1b[31m/1.png",)
    assert len(samples[:]) == 1


def test_a_broken_image_stops_none_of_the_others(tmp_path: Path) -> None:
    """Whether or not sizes are read from headers first."""
    for name in ("a", "c", "d"):
        write_image(tmp_path / f"{name}.png", PICTURE)
    (tmp_path / "0.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    for shape in (None, (3, 6, 8), (144,)):
        samples = open_data(tmp_path, preprocessing=Preprocessing(shape=shape))
        assert len(samples[np.array([1, 3, 4])]) == 3
        for number, name in ((0, "0.png"), (2, "b.png")):
            with pytest.raises(CorruptFile, match=name):
                samples[number : number + 1]
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(CorruptFile, match=r"0\.png"):
        open_data(tmp_path)
