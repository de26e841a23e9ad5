"""Boxes of arrays, and boxes of image files that move with their images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mipin_ref.data import open_boxes
from mipin_ref.data.images import moved_to_cover, resized_to_cover
from mipin_ref.errors import CorruptFile, InvalidData, MipinError


@given(st.data())
def test_a_box_moves_with_its_image(data: st.DataObject) -> None:
    """Painted and resized, a box leaves traces only where it was moved to, and reaches each of its edges."""
    factor = data.draw(st.integers(1, 4))
    height, width = (factor * data.draw(st.integers(2, 9)) for _ in range(2))
    to_height, to_width = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 9))
    x0, x1 = sorted(data.draw(st.sets(st.integers(0, width), min_size=2, max_size=2)))
    y0, y1 = sorted(data.draw(st.sets(st.integers(0, height), min_size=2, max_size=2)))
    moved = moved_to_cover((x0, y0, x1, y1), width, height, to_height, to_width)
    # Where each pixel of the small image begins and ends in the large one, written out.
    scale = min(width / to_width, height / to_height)
    left, top = (width - scale * to_width) / 2, (height - scale * to_height) / 2
    columns = [c for c in range(to_width) if left + scale * (c + 1) > x0 + 1e-9 and left + scale * c < x1 - 1e-9]
    rows = [r for r in range(to_height) if top + scale * (r + 1) > y0 + 1e-9 and top + scale * r < y1 - 1e-9]
    if not columns or not rows:
        assert moved is None
        return
    assert moved == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_against_pixels() -> None:
    """Blocks of four pixels become one each, so that the paint shows the box exactly."""
    pixels = np.zeros((32, 48), np.uint8)
    pixels[8:20, 16:28] = 255
    small = np.asarray(resized_to_cover(Image.fromarray(pixels).reduce(4), 8, 8))
    assert moved_to_cover((16, 8, 28, 20), 48, 32, 8, 8) == (2, 2, 5, 5)
    assert set(map(tuple, np.argwhere(small > 0).tolist())) == {(r, c) for r in range(2, 5) for c in range(2, 5)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    for name, size in (("cat/a.png", (8, 8)), ("dog/a.png", (12, 8)), ("dog/b.png", (8, 8))):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros(size, np.uint8)).save(images / name)
    return tmp_path


def opened(folder: Path, told: Any, samples: int = 3) -> list[list[list[int]]]:
    path = folder / "boxes.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    found = open_boxes(path, folder / "images", samples=samples, shape=(1, 8, 8))
    return [one.tolist() for one in found]


def test_names_with_and_without_folders(folder: Path) -> None:
    told = {"a.png": [0, 2, 3, 4], "dog/a.png": [[0, 4, 3, 6], [0, 0, 1, 1]], "b.png": [1, 1, 2, 2]}
    # The second image is twelve pixels high, of which two are cut off above: one box moves up, the other is gone.
    assert opened(folder, told) == [[[0, 2, 3, 4]], [[0, 2, 3, 4]], [[1, 1, 2, 2]]]
    assert opened(folder, {"a.png": [0, 2, 3, 4]}, samples=1) == [[[0, 2, 3, 4]]]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"a.png": [0, 2, 3, 4]}, "there is no box of dog/b.png"),
        ({"a.png": [0, 2, 3, 9], "b.png": [0, 0, 1, 1]}, r"box \(0, 2, 3, 9\) leaves the image of 8×8 pixels"),
        ({"a.png": [3, 2, 3, 4], "b.png": [0, 0, 1, 1]}, r"box \(3, 2, 3, 4\) is empty"),
        ({"a.png": [0, 0, 3, 2], "b.png": [0, 0, 1, 1]}, "dog/a.png: the crop to the network's input cuts the box off"),
        ({"a.png": [0, 0, 3], "b.png": [0, 0, 1, 1]}, r"must be integers \[x0, y0, x1, y1\]"),
        ({"a.png": [0, 0, 3, 2.5], "b.png": [0, 0, 1, 1]}, "must be integers"),
        ({"a.png": [0, 0, 3, True]}, "must be integers"),
        ({"a.png": []}, "must be integers"),
        ({"a.png": "box"}, "must be integers"),
        ({"a.png": [0, 0, 3, 10**30]}, "boxes.json, cat/a.png: "),
        ([1, 2], "must be an object"),
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
    ],
)
def test_bad_files_of_boxes(folder: Path, told: Any, message: str) -> None:
    with pytest.raises(MipinError, match=message) as raised:
        opened(folder, told)
    assert isinstance(raised.value, InvalidData | CorruptFile)
    assert str(raised.value).count("\n") == 0


def test_arrays(tmp_path: Path) -> None:
    boxes = np.arange(40).reshape(5, 2, 4)
    np.savez(tmp_path / "b.npz", boxes=boxes, other=boxes[:, 0])
    np.save(tmp_path / "b.npy", boxes[:, 1].astype(np.uint8))
    for name, key, expected in (
        ("b.npz", None, boxes),
        ("b.npz", "other", boxes[:, :1]),
        ("b.npy", None, boxes[:, 1:]),
    ):
        found = open_boxes(tmp_path / name, "x.npz", samples=4, shape=(8, 8), key=key)
        assert np.array_equal(np.stack(found), expected[:4])
    for name in ("b.npy", "b.json"):
        (tmp_path / "b.json").write_text("{}")
        with pytest.raises(InvalidData, match=r"only a \.npz archive has keys"):
            open_boxes(tmp_path / name, "x.npz", samples=4, shape=(8, 8), key="box")
