"""Mosaics hold images of distinct classes, each about equally often, wherever chance puts them."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr

LABELS = np.array([3, 3, 0, 1, 2, 5, 5, 5])


def drawn(count: int, seed: int = 0, grid: int = 2, targets: tuple[int, ...] = ()) -> np.ndarray:
    return mr.metrics.arranged_mosaics(LABELS, count, np.random.default_rng(seed), grid, targets)


def test_classes_of_a_mosaic_are_distinct_and_images_used_equally_often() -> None:
    chosen = drawn(80)
    assert chosen.shape == (80, 4)
    for mosaic in chosen:
        assert len(set(LABELS[mosaic])) == 4
    used = np.bincount(chosen.ravel(), minlength=len(LABELS))
    # A class with three images has three times as many to choose from.
    assert used.min() >= 25
    for image in range(len(LABELS)):
        assert set(np.nonzero(chosen == image)[1]) == {0, 1, 2, 3}


def test_targets_take_turns_and_seeds_differ() -> None:
    chosen = drawn(9, targets=(5, 0))
    for number, mosaic in enumerate(chosen):
        assert (5, 0)[number % 2] in LABELS[mosaic]
    assert np.array_equal(chosen, drawn(9, targets=(5, 0)))
    assert not np.array_equal(chosen, drawn(9, seed=1, targets=(5, 0)))
    assert len({int(np.flatnonzero(LABELS[m] == 0)[0]) for m in drawn(40, targets=(0,))}) == 4


def test_too_few_classes() -> None:
    with pytest.raises(mr.InvalidData, match="a 3×3 mosaic needs images of 9 classes; there are 5"):
        drawn(1, grid=3)
    with pytest.raises(mr.InvalidData, match="no image is of class 4, 7"):
        drawn(1, targets=(4, 0, 7))


def test_cells_row_by_row() -> None:
    cells = np.arange(9 * 2 * 4 * 5).reshape(9, 2, 4, 5)
    mosaic = mr.metrics.tiled(cells, 3)
    assert mosaic.shape == (2, 12, 15)
    for number, cell in enumerate(cells):
        top, left = 4 * (number // 3), 5 * (number % 3)
        assert np.array_equal(mosaic[:, top : top + 4, left : left + 5], cell)
