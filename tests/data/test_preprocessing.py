"""Values and shapes: what Preprocessing promises, and the view that keeps it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipin_ref.data import Preprocessing, Samples, as_samples
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.data.view import View
from mipin_ref.errors import InvalidData

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)


def view(values: Any, steps: Preprocessing, *, channels_first: bool = False) -> View:
    return View(values, steps, origin="x", channels_first=channels_first)


def test_uint8_is_divided_by_255_unless_a_scale_is_given() -> None:
    samples = view(PIXELS, Preprocessing())
    assert samples.dtype == samples[:].dtype == np.float32
    np.testing.assert_array_equal(samples[:], PIXELS.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(view(PIXELS, Preprocessing(scale=1))[:], PIXELS.astype(np.float32))
    np.testing.assert_array_equal(view(PIXELS, Preprocessing(scale=127.5))[:], PIXELS.astype(np.float32) / 127.5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("steps", [Preprocessing(scale=2), Preprocessing(mean=0.5), Preprocessing(std=(2, 4, 8))])
def test_floats_become_float32_once_they_are_changed(dtype: Any, steps: Preprocessing) -> None:
    values = (PIXELS / 255).astype(dtype)
    samples = view(values, steps)
    assert samples.dtype == samples[:].dtype == np.float32
    std = 1 if steps.std is None else np.reshape(steps.std, (3, 1, 1))
    expected = (values.astype(np.float64) / (steps.scale or 1) - (steps.mean or 0)) / std
    np.testing.assert_allclose(samples[:], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.bool_])
def test_other_integers_need_a_scale(dtype: Any) -> None:
    values = np.array([[0, 1], [1, 1]], dtype=dtype)
    with pytest.raises(InvalidData, match="have no agreed scale; give one, option 'scale'"):
        view(values, Preprocessing(mean=0.5))
    np.testing.assert_array_equal(view(values, Preprocessing(scale=4))[:], np.array([[0, 0.25], [0.25, 0.25]]))


@pytest.mark.parametrize("layout", ["channels first", "channels last", "flattened", "flat"])
def test_mean_and_std_are_per_channel(layout: str) -> None:
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    expected = (PIXELS / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    values = PIXELS
    shape: tuple[int, ...] = (3, 4, 6)
    if layout == "channels last":
        values, expected, shape = PIXELS.transpose(0, 2, 3, 1), expected.transpose(0, 2, 3, 1), (4, 6, 3)
    elif layout == "flattened":
        expected, shape = expected.reshape(5, 72), (72,)
    elif layout == "flat":
        values, shape = PIXELS[:, :, 0, :1].reshape(5, 3), (3,)
        expected = expected[:, :, 0, :1].reshape(5, 3)
    samples = view(values, Preprocessing(mean=mean, std=std, shape=shape))
    np.testing.assert_allclose(samples[:], expected, rtol=1e-5, atol=1e-6)


def test_statistics_of_the_wrong_length() -> None:
    with pytest.raises(InvalidData, match=r"4 values of mean do not fit the channels of samples of shape \[3, 4, 6\]"):
        view(PIXELS, Preprocessing(mean=[0.0] * 4))
    # The rows of a gray image are no channels.
    with pytest.raises(InvalidData, match="4 values of std do not fit"):
        view(PIXELS[:, 0], Preprocessing(std=[1.0] * 4, shape=(1, 4, 6)))


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ((4, 6), (1, 4, 6)),
        ((4, 6), (4, 6, 1)),
        ((4, 6), (24,)),
        ((1, 4, 6), (4, 6)),
        ((1, 4, 6), (4, 6, 1)),
        ((24,), (1, 4, 6)),
        ((24,), (4, 6)),
        ((2, 3, 4), (24,)),
        ((24,), (24, 1, 1)),
    ],
)
def test_reshaped(stored: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=(3, *stored))
    samples = view(values, Preprocessing(shape=wanted))
    assert samples.shape == (3, *wanted)
    np.testing.assert_array_equal(samples[:], values.reshape(3, *wanted))


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ((4, 6), (6, 4)),
        ((4, 6), (1, 4, 7)),
        ((4, 6), (25,)),
        ((24,), (2, 3, 4)),
        ((3, 4, 6), (4, 6, 3)),
        ((4, 6, 3), (3, 4, 6)),
        ((3, 4, 6), (3, 24)),
        ((3, 4, 6), (3, 6, 4)),
    ],
)
def test_shapes_that_do_not_fit_are_both_named(stored: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    with pytest.raises(InvalidData) as caught:
        view(np.zeros((2, *stored)), Preprocessing(shape=wanted))
    assert str(list(stored)) in str(caught.value)
    assert str(list(wanted)) in str(caught.value)


def test_only_known_channels_first_data_are_transposed() -> None:
    samples = view(PIXELS, Preprocessing(scale=1, shape=(4, 6, 3)), channels_first=True)
    np.testing.assert_array_equal(samples[1:], PIXELS[1:].transpose(0, 2, 3, 1))


@given(st.slices(7))
def test_slices_as_numpy(index: slice) -> None:
    values = np.arange(14.0).reshape(7, 2)
    np.testing.assert_array_equal(view(values, Preprocessing())[index], values[index])


@pytest.mark.parametrize("index", [np.array([0, 7]), np.array([-8])])
def test_index_out_of_range(index: Any) -> None:
    with pytest.raises(InvalidData, match="out of range, there are 7 samples"):
        view(np.zeros((7, 2)), Preprocessing())[index]


@pytest.mark.parametrize(
    "index",
    [3, np.array([True] * 7), np.array([1.0]), np.array([[1]]), (slice(None), 0), "a", None, [[1], [2, 3]]],
)
def test_other_indices_are_refused(index: Any) -> None:
    with pytest.raises(InvalidData, match="index samples by a slice or a one-dimensional array of integers"):
        view(np.zeros((7, 2)), Preprocessing())[index]


def test_only_what_is_sliced_is_read() -> None:
    class Recorder:
        shape, dtype = (1000, 2), np.dtype(np.float32)

        def __init__(self) -> None:
            self.asked: list[Any] = []

        def __getitem__(self, index: Any) -> Any:
            self.asked.append(index)
            return np.zeros((1000, 2), np.float32)[index]

    stored = Recorder()
    samples = view(stored, Preprocessing())
    assert stored.asked == []
    samples[10:20]
    assert stored.asked == [slice(10, 20)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale must be finite and not 0"),
        ({"scale": math.nan}, "scale must be a finite number, not nan"),
        ({"mean": math.inf}, "mean must hold finite numbers"),
        ({"mean": []}, "mean must hold finite numbers"),
        ({"mean": "abc"}, "mean must be a number or a sequence of numbers"),
        ({"std": 0}, "std must be positive"),
        ({"std": (1, -1)}, r"std must be positive, got \(1, -1\)"),
        ({"shape": ()}, "every axis of shape must be at least 1"),
        ({"shape": (3, 0)}, "every axis of shape must be at least 1"),
        ({"shape": ("N", 3)}, "shape must hold whole numbers"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        Preprocessing(**options)


def test_describe_is_one_line_that_says_it_all() -> None:
    assert Preprocessing().describe() == "uint8 values divided by 255, floating-point values as stored"
    line = Preprocessing(scale=255, mean=(0.485, 0.456, 0.406), std=[0.25], shape=[3, 224, 200]).describe()
    assert line == (
        "values divided by 255, then minus mean (0.485, 0.456, 0.406), then divided by std 0.25; "
        "each sample as [3, 224, 200]; image files as RGB, shorter side resized (bilinear, antialiased) "
        "and centre crop to 224 x 200 pixels"
    )
    assert "grayscale" in Preprocessing(shape=(28, 28)).describe()
    assert "image files" not in Preprocessing(shape=(784,)).describe()
    assert "(0, 0, 0, 0, ... 784 values)" in Preprocessing(mean=[0.0] * 784).describe()


def test_preprocessing_is_a_value() -> None:
    assert Preprocessing(mean=[1, 2], shape=[3]) == Preprocessing(mean=(1.0, 2.0), shape=(3,))
    assert hash(Preprocessing(mean=np.array([1.0, 2.0]))) == hash(Preprocessing(mean=(1, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "geometry"),
    [
        ((3, 32, 32), (3, 32, 32)),
        ((1, 28, 20), (1, 28, 20)),
        ((28, 20, 1), (1, 28, 20)),
        ((28, 20), (1, 28, 20)),
        ((784,), None),
        ((1, 784), None),
        ((64, 7, 7), None),
        ((3, 8, 8, 8), None),
    ],
)
def test_image_geometry(shape: tuple[int, ...], geometry: tuple[int, int, int] | None) -> None:
    assert image_geometry(shape) == geometry


def test_view_is_samples() -> None:
    assert isinstance(as_samples(np.zeros((2, 2))), Samples)
