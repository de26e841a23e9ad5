"""What a network was shown, and which other inputs are far from it."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.data.seen import Extent, Seen, Watch, channels_of

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (30, 3, 8, 8)).astype(np.float32)
UNIT = BYTES / 255
MEAN, STD = (np.array(a, np.float32).reshape(3, 1, 1) for a in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
NORMALISED = (UNIT - MEAN) / STD
CAFFE = BYTES - np.array([104, 117, 123], np.float32).reshape(3, 1, 1)


def seen(x: np.ndarray, axis: int | None = 1) -> Seen:
    axis, each = channels_of(x.shape[1:], axis)
    return Extent.of(x, axis).seen(axis, each)


@pytest.mark.parametrize(
    ("shape", "given", "axis", "each"),
    [((3, 4, 5), 1, 1, 20), ((4, 5, 3), 3, 3, 20), ((7,), None, 1, 1), ((4, 5), None, None, 20), ((4, 5), 1, 1, 5)],
)
def test_channels(shape: tuple[int, ...], given: int | None, axis: int | None, each: int) -> None:
    assert channels_of(shape, given) == (axis, each)
    x = RNG.standard_normal((6, *shape))
    found = seen(x, given)
    channels = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) if axis else x.reshape(1, -1)
    assert found.each == channels.shape[1] // 6
    for channel, (low, high, mean) in zip(channels, zip(found.low, found.high, found.mean, strict=True), strict=True):
        assert (low, high) == (min(channel), max(channel))
        assert abs(mean - sum(channel) / len(channel)) < len(channel) * np.finfo(float).eps * np.abs(channel).max()


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(1, 29), max_size=4))
def test_parts_are_the_whole(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), 30]
    parts = [Extent.of(NORMALISED[a:b], 1) for a, b in pairwise(edges)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merged(part)
    found, expected = whole.seen(1, 64), seen(NORMALISED)
    assert np.array_equal(found.low, expected.low)
    assert np.array_equal(found.high, expected.high)
    # So many additions in float64, of values up to 3.
    np.testing.assert_allclose(found.mean, expected.mean, atol=30 * 64 * 3 * np.finfo(float).eps)


FAR: dict[str, tuple[Any, Any]] = {
    "bytes after 0..1": (UNIT, BYTES),
    "bytes after normalised": (NORMALISED, BYTES),
    "bytes after caffe, one image": (NORMALISED, CAFFE[:1]),
    "0..1 after bytes": (BYTES, UNIT),
    "0..1 after bytes, one image": (BYTES, UNIT[:1]),
    "normalised after bytes": (BYTES, NORMALISED),
    "normalised after caffe": (CAFFE, NORMALISED),
    "normalised after 0..1": (UNIT, NORMALISED),
    "divided twice": (UNIT, UNIT / 255),
    "one channel of three": (UNIT, UNIT * np.array([1, 1, 255], np.float32).reshape(3, 1, 1)),
    "one sample of thirty": (UNIT, np.concatenate([UNIT[:29], BYTES[29:]])),
    "flat bytes": (UNIT.reshape(30, -1), BYTES.reshape(30, -1)),
    "flat 0..1": (BYTES.reshape(30, -1), UNIT.reshape(30, -1)),
    "kelvin and celsius": (290 + 10 * NORMALISED, 17 + 10 * NORMALISED),
}


@pytest.mark.parametrize("name", FAR)
def test_what_is_far(name: str) -> None:
    fitted, x = FAR[name]
    told = seen(fitted).departure(Extent.of(x, 1))
    assert told is not None
    assert "\n" not in told


NEAR: dict[str, tuple[Any, Any]] = {
    "the same": (UNIT, UNIT),
    "a black image": (UNIT, np.zeros_like(UNIT[:1])),
    "a white image after bytes": (BYTES, np.full_like(BYTES[:1], 255)),
    "a grey image": (NORMALISED, np.zeros_like(NORMALISED[:1])),
    "fog": (BYTES, 120 + UNIT * 5),
    "a dark image": (UNIT, UNIT[:1] * 0.05),
    "darker calibration": (UNIT * 0.6, UNIT),
    "other normal values": (RNG.standard_normal((20, 2, 4, 4)), 1.3 * RNG.standard_normal((2000, 2, 4, 4))),
    "a channel that was dead": (UNIT * [[[1]], [[1]], [[0]]], UNIT * [[[1]], [[1]], [[0.1]]]),
    "ink where there was none": (np.eye(40), np.ones((3, 40))),
    "two samples": (RNG.standard_normal((2, 6)), RNG.standard_normal((50, 6))),
    "a small value": (np.array([[-1.0], [1.0]]), np.array([[0.001], [0.002]])),
}  # fmt: skip


@pytest.mark.parametrize("name", NEAR)
def test_what_is_not_far(name: str) -> None:
    fitted, x = NEAR[name]
    assert seen(fitted).departure(Extent.of(x, 1)) is None


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("name", [*FAR, *NEAR])
def test_the_unit_of_the_values_does_not_count(name: str, scale: float) -> None:
    fitted, x = (a.astype(np.float64) for a in (FAR | NEAR)[name])
    with np.errstate(over="ignore"):
        fitted, x = np.clip(fitted * scale, -1e304, 1e304), np.clip(x * scale, -1e304, 1e304)
    assert (seen(fitted).departure(Extent.of(x, 1)) is None) == (name in NEAR)


def test_an_edge_of_the_criterion() -> None:
    """One width outside is near, more is far: of what was seen from 1 to 2, down to 0 and up to 3."""
    fitted = seen(np.linspace(1, 2, 40).reshape(1, 1, 40))
    for low, high, far in ((0, 3, False), (-1e-12, 2, True), (1, 3 + 1e-12, True)):
        x = np.linspace(low, high, 40).reshape(1, 1, 40)
        assert (fitted.departure(Extent.of(x, 1)) is not None) == far


def test_a_watch_warns_once_of_all_batches() -> None:
    watch = Watch(seen(UNIT), "the inverse was fitted")
    for batch in (BYTES[:10], UNIT[:10], BYTES[10:], BYTES[:0]):
        watch.note(batch)

    def attribute() -> None:
        watch.tell()

    with pytest.warns(mr.InputRangeWarning, match="channel . runs from 0 to 255; calibration data ran from 0") as told:
        attribute()
    assert len(told) == 1
    assert told[0].filename == __file__
    for quiet, x in ((Watch(None, ""), BYTES), (Watch(seen(UNIT), ""), UNIT), (Watch(seen(UNIT), ""), BYTES[:0])):
        quiet.note(x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            quiet.tell()
