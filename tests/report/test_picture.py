"""Pages and files: layout, values of the pixels, and atomic writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mipin_ref.errors import InvalidData
from mipin_ref.report import compose_page, explanation_page, heatmap, save_png
from mipin_ref.report.page import BACKGROUND, scaled
from mipin_ref.report.picture import to_picture

RNG = np.random.default_rng(0)
LOGITS = [1.5, -2.0]
TITLES = ["class 3", "class 7"]


def positions(page: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Every (top, left) where a picture lies on a page, pixel by pixel."""
    height, width = picture.shape[:2]
    corners = (page == picture[0, 0]).all(axis=-1)
    return [
        (int(top), int(left))
        for top, left in np.argwhere(corners[: page.shape[0] - height + 1, : page.shape[1] - width + 1])
        if np.array_equal(page[top : top + height, left : left + width], picture)
    ]


def page_of(images: Any, source: Any, attribution: Any, **options: Any) -> npt.NDArray[np.uint8]:
    return explanation_page(images, source, attribution, LOGITS, LOGITS, TITLES, **options)


@pytest.mark.parametrize(
    ("shape", "channel_axis"), [((2, 1, 8, 8), 1), ((2, 3, 8, 8), 1), ((2, 8, 8, 3), 3), ((2, 8, 8), None)]
)
def test_a_row_holds_input_source_attribution_and_contribution(
    shape: tuple[int, ...], channel_axis: int | None
) -> None:
    images, source, attribution = RNG.normal(size=(3, *shape))
    page = page_of(images, source, attribution, channel_axis=channel_axis)
    assert page.dtype == np.uint8
    assert page.shape[2] == 3
    places = []
    for n in range(2):
        x, s, a = (values[n] if channel_axis else values[n, None] for values in (images, source, attribution))
        axis = (channel_axis or 1) - 1
        low, high = x.min(), x.max()
        shown = [np.rint(255 * np.clip((values - low) / (high - low), 0, 1)) for values in (x, s)]
        pictures = [np.moveaxis(values, axis, -1).astype(np.uint8) * np.ones(3, np.uint8) for values in shown]
        pictures += [heatmap(a.mean(axis=axis)), heatmap((a * x).sum(axis=axis))]
        found = [positions(page, picture.repeat(18, axis=0).repeat(18, axis=1)) for picture in pictures]
        assert [len(places) for places in found] == [1] * 4
        places.append([places[0] for places in found])
    for row in places:
        assert len({top for top, _ in row}) == 1
        assert sorted(left for _, left in row) == [left for _, left in row]
    assert [left for _, left in places[0]] == [left for _, left in places[1]]
    assert places[0][0][0] + 8 * 18 < places[1][0][0]


def test_the_page_has_a_light_ground_titles_and_a_legend() -> None:
    values = np.ones((2, 1, 8, 8))
    page = page_of(values, values, 0 * values)
    assert page[0, 0].tolist() == list(BACKGROUND)
    assert min(BACKGROUND) > 240
    assert len(positions(page, heatmap(np.linspace(-1, 1, 160)[None].repeat(12, axis=0)))) == 1
    renamed = explanation_page(values, values, 0 * values, LOGITS, LOGITS, ["class 3", "class 8"])
    other_logit = explanation_page(values, values, 0 * values, LOGITS, [1.5, 2.0], TITLES)
    half = page.shape[0] // 2
    for changed in (renamed, other_logit):
        assert changed.shape == page.shape
        rows = np.flatnonzero((changed != page).any(axis=(1, 2)))
        assert rows.size
        assert rows.min() > half - 60
    assert page_of(values, values, values, heading="model").shape[0] > page.shape[0]


def test_other_numbers_of_channels_are_shown_as_their_mean() -> None:
    images = RNG.random((2, 5, 9, 9))
    page = page_of(images, images, images)
    mean = images[0].mean(axis=0)
    gray = np.rint(255 * (mean - mean.min()) / (mean.max() - mean.min())).astype(np.uint8)
    picture = gray[..., None].repeat(3, axis=-1).repeat(16, axis=0).repeat(16, axis=1)
    assert len(positions(page, picture)) == 2


def test_source_signals_are_clipped_to_the_range_of_their_input() -> None:
    x, s = np.array([[[1.0], [3.0]]]), np.array([[[-5.0], [9.0]]])
    assert to_picture(s, x)[0].tolist() == [[0] * 3, [255] * 3]
    assert to_picture(np.array([[[2.0], [1.5]]]), x)[0].tolist() == [[128] * 3, [64] * 3]
    assert not to_picture(np.full((2, 2, 1), 7.0), np.full((2, 2, 1), 7.0)).any()


