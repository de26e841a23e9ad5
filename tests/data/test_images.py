"""Folders of PNG and JPEG files, and single ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mipin_ref.data import Preprocessing, open_data, open_labels
from mipin_ref.data.images import ImageFiles
from mipin_ref.errors import CorruptFile, InvalidData
from tests.data.formats import write_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (3, 6, 8), dtype=np.uint8)


def scaled(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def flat_folder(folder: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    """b.png, c.png, a.png hold pixels 0, 1, 2; and files that are no images."""
    for name, image in zip(("b", "c", "a"), pixels, strict=True):
        write_image(folder / f"{name}.png", image)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"broken")
    return folder


def test_folder_is_sorted_by_name_and_keeps_its_size(tmp_path: Path) -> None:
    samples = open_data(flat_folder(tmp_path / "x", COLOUR))
    assert samples.shape == (3, 3, 6, 8)
    expected = scaled(COLOUR[[2, 0, 1]].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(samples[:], expected)
    np.testing.assert_array_equal(samples[np.array([2, 0])], expected[[2, 0]])
    gray = open_data(flat_folder(tmp_path / "gray", GRAY))
    np.testing.assert_array_equal(gray[:], scaled(GRAY[[2, 0, 1]])[:, None])


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for name, image in (("dog/1", 0), ("cat/2", 1), ("cat/1", 2)):
        write_image(tmp_path / f"{name}.png", COLOUR[image])
    (tmp_path / "bird").mkdir()
    (tmp_path / ".cache").mkdir()
    assert open_labels(tmp_path).tolist() == [1, 1, 2]
    np.testing.assert_array_equal(open_data(tmp_path)[:], scaled(COLOUR[[2, 1, 0]].transpose(0, 3, 1, 2)))


def test_only_the_images_sliced_are_decoded(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "x", COLOUR)
    (folder / "c.png").write_bytes(b"\x89PNG broken")
    samples = open_data(folder, preprocessing=Preprocessing(shape=(3, 6, 8)))
    assert samples[:2].shape == (2, 3, 6, 8)
    with pytest.raises(CorruptFile, match=r"c\.png: not a readable PNG or JPEG image"):
        samples[2:]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 6, 8), COLOUR.transpose(0, 3, 1, 2)),
        ((6, 8, 3), COLOUR),
        ((144,), COLOUR.transpose(0, 3, 1, 2).reshape(3, 144)),
    ],
)
def test_layouts(tmp_path: Path, shape: tuple[int, ...], expected: npt.NDArray[np.uint8]) -> None:
    samples = open_data(flat_folder(tmp_path / "x", COLOUR), preprocessing=Preprocessing(shape=shape))
    assert samples.shape == (3, *shape)
    np.testing.assert_array_equal(samples[:], scaled(expected[[2, 0, 1]]))


@pytest.mark.parametrize("shape", [(1, 6, 8), (6, 8, 1), (6, 8), (48,), (1, 48), (1, 1, 48)])
def test_colour_becomes_gray_where_the_network_is_gray(tmp_path: Path, shape: tuple[int, ...]) -> None:
    samples = open_data(flat_folder(tmp_path / "x", COLOUR), preprocessing=Preprocessing(shape=shape))
    luma = COLOUR.astype(np.float64) @ (0.299, 0.587, 0.114)
    assert np.abs(samples[:] * 255 - luma[[2, 0, 1]].reshape(3, *shape)).max() <= 0.51


def test_gray_becomes_colour_where_the_network_is_in_colour(tmp_path: Path) -> None:
    samples = open_data(flat_folder(tmp_path / "x", GRAY), preprocessing=Preprocessing(shape=(3, 6, 8)))
    np.testing.assert_array_equal(samples[:], scaled(GRAY[[2, 0, 1]])[:, None].repeat(3, axis=1))


def antialiased(row: npt.NDArray[np.float64], start: float, stop: float, size: int) -> npt.NDArray[np.float64]:
    """row [n] resampled on [start, stop) to [size] by a triangle as wide as a target pixel, tap by tap."""
    scale = (stop - start) / size
    support = max(scale, 1.0)
    out = np.zeros(size)
    for j in range(size):
        centre = start + (j + 0.5) * scale
        weights = [max(0.0, 1 - abs(i + 0.5 - centre) / support) for i in range(len(row))]
        out[j] = np.dot(weights, row) / sum(weights)
    return out


@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 2), (2, 4), (12, 12), (6, 6)])
def test_resize_and_centre_crop(tmp_path: Path, height: int, width: int) -> None:
    write_image(tmp_path / "a.png", GRAY[0])
    samples = open_data(tmp_path, preprocessing=Preprocessing(scale=1, shape=(1, height, width)))
    scale = min(8 / width, 6 / height)
    left, top = (8 - scale * width) / 2, (6 - scale * height) / 2
    across = np.array([antialiased(row, left, 8 - left, width) for row in GRAY[0].astype(np.float64)])
    expected = np.array([antialiased(column, top, 6 - top, height) for column in across.T]).T
    # Pillow rounds to whole gray values after each of its two passes.
    assert np.abs(samples[:][0, 0] - expected).max() <= 1.1


def test_panorama_is_resized_without_a_giant_intermediate_image(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.arange(60000, dtype=np.uint32).astype(np.uint8)[None])
    batch = open_data(tmp_path, preprocessing=Preprocessing(shape=(3, 224, 224)))[:]
    assert batch.shape == (1, 3, 224, 224)


def test_images_of_several_sizes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", COLOUR[0])
    write_image(tmp_path / "b.png", COLOUR[0, :, :5])
    with pytest.raises(InvalidData, match=r"b\.png: 5 x 6 pixels, but a\.png has 8 x 6; images of several sizes need"):
        open_data(tmp_path)
    assert open_data(tmp_path, preprocessing=Preprocessing(shape=(3, 4, 4)))[:].shape == (2, 3, 4, 4)


def test_jpeg_and_single_files(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(40, 200, 16).astype(np.uint8)[:, None, None], (16, 16, 3)).copy()
    path = write_image(tmp_path / "a.JPG", smooth, quality=95)
    batch = open_data(path, preprocessing=Preprocessing(scale=1))[:]
    assert batch.shape == (1, 3, 16, 16)
    assert np.abs(batch[0].transpose(1, 2, 0) - smooth).max() <= 6
    assert len(open_data(tmp_path)) == 1
    with pytest.raises(InvalidData, match="an image holds no labels"):
        open_labels(path)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "CMYK"])
def test_image_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOUR[0]).convert(mode)
    suffix = "jpg" if mode == "CMYK" else "png"
    options: dict[str, Any] = {"transparency": bytes([0, 128, 255])} if mode == "P" else {}
    image.save(tmp_path / f"a.{suffix}", **options)
    assert open_data(tmp_path, preprocessing=Preprocessing(shape=(3, 6, 8)))[:].shape == (1, 3, 6, 8)
    channels = 1 if mode in ("1", "LA") else 3
    assert open_data(tmp_path).shape == (1, channels, 6, 8)


def test_sixteen_bit_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(InvalidData, match=r"a\.png: more than 8 bits per pixel"):
        open_data(tmp_path)[:]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40), b"not an image"])
def test_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(CorruptFile, match=r"bad\.png: not a readable PNG or JPEG image"):
        open_data(tmp_path)


def test_truncated_image_is_named(tmp_path: Path) -> None:
    path = write_image(tmp_path / "bad.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:4000])
    samples = open_data(tmp_path)
    with pytest.raises(CorruptFile, match=r"bad\.png: not a readable PNG or JPEG image"):
        samples[:]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes of pixels do not hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bombs_are_refused(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of_size(side, side))
    with pytest.raises(InvalidData, match=r"bomb\.png: has more than the [0-9,]+ pixels that are decoded"):
        open_data(tmp_path)
    with pytest.raises(InvalidData, match=r"bomb\.png: has more than the [0-9,]+ pixels that are decoded"):
        open_data(tmp_path, preprocessing=Preprocessing(shape=(3, 8, 8)))[:]


def test_folders_that_hold_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidData, match="holds no PNG or JPEG image"):
        open_data(tmp_path / "empty")
    flat_folder(tmp_path / "mixed", COLOUR)
    write_image(tmp_path / "mixed" / "cat" / "a.png", COLOUR[0])
    with pytest.raises(InvalidData, match="both directly and in sub-folders"):
        open_data(tmp_path / "mixed")
    with pytest.raises(InvalidData, match="images without labels"):
        open_labels(flat_folder(tmp_path / "flat", COLOUR))


@pytest.mark.parametrize("shape", [(4, 6, 8), (3, 2, 6, 8), (50,)])
def test_shapes_no_image_can_take(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidData, match="does not fit the network's input"):
        open_data(flat_folder(tmp_path / "x", COLOUR), preprocessing=Preprocessing(shape=shape))


def test_image_that_changes_while_in_use(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", COLOUR[0])
    files = ImageFiles([path], None)
    write_image(path, COLOUR[0, :3])
    with pytest.raises(InvalidData, match="changed its size"):
        files[0:1]
    path.unlink()
    with pytest.raises(InvalidData, match=r"a\.png"):
        files[0:1]


def test_name_that_lies(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"hello world")
    with pytest.raises(CorruptFile, match="not what its name says"):
        open_data(tmp_path / "a.png")
