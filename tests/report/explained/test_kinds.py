"""What each kind draws of its samples: pixels, curves, bars and words, against the values."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.report.explained import ExplainedFolder, ShownClass, ShownSample
from mipin_ref.report.explained.caption import MARGIN, enlarged
from mipin_ref.report.signed_png import LEVELS
from tests.report.explained.samples import EVIL, NAMES, TOKENS, TOLD, images, of_kind
from tests.report.test_compare_page import Document, decoded

PREFIX = "data:image/png;base64,"


def written(path: Path, kind: Any, samples: Any, **options: Any) -> tuple[Document, str, list[Path]]:
    """The page, its text, and the files of the samples."""
    with ExplainedFolder(path, TOLD, kind=kind, **options) as folder:
        folder.add(samples, {})
        paths = folder.finish()
    text = paths[0].read_text()
    return Document(text), text, paths[3:]


def cut_of(sample: ShownSample) -> float:
    """The scale of a row: the percentile of all its classes' magnitudes."""
    return float(np.quantile(np.abs([one.map for one in sample.classes]), 0.995))


def test_the_file_of_an_image_shows_the_map_over_it_on_the_scale_of_the_row(tmp_path: Path) -> None:
    made = images(1, size=(24, 24))
    _, _, (path,) = written(tmp_path / "out", "image", made)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    large = enlarged(made[0].value)
    assert large.shape == (384, 384, 3)
    expected = mr.overlay(large, made[0].classes[0].map, scale=cut_of(made[0]))
    np.testing.assert_array_equal(pixels[MARGIN : MARGIN + 384, MARGIN : MARGIN + 384], expected)
    # Words below: other ones are other pixels, and nowhere else.
    for changed in (
        {"name": "another.png"},
        {"classes": [ShownClass("other", 0, "60%", 5.5, made[0].classes[0].map), *made[0].classes[1:]]},
        {"classes": [ShownClass("class 0", 0, "61%", 5.5, made[0].classes[0].map), *made[0].classes[1:]]},
    ):
        given = {"name": made[0].name, "value": made[0].value, "classes": made[0].classes} | changed
        _, _, (other,) = written(tmp_path / "other", "image", [ShownSample(**given)])
        with Image.open(other) as picture:
            differ = np.argwhere((np.asarray(picture.convert("RGB")) != pixels).any(axis=-1))
        assert len(differ)
        assert differ[:, 0].min() > 384


