"""rgb32: boxes are those of the pasted objects, a seed repeats, bad input is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import train
from training import rgb32
from training.rgb32 import compose

Integers = NDArray[np.int64]


def _blocks(count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Full-bright rectangles [count, 28, 28] of varied place and size, labelled 0..9 in turn."""
    rng = np.random.default_rng(7)
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        top, left = rng.integers(0, 10, 2)
        height, width = rng.integers(6, 18, 2)
        image[top : top + height, left : left + width] = 255
    return images, (np.arange(count) % 10).astype(np.uint8)


def test_shapes_types_and_labels() -> None:
    images, labels = _blocks(12)
    made = compose(images, labels, seed=3)
    assert made.x.shape == (12, 3, 32, 32)
    assert made.x.dtype == np.uint8
    assert made.y.dtype == np.int64
    assert made.box.shape == (12, 4)
    assert made.box.dtype == np.int64
    np.testing.assert_array_equal(made.y, labels)


def test_same_seed_same_scenes() -> None:
    images, labels = _blocks(12)
    for first, second in zip(compose(images, labels, seed=3), compose(images, labels, seed=3), strict=True):
        np.testing.assert_array_equal(first, second)


def test_other_seed_other_scenes() -> None:
    images, labels = _blocks(12)
    first, second = compose(images, labels, seed=3), compose(images, labels, seed=4)
    assert all((a != b).any() for a, b in zip(first.x, second.x, strict=True))
    assert (first.box != second.box).any()


def test_scene_does_not_depend_on_the_other_labels() -> None:
    images, labels = _blocks(12)
    np.testing.assert_array_equal(compose(images, labels, seed=3).x, compose(images, labels[::-1], seed=3).x)


def test_levels_are_sixteen() -> None:
    images, labels = _blocks(12)
    assert set(np.unique(compose(images, labels, seed=3).x)) <= set(range(0, 256, 17))


def test_box_is_tight_around_the_object() -> None:
    # A full-bright block is painted with at least one channel near 255; texture and clutter stay below 144.
    images, labels = _blocks(40)
    made = compose(images, labels, seed=5)
    for scene, (x0, y0, x1, y1) in zip(made.x, made.box, strict=True):
        bright = scene.max(axis=0) >= 160
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        # Shrinking leaves a dim fringe, which belongs to the object: up to one pixel on every side.
        assert 0 <= x0 <= columns[0] <= x0 + 1
        assert 0 <= y0 <= rows[0] <= y0 + 1
        assert x1 - 1 <= columns[-1] + 1 <= x1 <= 32
        assert y1 - 1 <= rows[-1] + 1 <= y1 <= 32


def test_box_encloses_all_that_the_object_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = _blocks(20)
    made = compose(images, labels, seed=5)
    paste = rgb32._paste

    def paste_fragments_only(
        scene: NDArray[np.int64], patch: NDArray[np.int64], tint: NDArray[np.int64], *rest: int
    ) -> object:
        # Only the object's tint has a channel at full strength.
        target = np.zeros((3, 32, 32), np.int64) if tint.max() == 255 else scene
        return paste(target, patch, tint, *rest)

    monkeypatch.setattr(rgb32, "_paste", paste_fragments_only)
    background = compose(images, labels, seed=5)
    np.testing.assert_array_equal(background.box, made.box)
    for scene, bare, (x0, y0, x1, y1) in zip(made.x, background.x, made.box, strict=True):
        changed = (scene != bare).any(axis=0)
        assert changed[y0:y1, x0:x1].any()
        changed[y0:y1, x0:x1] = False
        assert not changed.any()


def test_one_dim_pixel_is_still_an_object() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[:, 14, 14] = 9
    box = compose(images, np.zeros(2, np.int64), seed=0).box
    assert (box[:, 2:] > box[:, :2]).all()


def test_empty_image_is_refused() -> None:
    with pytest.raises(ValueError, match="image 0 is empty"):
        compose(np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.int64), seed=0)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.ones((2, 28, 28), np.float32), np.zeros(2, np.int64)),
        (np.ones((2, 32, 32), np.uint8), np.zeros(2, np.int64)),
        (np.ones((2, 28, 28), np.uint8), np.zeros(3, np.int64)),
    ],
)
def test_wrong_arrays_are_refused(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="must be"):
        compose(images, labels, seed=0)


def test_command_line_writes_the_npz(tmp_path: Path) -> None:
    images, labels = _blocks(10)
    fashion, out = tmp_path / "fashion.npz", tmp_path / "rgb32.npz"
    np.savez(fashion, x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4])
    train.main(["rgb32-scenes", "--fashion", str(fashion), "--out", str(out)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fashion.npz", "rgb32.npz"]
    with np.load(out, allow_pickle=False) as arrays:
        assert set(arrays) == {f"{what}_{split}" for what in ("x", "y", "box") for split in ("train", "test")}
        assert arrays["x_test"].shape == (4, 3, 32, 32)
        # The same image and index in both splits, yet another scene.
        assert (arrays["x_train"][0] != arrays["x_test"][0]).any()
