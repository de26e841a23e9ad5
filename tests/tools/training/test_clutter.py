"""Boxed clutter: boxes are those of the painted objects, splits stay apart, a seed repeats, bad input is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import train
from tests.tools.training.clutter_data import CLASSES, SOURCES, SPLITS, blobs, files
from training import clutter, texture
from training.pixels import in_levels


def without_objects(monkeypatch: pytest.MonkeyPatch, last: int, **options: bool) -> NDArray[np.uint8]:
    """The scenes of seed 5 as they are but for their last `last` layers: texture and fragments alone."""
    layers: list[NDArray[np.int64]] = []
    scene_of = clutter._scene

    def scene_without(*arguments: Any) -> tuple[NDArray[np.uint8], list[clutter.Box]]:
        layers.clear()
        _, boxes = scene_of(*arguments)
        bare = layers[-last]
        return in_levels(bare), boxes

    paint = clutter._paint

    def remember(scene: NDArray[np.int64], *rest: Any) -> None:
        layers.append(scene.copy())
        paint(scene, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(clutter, "_scene", scene_without)
        patched.setattr(clutter, "_paint", remember)
        bare: NDArray[np.uint8] = clutter.compose(SOURCES, "test", 40, seed=5, **options).x
    return bare


def test_shapes_types_and_labels() -> None:
    made = clutter.compose(SOURCES, "train", 2 * CLASSES, seed=3)
    assert made.x.shape == (30, 3, 64, 64)
    assert made.x.dtype == np.uint8
    assert made.boxes.shape == (30, 4)
    assert made.y.dtype == made.boxes.dtype == np.int64
    np.testing.assert_array_equal(made.y, [*range(CLASSES), *range(CLASSES)])
    assert len(clutter.CLASS_NAMES) == CLASSES
    assert set(np.unique(made.x)) <= set(range(0, 256, 17))


@pytest.mark.parametrize("pairs", [False, True])
def test_a_seed_repeats_and_more_samples_change_none(pairs: bool) -> None:
    few = clutter.compose(SOURCES, "train", 5, seed=3, pairs=pairs)
    many = clutter.compose(SOURCES, "train", 12, seed=3, pairs=pairs)
    for name in few._fields:
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:5])


def test_seed_and_split_change_every_scene() -> None:
    one = clutter.compose(SOURCES, "train", 12, seed=3)
    for split, seed in (("train", 4), ("test", 3)):
        other = clutter.compose(SOURCES, split, 12, seed=seed)
        # By far most pixels: not the object alone is another.
        assert all((a != b).mean() > 0.5 for a, b in zip(one.x, other.x, strict=True))


@pytest.mark.parametrize("pairs", [False, True])
def test_boxes_enclose_all_that_the_objects_change_and_no_more(monkeypatch: pytest.MonkeyPatch, pairs: bool) -> None:
    made = clutter.compose(SOURCES, "test", 40, seed=5, pairs=pairs)
    bare = without_objects(monkeypatch, 1 + pairs, pairs=pairs)
    loose = 0
    for scene, empty, boxes in zip(made.x, bare, made.boxes.reshape(40, -1, 4), strict=True):
        changed = (scene != empty).any(axis=0)
        for x0, y0, x1, y1 in boxes:
            inside = changed[y0:y1, x0:x1].copy()
            changed[y0:y1, x0:x1] = False
            edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            loose += sum(not edge.any() for edge in edges)
        assert not changed.any()
    # A faint edge may leave all its pixels at their level of grey; that a box is tight shows in nearly all.
    assert loose <= 0.02 * 4 * 40 * (1 + pairs)


@pytest.mark.parametrize("garment", [False, True])
def test_a_patch_has_its_size_and_no_clear_margin(garment: bool) -> None:
    for size in range(20, 35):
        for image in blobs(10, size):
            opacity, shade = clutter._patch(image, size, garment)
            # A rim of one pixel in eight or more on either side, which as part of a digit is too faint to be painted.
            smallest = size - 2 if garment else 3 * size // 4 - 1
            assert smallest <= max(opacity.shape) <= size
            assert opacity.shape == shade.shape
            assert all(edge.any() for edge in (opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]))
            assert opacity.min() >= 0
            assert clutter.FAINTEST <= opacity[opacity > 0].min() <= opacity.max() <= 255
            assert 0 <= shade.min() <= shade.max() <= 255


def test_boxes_lie_inside_and_cover_less_than_a_third() -> None:
    for pairs in (False, True):
        boxes = clutter.compose([np.full((1, 28, 28), 255, np.uint8)] * 3, "train", 60, 1, pairs=pairs).boxes
        boxes = boxes.reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        assert boxes.min() >= 0
        assert boxes.max() <= 64
        assert (sides > 0).all()
        assert (sides.prod(axis=1) < 0.33 * 64 * 64).all()


def test_pairs_are_of_two_classes_side_by_side() -> None:
    made = clutter.compose(SOURCES, "train", 60, seed=1, pairs=True)
    assert made.y.shape == (60, 2)
    assert made.boxes.shape == (60, 2, 4)
    np.testing.assert_array_equal(made.y[:, 0], np.arange(60) % CLASSES)
    assert (made.y[:, 0] != made.y[:, 1]).all()
    assert set(made.y[:, 1]) == set(range(CLASSES))
    for boxes in made.boxes:
        covered = np.zeros((64, 64), int)
        for x0, y0, x1, y1 in boxes:
            covered[y0:y1, x0:x1] += 1
        assert covered.max() == 1


def test_each_box_of_a_pair_holds_its_own_class() -> None:
    """Class 0 is a full square, class 1 a flat bar: the boxes' aspects tell which object was painted where."""
    square, bar = np.zeros((2, 1, 28, 28), np.uint8)
    square[0, 4:24, 4:24] = bar[0, 10:15, 4:24] = 255
    made = clutter.compose([square, bar], "train", 30, seed=2, pairs=True)
    sides = made.boxes[..., 2:] - made.boxes[..., :2]
    np.testing.assert_array_equal(sides[..., 0] > 2 * sides[..., 1], made.y == 1)