@pytest.mark.parametrize(
    ("side", "expected"), [(1, 140), (28, 140), (32, 128), (100, 100), (224, 224), (280, 280), (1000, 280)]
)
def test_cells(side: int, expected: int) -> None:
    picture = RNG.integers(0, 256, (side, max(side // 2, 1), 3), dtype=np.uint8)
    cell = scaled(picture, 140)
    assert cell.shape[0] == expected
    assert (cell.shape[0] > side) == (side < 94)


def test_long_titles_and_headings_stay_on_the_page() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    short = compose_page([[picture]], ["a"], ["t"], legend=False)
    long = compose_page([[picture]], ["a"], ["title " * 100 + "\n" + "more " * 100], heading="h " * 200, legend=False)
    assert long.shape[1] == short.shape[1]
    np.testing.assert_array_equal(long[:, -19:], np.broadcast_to(BACKGROUND, (long.shape[0], 19, 3)))
    assert compose_page([[picture]], ["a wide heading " * 5], ["t"]).shape[1] > 300


@pytest.mark.parametrize(
    ("rows", "headings", "titles", "cell", "message"),
    [
        ([], ["a"], [], 140, "nothing to show"),
        ([[]], [], ["t"], 140, "nothing to show"),
        ([[np.zeros((2, 2, 3), np.uint8)]], ["a"], [], 140, "1 rows need as many titles"),
        ([[np.zeros((2, 2, 3), np.uint8)]], ["a", "b"], ["t"], 140, "each row 2 pictures"),
        ([[np.zeros((2, 2, 3))]], ["a"], ["t"], 140, "a picture must be uint8"),
        ([[np.zeros((2, 2), np.uint8)]], ["a"], ["t"], 140, "a picture must be uint8"),
        ([[np.zeros((2, 2, 3), np.uint8)]], ["a"], ["t"], 0, "cell must be at least 1 pixel"),
    ],
)
def test_pages_that_cannot_be_composed(rows: Any, headings: Any, titles: Any, cell: int, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        compose_page(rows, headings, titles, cell=cell)


X = np.ones((2, 1, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, X[:1], X, LOGITS, LOGITS, TITLES), {}, "must have one shape"),
        ((X, X, X[:, :, :2], LOGITS, LOGITS, TITLES), {}, "must have one shape"),
        ((X, X, X, LOGITS[:1], LOGITS, TITLES), {}, "2 samples need as many logits and titles"),
        ((X, X, X, LOGITS, LOGITS, TITLES[:1]), {}, "2 samples need as many logits and titles"),
        ((X, X * np.nan, X, LOGITS, LOGITS, TITLES), {}, "source: the values hold NaN or Inf"),
        ((X, X, X, LOGITS, [np.inf, 0], TITLES), {}, "logits_source: the values hold NaN or Inf"),
        ((X[:0], X[:0], X[:0], [], [], []), {}, "are no images"),
        ((X.reshape(2, 16), X, X, LOGITS, LOGITS, TITLES), {}, r"images of shape \[2, 16\] .* are no images"),
        ((X, X, X, LOGITS, LOGITS, TITLES), {"channel_axis": None}, "are no images"),
        ((X, X, X, LOGITS, LOGITS, TITLES), {"channel_axis": 0}, "channel_axis must be 1, 2, 3 or None"),
    ],
)
def test_explanations_that_cannot_be_shown(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        explanation_page(*arguments, **options)


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_png_holds_the_pixels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = RNG.integers(0, 256, shape, dtype=np.uint8)
    save_png(picture[:, ::-1], tmp_path / "a.png")
    save_png(picture, str(tmp_path / "a.png"))
    with Image.open(tmp_path / "a.png", formats=["PNG"]) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def fail(self: Image.Image, file: Any, format: str) -> None:
        file.write(b"half")
        raise fault

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(InvalidData if isinstance(fault, OSError) else KeyboardInterrupt):
        save_png(np.zeros((2, 2), np.uint8), path)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("array", "name", "message"),
    [
        (np.zeros((2, 2)), "a.png", r"must be uint8 \[H, W\] or \[H, W, 3\], not float64 \[2, 2\]"),
        (np.zeros((2, 2, 4), np.uint8), "a.png", "must be uint8"),
        (np.zeros((0, 2), np.uint8), "a.png", "must be uint8"),
        (np.zeros((2, 2), np.uint8), "missing/a.png", "cannot be written"),
        (np.zeros((2, 2), np.uint8), "", "cannot be written"),
    ],
)
def test_pictures_that_cannot_be_saved(tmp_path: Path, array: Any, name: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        save_png(array, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