@pytest.mark.parametrize(("side", "drawn"), [(28, 392), (1, 384), (224, 448), (500, 500), (3000, 640)])
def test_pictures_are_drawn_at_a_size_that_is_seen(side: int, drawn: int) -> None:
    assert max(enlarged(np.zeros((side, max(1, side // 2), 3), np.uint8)).shape) == drawn


def test_the_page_holds_the_maps_of_all_classes_on_one_scale(tmp_path: Path) -> None:
    made = images(2)
    document, text, _ = written(tmp_path / "out", "image", made)
    maps = [str(one["src"]) for one in document.all("img") if one.get("class") == "alone"]
    assert len(maps) == 6
    shown = [one for sample in made for one in sample.classes]
    cuts = [cut_of(sample) for sample in made for _ in sample.classes]
    for source, one, cut in zip(maps, shown, cuts, strict=True):
        levels = decoded(b64decode(source.removeprefix(PREFIX)))
        assert np.abs(levels / LEVELS * cut - np.clip(one.map, -cut, cut)).max() <= cut / (2 * LEVELS) * (1 + 1e-9)
    for sample in made:
        largest = max(np.abs(one.map).max() for one in sample.classes)
        assert f"full colour at ±{cut_of(sample):.3g}, largest {largest:.3g}" in text
    assert "99.5th percentile" in text
    sources = [one for one in document.all("img") if "source signal" in str(one["alt"])]
    assert len(sources) == 3
    assert all(one["alt"] is not None for one in document.all("img"))


def test_a_page_of_one_class_a_row_offers_no_other(tmp_path: Path) -> None:
    several, text, _ = written(tmp_path / "several", "image", images(2))
    assert len([one for one in several.all("input") if one.get("name") == "rank"]) == 3
    assert "<kbd>1</kbd> to <kbd>3</kbd> the class in the row" in text
    alone = [replace(sample, classes=sample.classes[:1]) for sample in images(2)]
    document, text, _ = written(tmp_path / "alone", "image", alone)
    assert not document.all("input")
    assert "Class explained, in every row" not in text
    assert "the class in the row" not in text
    assert "the next row and the one before" in text


def test_large_maps_are_reduced_to_means_and_it_is_said(tmp_path: Path) -> None:
    made = images(1, size=(600, 600), maps=(600, 600))
    document, text, _ = written(tmp_path / "out", "image", made)
    assert "means of 3×3" in text
    (source, *_) = (str(one["src"]) for one in document.all("img") if one.get("class") == "alone")
    levels = decoded(b64decode(source.removeprefix(PREFIX)))
    means = made[0].classes[0].map.reshape(200, 3, 200, 3).mean(axis=(1, 3))
    cut = cut_of(made[0])
    assert np.abs(levels / LEVELS * cut - means).max() <= cut / (2 * LEVELS) * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["image", "signal", "table", "tokens"])
def test_words_at_the_head_and_any_text_is_text(tmp_path: Path, kind: str) -> None:
    document, text, _ = written(tmp_path / "out", kind, of_kind(kind))
    assert document.text("h1") == ["net/model.onnx: what speaks for each class"]
    assert document.text("p")[:2] == list(TOLD.lines)
    assert {"method", "explained", "calibration"} <= set(document.text("dt"))
    assert {"mip-in", "features", "9"} <= set(document.text("dd"))
    assert len(document.all("script")) == 1
    assert EVIL in document.text("bdi")
    assert "\u202e" not in text
    buttons = [one for one in document.all("button") if one.get("role") == "radio"]
    assert [one["aria-checked"] for one in buttons] == ["true", "false", "false"] * 3
    assert [one["tabindex"] for one in buttons] == ["0", "-1", "-1"] * 3
    policy = next(str(one["content"]) for one in document.all("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'; img-src data:;")
    addresses = [str(v) for _, one in document.elements for k, v in one.items() if k in ("src", "srcset")]
    assert all(address.startswith("data:image/") for address in addresses)
    assert not re.findall(r"url\(|@import|https?://", text)


def test_a_signal_is_a_curve_whose_pieces_are_coloured(tmp_path: Path) -> None:
    value, one = np.array([0.0, 2.0, 1.0, 4.0, 2.0]), np.array([0.0, 1.0, -0.5, 0.001, 1.0])
    sample = ShownSample("s", value, [ShownClass("up", 0, "90%", 1.5, one)])
    _, text, (path,) = written(tmp_path / "out", "signal", [sample])
    root = ElementTree.parse(path).getroot()
    drawn = {(e.get("class"), e.get("stroke-opacity")): str(e.get("d")) for e in root.findall(".//{*}path")}
    assert set(drawn) == {("value", None), ("for", "1"), ("against", "0.5")}
    points = np.array(re.findall(r"[\d.]+", drawn["value", None]), float).reshape(-1, 2)
    np.testing.assert_allclose(points[:, 0], (np.arange(5) + 0.5) * 720 / 5, atol=0.01)
    np.testing.assert_allclose(points[:, 1], 96 * (1 - value / 4), atol=0.01)
    # Half-way before the third point, the point, half-way behind it.
    piece = np.array(re.findall(r"[\d.]+", drawn["against", "0.5"]), float).reshape(-1, 2)
    np.testing.assert_allclose(piece, [(points[1] + points[2]) / 2, points[2], (points[2] + points[3]) / 2], atol=0.02)
    words = [str(e.text) for e in root.findall(".//{*}text")]
    assert words[:2] == ["up  90%", "s"]
    assert "logit 1.5" in words[2]
    assert words[3] == "values 0 to 4; the strip below: contributions"
    assert "contributions -0.5 to 1; logit 1.5" in text


def test_a_long_signal_keeps_its_extremes_and_its_strongest_contribution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    value, one = rng.standard_normal(6000), np.zeros(6000)
    value[1234], one[4321] = 50.0, -7.0
    sample = ShownSample("s", value, [ShownClass("up", 0, "90%", 1.5, one)])
    _, _, (path,) = written(tmp_path / "out", "signal", [sample])
    root = ElementTree.parse(path).getroot()
    assert path.stat().st_size < 100_000
    (curve,) = [str(e.get("d")) for e in root.findall(".//{*}path") if e.get("class") == "value"]
    points = np.array(re.findall(r"[\d.]+", curve), float).reshape(-1, 2)
    assert len(points) == 1200
    assert points[:, 1].min() == 0
    assert points[points[:, 1].argmin(), 0] == pytest.approx(1234 / 6000 * 720, abs=2)
    strips = [e for e in root.findall(".//{*}rect") if "strip" in str(e.get("class"))]
    assert [e.get("class") for e in strips] == ["strip against"]
    assert float(str(strips[0].get("x"))) == pytest.approx(4321 / 6000 * 720, abs=2)
    assert "10 values a step" in path.read_text()


def test_a_table_lists_the_largest_contributions_with_names_and_values(tmp_path: Path) -> None:
    names = [f"feature <{number}>" for number in range(20)]
    made = of_kind("table", 1)
    document, _, (path,) = written(tmp_path / "out", "table", made, feature_names=names)
    sample = made[0]
    heads = [text for text in document.text("bdi") if text.startswith("feature")]
    expected = [np.argsort(-np.abs(one.map), kind="stable")[:12] for one in sample.classes]
    assert heads == [names[i] for order in expected for i in order]
    cells = document.text("td")
    rest = [f"{one.map.sum() - one.map[order].sum():+.3g}" for one, order in zip(sample.classes, expected, strict=True)]
    for one, order, other in zip(sample.classes, expected, rest, strict=True):
        wanted = [word for i in order for word in (f"{sample.value[i]:.4g}", f"{one.map[i]:+.3g}")]
        start = next(n for n in range(len(cells)) if cells[n : n + 24] == wanted)
        assert cells[start + 24] == other
    root = ElementTree.parse(path).getroot()
    bars = [e for e in root.findall(".//{*}rect") if "bar" in str(e.get("class"))]
    first = sample.classes[0].map
    widths = np.array([float(str(e.get("width"))) for e in bars])
    np.testing.assert_allclose(widths[:12] / widths[0], np.abs(first[expected[0]]) / np.abs(first).max(), atol=1e-3)
    assert [str(e.get("class")).split()[1] == "for" for e in bars[:12]] == (first[expected[0]] > 0).tolist()
    words = [str(e.text) for e in root.findall(".//{*}text")]
    best = expected[0][0]
    assert f"{names[best]} = {sample.value[best]:.4g}" in words


def test_tokens_are_on_grounds_of_their_colour(tmp_path: Path) -> None:
    one = np.array([1.0, -0.5, 0.0, 0.25, -1.0])
    sample = ShownSample(NAMES[0], np.arange(5), [ShownClass("good", 0, "90%", 1.5, one)], TOKENS)
    document, _, (path,) = written(tmp_path / "out", "tokens", [sample])
    for shown in (document, Document(path.read_text())):
        spans = [one for one in shown.all("span") if "title" in one]
        assert [str(one["title"]) for one in spans] == ["+1", "-0.5", "+0", "+0.25", "-1"]
        alphas = [float(re.findall(r"([\d.]+)\)", str(one["style"]))[0]) for one in spans]
        # The cut of five values lies a little below the largest.
        np.testing.assert_allclose(alphas, 0.5 * np.abs(one) / np.quantile(np.abs(one), 0.995), atol=0.01)
        assert [("255,0,0" in str(one["style"])) for one in spans] == [True, False, False, True, False]
        assert [text for text in shown.text("span") if text in TOKENS[:4]] == list(TOKENS[:4])
        assert "\\u202ereversed" in shown.text("span")


def test_maps_of_zeros_say_so(tmp_path: Path) -> None:
    for kind in ("image", "signal", "table", "tokens"):
        sample = of_kind(kind, 1)[0]
        zero = [ShownClass(one.name, 0, "1%", 1.0, 0 * one.map) for one in sample.classes]
        _, text, _ = written(tmp_path / kind, kind, [ShownSample("s", sample.value, zero, sample.tokens)])
        assert "zero everywhere" in text