def test_fragments_are_small_and_show_something() -> None:
    rng = np.random.default_rng(0)
    for size in range(*clutter.OBJECT_SIZES):
        for image in blobs(10, size):
            patch = clutter._patch(image, size, True)
            fragment = clutter._fragment(rng, patch)
            assert max(fragment.opacity.shape) <= 0.4 * size
            assert fragment.opacity.max() > 127


def test_brightness_does_not_tell_object_from_clutter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object's pixel is brighter than one of the clutter about every other time; so for the colour's spread."""
    layers: list[NDArray[np.int64]] = []
    paint = clutter._paint

    def remember(scene: NDArray[np.int64], patch: clutter.Patch, tint: NDArray[np.int64], top: int, left: int) -> None:
        layers.append(tint)
        paint(scene, patch, tint, top, left)

    monkeypatch.setattr(clutter, "_paint", remember)
    objects, fragments, grounds = [], [], []
    for index in range(400):
        layers.clear()
        rng = np.random.Generator(np.random.PCG64(index))
        scene, _ = clutter._scene(rng, SOURCES, [index % CLASSES], clutter.OBJECT_SIZES)
        objects.append(layers[-1])
        fragments += layers[:-1]
        grounds.append(scene.mean(axis=(1, 2)))
    for feature in (np.mean, np.ptp):
        mine, others = (np.asarray(feature(tints, axis=1)) for tints in (objects, fragments))
        brighter = (mine[:, None] > others[None]).mean() + (mine[:, None] == others[None]).mean() / 2
        # Four standard deviations of the rank statistic for 400 objects.
        assert abs(brighter - 0.5) < 4 / np.sqrt(12 * 400)
    mine, ground = np.mean(objects, axis=1), np.mean(grounds, axis=1)
    assert abs((mine[:, None] > ground[None]).mean() - 0.5) < 0.1


def test_texture_stays_in_range_and_varies() -> None:
    scenes = [texture.texture(np.random.default_rng(seed)) for seed in range(50)]
    for scene, base in scenes:
        assert scene.shape == (3, 64, 64)
        assert scene.dtype == np.int64
        assert 0 <= scene.min() <= scene.max() <= 255
        assert scene.std(axis=(1, 2)).min() > 3
        assert np.abs(scene.mean(axis=(1, 2)) - base).max() < 64


def test_splits_take_their_own_images(tmp_path: Path) -> None:
    paths = files(tmp_path)
    both = {split: clutter.load_sources(*paths, split) for split in SPLITS}
    for split, sources in both.items():
        for names, path, labels in (
            (range(10), paths[0], range(10)),
            (range(10, CLASSES), paths[1], clutter.GARMENTS),
        ):
            with np.load(path) as arrays:
                x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
            for number, label in zip(names, labels, strict=True):
                np.testing.assert_array_equal(sources[number], x[y == label])
    training = {image.tobytes() for images in both["train"] for image in images}
    assert not training.intersection(image.tobytes() for images in both["test"] for image in images)


def test_empty_images_are_left_out(tmp_path: Path) -> None:
    mnist, fashion = files(tmp_path)
    with np.load(mnist) as arrays:
        changed = dict(arrays)
    changed["x_train"][3] = 0
    np.savez(mnist, **changed)
    sources = clutter.load_sources(mnist, fashion, "train")
    assert [len(images) for images in sources[:5]] == [3, 3, 3, 2, 3]


def run(*options: object) -> None:
    train.main(["clutter-scenes", *map(str, options)])


@pytest.mark.parametrize("pairs", [False, True])
def test_command_line_writes_the_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: bool) -> None:
    mnist, fashion = files(tmp_path)
    out = tmp_path / "out" / "clutter.npz"
    out.parent.mkdir()
    options = ["--mnist", mnist, "--fashion", fashion, "--out", out, "--seed", 4, "--samples", 6, "--split", "train"]
    run(*options, *["--pairs"] * pairs)
    assert [path.name for path in out.parent.iterdir()] == ["clutter.npz"]
    expected = clutter.compose(clutter.load_sources(mnist, fashion, "train"), "train", 6, 4, pairs=pairs)
    with np.load(out, allow_pickle=False) as arrays:
        assert set(arrays) == {"x", "y", "boxes"}
        for key in arrays:
            np.testing.assert_array_equal(arrays[key], getattr(expected, key))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "no file"),
        (b"not an npz", "no readable npz"),
        (b"", "no readable npz"),
        ({"x_train": blobs(3), "y_train": np.zeros(3, int)}, "lacks x_test"),
        ({"x_test": blobs(3)}, "lacks y_test"),
        ({"x_test": blobs(3).astype(np.float32), "y_test": np.zeros(3, int)}, "must be uint8 [N, 28, 28], got float32"),
        ({"x_test": blobs(3)[:, :20], "y_test": np.zeros(3, int)}, "got uint8 [3, 20, 28]"),
        ({"x_test": blobs(3), "y_test": np.zeros(2, int)}, "must be integers [3], got int64 [2]"),
        ({"x_test": blobs(3), "y_test": np.zeros(3)}, "must be integers [3], got float64 [3]"),
        ({"x_test": blobs(3), "y_test": np.zeros(3, int)}, "holds no image of class 1"),
        ({"x_test": blobs(3), "y_test": np.array([{}, {}, {}])}, "no readable npz"),
    ],
)
def test_bad_files_are_named_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arrays: dict[str, NDArray[np.generic]] | bytes | None,
    message: str,
) -> None:
    _, fashion = files(tmp_path)
    mnist, out = tmp_path / "bad.npz", tmp_path / "out.npz"
    if isinstance(arrays, bytes):
        mnist.write_bytes(arrays)
    elif arrays is not None:
        np.savez(mnist, **arrays)  # type: ignore[arg-type]
    with pytest.raises(SystemExit) as stopped:
        run("--mnist", mnist, "--fashion", fashion, "--out", out)
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert "bad.npz" in last
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--samples", 0, "samples must be at least 1, got 0"), ("--seed", -1, "must not be negative, got -1")],
)
def test_bad_options_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: int,
    message: str,
) -> None:
    mnist, fashion = files(tmp_path)
    with pytest.raises(SystemExit):
        run("--mnist", mnist, "--fashion", fashion, "--out", tmp_path / "out.npz", option, value)
    assert message in capsys.readouterr().err


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of train, test"):
        clutter.compose(SOURCES, "validation", 1, 0)
