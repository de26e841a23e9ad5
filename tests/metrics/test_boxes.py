"""Box accuracy against counting by hand, and against Quantus."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr

Maps = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]


def covered(boxes: list[Box]) -> set[tuple[int, int]]:
    """The pixels (row, column) that any of the boxes covers."""
    return {(y, x) for x0, y0, x1, y1 in boxes for y in range(y0, y1) for x in range(x0, x1)}


def twin(one: Maps, boxes: list[Box]) -> float | None:
    """The score of one map [H, W], by sorting its pixels in a list; None where the boxes cover a third or so of it."""
    height, width = one.shape
    inside = covered(boxes)
    if len(inside) / (height * width) >= 0.33:
        return None
    pixels = [(y, x) for y in range(height) for x in range(width)]
    if len({float(one[p]) for p in pixels}) == 1:
        return 0.0
    ranked = sorted(pixels, key=lambda p: (-float(one[p]), pixels.index(p)))
    return sum(p in inside for p in ranked[: len(inside)]) / len(inside)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Maps, list[list[Box]]]:
    """Maps with ties, some flat, with one to three boxes each; the first is not flat and its box is small."""
    height, width, count = draw(st.integers(3, 9)), draw(st.integers(3, 9)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    maps = np.round(rng.standard_normal((count, height, width)) * draw(st.sampled_from([1, 3, 1000])))
    maps[1:] *= (rng.random(count - 1) < 0.8)[:, None, None]
    maps[0, 0, 0] = 5000
    boxes: list[list[Box]] = [[(0, 0, 2, 1)]]
    for _ in range(count - 1):
        boxes.append([])
        for _ in range(draw(st.integers(1, 3))):
            x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
            boxes[-1].append((x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))))
    return maps, boxes


@settings(max_examples=200)
@given(scenes())
def test_agrees_with_counting(scene: tuple[Maps, list[list[Box]]]) -> None:
    maps, boxes = scene
    accuracy = mr.metrics.box_accuracy(maps, boxes)
    expected = [twin(one, own) for one, own in zip(maps, boxes, strict=True)]
    kept = [score for score in expected if score is not None]
    np.testing.assert_allclose(accuracy.scores, [np.nan if e is None else e for e in expected], rtol=1e-12)
    assert accuracy.mean == pytest.approx(sum(kept) / len(kept), rel=1e-12, abs=1e-15)
    assert accuracy.left_out == len(expected) - len(kept)
    flat = [np.ptp(one) == 0 and e is not None for one, e in zip(maps, expected, strict=True)]
    assert accuracy.flat == sum(flat)
    size = maps[0].size
    share = [len(covered(own)) / size for own, e in zip(boxes, expected, strict=True) if e is not None]
    assert accuracy.chance == pytest.approx(sum(share) / len(share), rel=1e-12)


@pytest.mark.slow
def test_agrees_with_quantus() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantus = pytest.importorskip("quantus")
    rng = np.random.default_rng(0)
    count, height, width = 40, 13, 17
    maps = rng.permutation(count * height * width).reshape(count, height, width) / 100 - 40
    boxes = np.empty((count, 4), int)
    for box in boxes:
        x0, y0 = rng.integers(0, width - 6), rng.integers(0, height - 6)
        box[:] = x0, y0, x0 + rng.integers(1, 7), y0 + rng.integers(1, 7)
    masks = np.zeros((count, 1, height, width), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[0, y0:y1, x0:x1] = True
    metric = quantus.RelevanceRankAccuracy(abs=False, normalise=False, disable_warnings=True)
    expected = metric(
        model=torch.nn.Identity(),
        x_batch=np.zeros((count, 1, height, width)),
        y_batch=np.zeros(count, int),
        a_batch=maps[:, None],
        s_batch=masks,
        channel_first=True,
    )
    assert 0.05 < np.mean(expected) < 0.5
    np.testing.assert_allclose(mr.metrics.box_accuracy(maps, boxes).scores, expected, rtol=1e-12)
    np.testing.assert_allclose(mr.metrics.box_accuracy(maps, masks[:, 0]).scores, expected, rtol=1e-12)


def one_map(*pixels: tuple[int, int], size: tuple[int, int] = (4, 5)) -> Maps:
    """Ones at pixels (row, column), zeros elsewhere."""
    scores = np.zeros(size)
    for pixel in pixels:
        scores[pixel] = 1
    return scores


def test_ties_are_broken_by_pixel_order() -> None:
    # Boxes of 2, 2 and 5 pixels: of the three ones the first two count, or all of them and then the first two zeros.
    maps = np.stack([one_map((0, 4), (1, 0), (3, 2))] * 3)
    boxes = [(0, 1, 2, 2), (2, 3, 4, 4), (0, 0, 5, 1)]
    np.testing.assert_allclose(mr.metrics.box_accuracy(maps, boxes).scores, [1 / 2, 0, 3 / 5])


def test_the_limit_is_33_percent_of_the_image() -> None:
    maps = np.stack([one_map((0, 0), size=(10, 10))] * 3)
    masks = np.zeros((3, 100), bool)
    for mask, count in zip(masks, (32, 33, 34), strict=True):
        mask[:count] = True
    accuracy = mr.metrics.box_accuracy(maps, masks.reshape(3, 10, 10))
    np.testing.assert_array_equal(accuracy.scores, [1, np.nan, np.nan])
    assert (accuracy.mean, accuracy.chance, accuracy.left_out, accuracy.flat) == (1, 0.32, 2, 0)
    assert str(accuracy) == (
        "box accuracy 1.0000 (mean of 1 maps, 0.3200 by chance; 2 boxes of 33 % of the image or more left out)"
    )


def test_boxes_of_one_image_count_as_their_union() -> None:
    maps = np.random.default_rng(1).standard_normal((2, 6, 7))
    boxes = np.array([[[0, 0, 3, 2], [1, 1, 4, 3]], [[0, 0, 1, 1], [5, 5, 7, 6]]])
    masks = np.zeros((2, 6, 7), bool)
    masks[0, :2, :3] = masks[0, 1:3, 1:4] = masks[1, 0, 0] = masks[1, 5, 5:7] = True
    accuracy = mr.metrics.box_accuracy(maps, boxes)
    np.testing.assert_array_equal(accuracy.scores, mr.metrics.box_accuracy(maps, masks).scores)
    assert accuracy.chance == pytest.approx((10 + 3) / 84)


def test_flat_maps_score_zero_and_are_counted() -> None:
    maps = np.stack([one_map((0, 0)), np.zeros((4, 5)), np.full((4, 5), 2.5), np.full((4, 5), -1.0)])
    accuracy = mr.metrics.box_accuracy(maps, [(0, 0, 2, 1)] * 4)
    np.testing.assert_array_equal(accuracy.scores, [1, 0, 0, 0])
    assert accuracy.flat == 3
    assert str(accuracy) == (
        "box accuracy 0.2500 (mean of 4 maps, 0.1000 by chance, 3 of them equal everywhere, which score 0)"
    )


def test_images_of_different_sizes() -> None:
    rng = np.random.default_rng(2)
    maps = [rng.standard_normal(size) for size in ((4, 5), (9, 3), (6, 6))]
    mask = np.zeros((9, 3), bool)
    mask[7:, 1:] = True
    boxes: list[Any] = [(3, 2, 5, 4), mask, [(0, 0, 2, 2), (4, 4, 5, 5)]]
    accuracy = mr.metrics.box_accuracy(maps, boxes)
    for number, (one, box) in enumerate(zip(maps, boxes, strict=True)):
        assert accuracy.scores[number] == mr.metrics.box_accuracy(one[None], [box]).mean


def test_the_maps_given_stay_as_they_are() -> None:
    maps = np.random.default_rng(0).standard_normal((1, 5, 5)).astype(np.float16)
    before = maps.copy()
    maps.setflags(write=False)
    mr.metrics.box_accuracy(maps, np.array([[0, 0, 2, 2]], np.uint8))
    np.testing.assert_array_equal(maps, before)


MAPS = np.random.default_rng(5).standard_normal((2, 4, 6))
BOX = (0, 0, 2, 2)
MASK = np.zeros((2, 4, 6), bool)
MASK[:, 0, 0] = True


def spoilt(value: float) -> Maps:
    maps = MAPS.copy()
    maps[1, 1, 1] = value
    return maps


@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (MAPS, [BOX, (4, 0, 7, 2)], r"map 1: box \(4, 0, 7, 2\) leaves its map of 6×4 pixels"),
        (MAPS, [BOX, (0, 3, 2, 5)], "leaves its map"),
        (MAPS, [BOX, (-1, 0, 2, 2)], "leaves its map"),
        (MAPS, [BOX, (0, -1, 2, 2)], "leaves its map"),
        (MAPS, [BOX, (2, 1, 2, 3)], r"map 1: box \(2, 1, 2, 3\) is empty"),
        (MAPS, [BOX, (2, 3, 4, 1)], "is empty"),
        (MAPS, [BOX, [BOX, (2, 3, 4, 3)]], "is empty"),
        (MAPS, [BOX, np.zeros((0, 4), int)], "map 1: there is no box"),
        (MAPS, MASK & (np.arange(2) == 0)[:, None, None], "map 1: the mask is empty"),
        (MAPS, MASK[:, :, :5], r"mask has shape \[4, 5\], the map has shape \[4, 6\]"),
        (MAPS, [BOX], "1 boxes for 2 maps"),
        (MAPS, 5, "boxes must be one for each image"),
        (5.0, [BOX], "maps must be one for each image"),
        (MAPS, [BOX, (0.0, 0.0, 2.0, 2.0)], r"not float64 of shape \[4\]"),
        (MAPS, [BOX, (0, 0, 2)], r"not int64 of shape \[3\]"),
        (MAPS, [BOX, [(0, 0, 2, 2), (0, 0)]], "boxes must be integers"),
        (MAPS, MASK.astype(int), r"not int64 of shape \[4, 6\]"),
        (MAPS * 0, [BOX, BOX], "every map has the same score at all its pixels"),
        (MAPS * 0 + 2, [BOX, BOX], "every map has the same score at all its pixels"),
        (MAPS, [(0, 0, 4, 2), (0, 0, 6, 4)], "no box covers less than 33 %"),
        (spoilt(np.nan), [BOX, BOX], "map 1: the scores hold NaN or Inf"),
        (spoilt(-np.inf), [BOX, BOX], "map 1: the scores hold NaN or Inf"),
        (MAPS[:0], [], "there is no map"),
        (MAPS[:, :0], [BOX, BOX], "empty"),
        (MAPS[:, None], [BOX, BOX], r"must be floats \[H, W\], not float64 of shape \[1, 4, 6\]"),
        (MAPS.astype(int), [BOX, BOX], "not int64"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(maps: Any, boxes: Any, message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message) as caught:
        mr.metrics.box_accuracy(maps, boxes)
    assert "\n" not in str(caught.value)
