"""The images of the pointing experiment: what they show, how often, and that a seed repeats them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from paper import photographs

Photograph = photographs.Photograph


def plain(label: int, height: int = 40, width: int = 40) -> NDArray[np.uint8]:
    """One colour [height, width, 3] that tells the label."""
    return np.full((height, width, 3), (label, 2 * label, 3 * label), np.uint8)


LABELS = [3, 10, 20, 20, 35, 48, 59, 77]
IMAGES = [
    Photograph(f"{i}_{label}.jpg", label, plain(label, 40 + 10 * i, 90 - 5 * i)) for i, label in enumerate(LABELS)
]
PICTURES = [
    Photograph(f"{i}_{label}.jpg", label, np.random.default_rng(i).integers(0, 256, (50, 60, 3), dtype=np.uint8))
    for i, label in enumerate(LABELS)
]


def shown(cell: NDArray[np.float32]) -> int:
    """The label of a plain cell [3, h, w]; fails where it holds more than one photograph."""
    pixels = cell * 128 + 127
    label = round(float(pixels[0].mean()))
    np.testing.assert_allclose(pixels, np.array([1, 2, 3])[:, None, None] * np.full(cell.shape, label), atol=1e-3)
    return label


def quarters(image: NDArray[np.float32], grid: int = 2) -> list[NDArray[np.float32]]:
    """The cells of a mosaic, row by row."""
    side = image.shape[1] // grid
    return [image[:, r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(grid) for c in range(grid)]


def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    for name, value, mode in (("b_1_243.jpg", 90, "RGB"), ("a_00_7.jpg", 200, "L"), ("c_0.jpg", 10, "CMYK")):
        Image.new(mode, (8, 6), value).save(tmp_path / name)
    (tmp_path / "boxes.json").write_text("{}")
    images = photographs.photographs(tmp_path)
    assert [(one.name, one.label) for one in images] == [("a_00_7.jpg", 7), ("b_1_243.jpg", 243), ("c_0.jpg", 0)]
    assert all(one.pixels.shape == (6, 8, 3) and one.pixels.dtype == np.uint8 for one in images)
    assert (images[0].pixels == 200).all()


def test_names_without_a_label_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no photograph"):
        photographs.photographs(tmp_path)
    Image.new("RGB", (8, 6)).save(tmp_path / "holiday.jpg")
    with pytest.raises(ValueError, match=r"holiday\.jpg: the name does not end in _<label>\.jpg"):
        photographs.photographs(tmp_path)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 100), (100, 64), (13, 200), (9, 9)])
def test_prepared_is_the_centre_of_the_image(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 200, height).round()[:, None]
    pixels[..., 1] = np.linspace(0, 200, width).round()[None, :]
    x = photographs.prepared(pixels, 28)
    assert x.shape == (3, 28, 28)
    assert x.dtype == np.float32
    side = min(height, width) * 7 / 8
    for channel, length in ((0, height), (1, width)):
        # The ramp at the centres of the output's pixels, whose edges are those of the centre crop.
        position = (length - side) / 2 + (np.arange(28) + 0.5) * side / 28 - 0.5
        expected = np.clip(position / (length - 1), 0, 1) * 200
        profile = x[channel].mean(axis=1 - channel) * 128 + 127
        np.testing.assert_allclose(profile, expected, atol=0.05 * 200 * side / length + 2)
    assert (x[2] == -127 / 128).all()


def test_values_are_scaled_as_the_network_was_trained() -> None:
    for value in (0, 127, 255):
        x = photographs.prepared(np.full((20, 20, 3), value, np.uint8), 16)
        np.testing.assert_array_equal(x, np.full((3, 16, 16), (value - 127) / 128, np.float32))


def test_recognised_keeps_those_with_the_largest_logit() -> None:
    def logits(x: NDArray[np.float32]) -> NDArray[np.float32]:
        assert x.shape == (1, 3, 16, 16)
        scores = np.zeros((1, 100), np.float32)
        scores[0, min(shown(x[0]), 48)] = 1
        return scores

    assert [one.label for one in photographs.recognised(IMAGES, logits, 16)] == [3, 10, 20, 20, 35, 48]


def test_calibration_labels_its_crops_and_uses_all_photographs_alike() -> None:
    x, labels = photographs.calibration(IMAGES, 50, 0, 32, mosaics=0.28)
    assert x.shape == (50, 3, 32, 32)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert labels.shape == (50,)
    assert labels.dtype == np.int64
    assert (labels == -1).sum() == 14
    assert (np.flatnonzero(labels == -1) < 25).sum() not in (0, 14)
    seen = [shown(image) for image, label in zip(x, labels, strict=True) if label >= 0]
    assert seen == labels[labels >= 0].tolist()
    for image in x[labels == -1]:
        seen.extend(shown(cell) for cell in quarters(image))
    # 50 - 14 crops and 4 · 14 cells over 8 photographs, two of them of one class.
    counts = {label: seen.count(label) / LABELS.count(label) for label in set(LABELS)}
    assert set(counts.values()) <= {11, 11.5, 12}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_calibration_of_crops_or_mosaics_alone(share: float) -> None:
    _, labels = photographs.calibration(IMAGES, 9, 0, 16, mosaics=share)
    assert (labels == -1).mean() == share


def test_crops_have_the_stated_area_aspect_and_flips() -> None:
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 250, 200).round()[:, None]
    pixels[..., 1] = np.linspace(0, 250, 300).round()[None, :]
    x, _ = photographs.calibration([Photograph("a_1.jpg", 1, pixels)], 200, 0, 50, mosaics=0)
    values = x * 128 + 127
    # The slope of the ramps tells each crop's height and width.
    height = (values[:, 0, -2].mean(axis=1) - values[:, 0, 1].mean(axis=1)) / 250 * 199 * 50 / 47
    wide = (values[:, 1, :, -2].mean(axis=1) - values[:, 1, :, 1].mean(axis=1)) / 250 * 299 * 50 / 47
    width = np.abs(wide)
    area, aspect = height * width / 60_000, width / height
    assert 0.19 < area.min() < 0.25
    assert 0.9 < area.max() < 1.01
    assert np.all((aspect > 0.74) & ((aspect < 1.35) | (height > 195)))
    assert (aspect < 0.8).any()
    assert (aspect > 1.25).any()
    assert 0.35 < np.mean(wide < 0) < 0.65
    assert (height > 0).all()
    # Small crops lie on every side of the photograph, so that their centres do.
    for channel in (0, 1):
        centre = values[area < 0.4, channel].mean(axis=(1, 2)) / 250
        assert centre.min() < 0.42
        assert centre.max() > 0.58


def test_mosaics_hold_distinct_classes_where_the_labels_say() -> None:
    x, labels = photographs.mosaics(IMAGES, 40, 0, 32)
    assert x.shape == (40, 3, 32, 32)
    assert x.dtype == np.float32
    assert labels.shape == (40, 4)
    assert labels.dtype == np.int64
    for image, row in zip(x, labels, strict=True):
        assert [shown(cell) for cell in quarters(image)] == row.tolist()
        assert len(set(row)) == 4
    # Every class comes to lie in every cell.
    assert all(set(labels[:, cell]) == set(LABELS) for cell in range(4))


def test_mosaics_show_whole_prepared_images() -> None:
    x, labels = photographs.mosaics(PICTURES, 10, 0, 36, grid=2)
    whole = {one.label: photographs.prepared(one.pixels, 18) for one in PICTURES if one.label != 20}
    for image, row in zip(x, labels, strict=True):
        for cell, label in zip(quarters(image), row, strict=True):
            if label in whole:
                np.testing.assert_array_equal(cell, whole[label])


@pytest.mark.parametrize("targets", [(), (3, 20), (77,)])
def test_mosaics_use_all_photographs_alike(targets: tuple[int, ...]) -> None:
    x, labels = photographs.mosaics(PICTURES, 60, 5, 16, targets=targets)
    names = {photographs.prepared(one.pixels, 8).tobytes(): one.name for one in PICTURES}
    used = [names[cell.tobytes()] for image in x for cell in quarters(image)]
    counts = {one.name: used.count(one.name) for one in PICTURES}
    forced = [one.name for one in PICTURES if one.label in targets]
    for i in range(60 if targets else 0):
        assert targets[i % len(targets)] in labels[i]
    if targets == (77,):
        assert counts.pop(forced[0]) == 60
    assert max(counts.values()) - min(counts.values()) <= 2


def test_larger_grids() -> None:
    x, labels = photographs.mosaics([*IMAGES, *(Photograph("", k, plain(k)) for k in (80, 83))], 5, 0, 30, grid=3)
    for image, row in zip(x, labels, strict=True):
        assert [shown(cell) for cell in quarters(image, 3)] == row.tolist()
        assert len(set(row)) == 9


def test_a_seed_repeats_its_images_and_another_does_not() -> None:
    for make in (photographs.calibration, photographs.mosaics):
        (x, labels), (again, labels_again) = make(PICTURES, 12, 4, 16), make(PICTURES, 12, 4, 16)
        np.testing.assert_array_equal(x, again)
        np.testing.assert_array_equal(labels, labels_again)
        other = make(PICTURES, 12, 5, 16)[0]
        assert all((a != b).any() for a in x for b in other)


def test_no_explained_mosaic_is_a_calibration_image() -> None:
    fitted = photographs.calibration(PICTURES, 40, 0, 16, mosaics=0.5)[0]
    explained = photographs.mosaics(PICTURES, 40, 0, 16)[0]
    assert not {x.tobytes() for x in fitted} & {x.tobytes() for x in explained}
    # Nor does one seed place the photographs alike in both.
    _, labels = photographs.mosaics(IMAGES, 10, 0, 32)
    shown_in_fit = [[shown(c) for c in quarters(x)] for x in photographs.calibration(IMAGES, 10, 0, 32, mosaics=1.0)[0]]
    assert labels.tolist() != shown_in_fit


def test_impossible_mosaics_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 9 classes; the photographs have 7"):
        photographs.mosaics(IMAGES, 5, 0, 30, grid=3)
    with pytest.raises(ValueError, match="no photograph of class 4, 5"):
        photographs.mosaics(IMAGES, 5, 0, 30, targets=(5, 3, 4))
    for make in (photographs.calibration, photographs.mosaics):
        with pytest.raises(ValueError, match="31 pixels has no 2×2"):
            make(IMAGES, 5, 0, 31)
