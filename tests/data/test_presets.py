"""Preprocessing by name: what each preset does to pixels, compared with the formula its field writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.data import PRESETS, Preprocessing, open_data, preprocessing_named
from mipin_ref.data.presets import preprocessing_of, preset_of

EPS = float(np.finfo(np.float32).eps)


def expected(name: str, rgb: np.ndarray) -> np.ndarray:
    """[H, W, 3] pixels 0..255 as [3, H, W] input: torchvision's, Inception's and Caffe's formulas, written out."""
    pixels = rgb.astype(np.float64)
    if name == "unit":
        made = pixels / 255
    elif name == "imagenet":
        made = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    elif name == "inception":
        made = (pixels / 255 - 0.5) / 0.5
    elif name == "caffe":
        made = pixels[..., [2, 1, 0]] - [103.939, 116.779, 123.68]
    else:
        made = pixels
    return np.moveaxis(made, -1, 0)


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("layout", ["first", "last"])
def test_each_preset_is_its_formula(name: str, layout: str, tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "one.png")
    shape = (3, 5, 4) if layout == "first" else (5, 4, 3)
    given = preprocessing_named(name)
    read = open_data(
        tmp_path / "one.png", preprocessing=Preprocessing(given.scale, given.mean, given.std, shape, bgr=given.bgr)
    )
    wanted = expected(name, rgb)
    # Three operations in single precision on values of up to 255.
    tolerance = 4 * EPS * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(read[:][0], wanted if layout == "first" else np.moveaxis(wanted, 0, -1), atol=tolerance)


def test_mean_and_std_in_a_text() -> None:
    assert preprocessing_named("0.5,0.25") == Preprocessing(255.0, 0.5, 0.25)
    assert preprocessing_named("0.1,0.2,0.3,1,2,3") == Preprocessing(255.0, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert preprocessing_of((0.5, 0.25)) == Preprocessing(255.0, 0.5, 0.25)
    assert preset_of(preprocessing_named("0.485,0.456,0.406,0.229,0.224,0.225")) == "imagenet"
    assert preset_of(Preprocessing(255.0, 0.5, 0.5)) == "inception"
    assert preset_of(Preprocessing(255.0, 0.5, 0.4)) is None


@pytest.mark.parametrize("text", ["imagnet", "0.5", "0.5,0.5,0.5", "0.5,inf", "", "a,b", ",".join("1" * 66)])
def test_other_texts_are_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(mr.InvalidData, match=r"preprocessing is one of unit, .*, or mean,std"):
        preprocessing_named(text)


def test_a_near_name_is_told() -> None:
    with pytest.raises(mr.InvalidData, match="did you mean 'imagenet'"):
        preprocessing_named("imagnet")


def test_what_is_no_preprocessing_is_refused() -> None:
    with pytest.raises(mr.InvalidData, match="preprocess is one of"):
        preprocessing_of(3)


def test_the_order_of_channels_is_kept_and_compared() -> None:
    caffe = PRESETS["caffe"]
    record = json.loads(json.dumps(caffe.as_record()))
    assert record["bgr"] is True
    assert Preprocessing.of_record(record) == caffe
    other = Preprocessing(caffe.scale, caffe.mean)
    assert not caffe.does_as(other)
    assert not other.does_as(caffe)
    assert "bgr" not in other.as_record()
    assert "BGR" in caffe.describe()


def test_samples_without_three_channels_have_no_order() -> None:
    with pytest.raises(mr.InvalidData, match="no three channels"):
        mr.data.as_samples(np.zeros((2, 1, 4, 4), np.uint8), PRESETS["caffe"])
