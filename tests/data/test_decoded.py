"""Images are decoded once, however often and under whatever preprocessing they are asked for, and never stale."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from mipin_ref.data import Preprocessing, open_data, turned_of
from mipin_ref.data.decoded import Decoded, DecodedImages
from mipin_ref.errors import CorruptFile


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that Pillow is given."""
    seen: list[Path] = []
    plain = Image.open

    def noted(path: Any, **how: Any) -> Any:
        seen.append(Path(path))
        return plain(path, **how)

    monkeypatch.setattr(Image, "open", noted)
    return seen


def written(path: Path, seed: int, size: tuple[int, int] = (9, 7), turn: int = 1) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def test_a_file_is_decoded_once(tmp_path: Path, opened: list[Path]) -> None:
    first, second = (written(tmp_path / f"{name}.png", seed, turn=3) for seed, name in enumerate("ab"))
    for scale in (1.0, 1.0, 2.0):
        data = open_data(tmp_path, preprocessing=Preprocessing(scale, shape=(3, 9, 7)))
        values = data[:]
        np.testing.assert_array_equal(values[0], np.moveaxis(first[::-1, ::-1], -1, 0) / np.float32(scale))
        np.testing.assert_array_equal(values[1], np.moveaxis(second[::-1, ::-1], -1, 0) / np.float32(scale))
        assert turned_of(data) == 2
    assert len(opened) == 2
    # Otherwise decoded, it is another picture.
    np.testing.assert_array_equal(
        open_data(tmp_path, preprocessing=Preprocessing(1.0, shape=(3, 9, 7), exif=False))[:1][0],
        np.moveaxis(first, -1, 0),
    )
    assert open_data(tmp_path, preprocessing=Preprocessing(1.0, shape=(1, 9, 7)))[:].shape == (2, 1, 9, 7)
    assert len(opened) == 5


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path, how = tmp_path / "a.png", Preprocessing(1.0, shape=(3, 9, 7))
    before = written(path, 0)
    np.testing.assert_array_equal(open_data(path, preprocessing=how)[:][0], np.moveaxis(before, -1, 0))
    times = path.stat()
    after = written(path, 1)
    # Whoever sets the clock back does not hide it.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    np.testing.assert_array_equal(open_data(path, preprocessing=how)[:][0], np.moveaxis(after, -1, 0))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CorruptFile):
        open_data(path, preprocessing=how)[:]


def test_pixels_are_bounded() -> None:
    kept = DecodedImages(limit=100)
    for name in "abcd":
        kept.keep(name, Decoded(np.zeros(30, np.uint8), turned=False))
    assert [kept.get(name) is None for name in "abcd"] == [True, False, False, False]
    kept.get("b")
    kept.keep("e", Decoded(np.zeros(60, np.uint8), turned=False))
    assert [kept.get(name) is None for name in "bcde"] == [False, True, True, False]
    kept.keep("f", Decoded(np.zeros(101, np.uint8), turned=False))
    assert kept.get("f") is None
    assert kept.get("e") is not None
