"""The page of compared methods: maps that hold their values, tables with heads, and texts that stay texts."""

from __future__ import annotations

import hashlib
import io
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.report.compare_page import Comparison, Row, ShownClass, compare_page
from mipin_ref.report.signed_png import LEVELS, block_means, contrast_scale, png_bytes, signed_png
from mipin_ref.report.template import scale_text

EVIL = "<script>alert('x')</script>\"'&</style>{{ 7*7 }}"
METHODS = ("gradient", "lrp-epsilon")


class Document(HTMLParser):
    """Every element as (tag, attributes), and the text inside each kind of tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def decoded(png: bytes) -> np.ndarray[Any, Any]:
    """Levels of a map from its opacity and colours, told apart without the palette's order."""
    rgba = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)
    return np.rint(rgba[..., 3] / 255 * LEVELS) * np.where(rgba[..., 0] < rgba[..., 2], -1, 1)


def over_white(png: bytes) -> np.ndarray[Any, Any]:
    """What a browser draws of a map on a white ground, [H, W, 3]."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(ground, picture).convert("RGB")).astype(int)


def comparison(maps: int = 3, size: tuple[int, int] = (5, 7), **changed: Any) -> Comparison:
    rng = np.random.default_rng(0)
    classes = [ShownClass(f"class{rank}", f"{50 / (rank + 1):.1f}%") for rank in range(maps)]
    rows = [
        Row(
            f"image {number}",
            png_bytes(Image.new("RGB", (7, 5))),
            classes,
            {name: [signed_png(rng.standard_normal(size)) for _ in range(maps)] for name in METHODS},
        )
        for number in range(2)
    ]
    given = Comparison(
        "model.onnx", [("images", "x.npy")], METHODS, [], rows, 1, (["method", "score"], [[m, "1.0"] for m in METHODS])
    )
    return replace(given, **changed)


def test_a_map_keeps_its_colours_and_its_values() -> None:
    values = np.random.default_rng(1).standard_normal((9, 13)) * 1e-3
    found = signed_png(values)
    assert found.scale == np.abs(values).max()
    assert found.size == (9, 13)
    assert np.abs(decoded(found.png) / LEVELS * found.scale - values).max() <= found.scale / (2 * LEVELS) * (1 + 1e-9)
    assert np.abs(over_white(found.png) - mr.heatmap(values).astype(int)).max() <= 2


@pytest.mark.parametrize("rows", [1, 9])
def test_each_level_has_a_colour_of_its_own(rows: int) -> None:
    """In small maps, of four bytes a pixel, and in large ones, with a table of colours."""
    ramp = np.arange(-LEVELS, LEVELS + 1)[None].astype(float).repeat(rows, axis=0)
    assert np.array_equal(decoded(signed_png(ramp).png), ramp)


def test_values_beyond_the_scale_are_cut_and_the_largest_is_told() -> None:
    found = signed_png(np.array([[-9.0, -1.0, 0.5, 2.0, 30.0]]), scale=2.0)
    assert (found.scale, found.largest) == (2.0, 30.0)
    assert decoded(found.png).tolist() == [[-LEVELS, -64, 32, LEVELS, LEVELS]]
    assert scale_text(found) == "±2, largest 30"


def test_the_cut_is_the_percentile_of_all_maps_together() -> None:
    maps = np.random.default_rng(4).standard_normal((3, 20, 20))
    ordered = np.sort(np.abs(maps).ravel())
    place = 0.995 * (len(ordered) - 1)
    low = int(place)
    expected = ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])
    assert contrast_scale(maps) == pytest.approx(expected, rel=1e-12)
    # Of a map with few values that are not zero the largest counts, else it would be drawn without any colour.
    few = np.zeros((1, 50, 50))
    few[0, 0, 0] = -3
    assert contrast_scale(few) == 3
    assert contrast_scale(0 * few) == 0
    with pytest.raises(mr.InvalidData, match="holds no values"):
        contrast_scale([np.zeros((0, 3))])


@pytest.mark.parametrize("smallest", [0.0, 5e-324])
def test_a_map_of_zeros_is_white_and_the_smallest_number_is_not(smallest: float) -> None:
    found = signed_png(np.array([[0.0, smallest]]))
    assert found.scale == smallest
    assert decoded(found.png).tolist() == [[0, LEVELS if smallest else 0]]


def test_bad_maps_are_refused() -> None:
    for values in (np.zeros(3), np.zeros((0, 3)), np.array([[np.nan]]), np.array([["a"]])):
        with pytest.raises(mr.InvalidData):
            signed_png(values)


@pytest.mark.parametrize("factor", [1, 2, 3, 9])
def test_block_means_are_means_of_what_is_there(factor: int) -> None:
    maps = np.random.default_rng(2).standard_normal((2, 5, 7))
    found = block_means(maps, factor)
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            block = maps[:, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            np.testing.assert_allclose(found[:, i, j], block.mean(axis=(1, 2)), rtol=1e-12)
    assert found.shape == (2, -(-5 // factor), -(-7 // factor))


def test_tables_have_heads_captions_and_maps_have_words() -> None:
    shown = comparison()
    document = Document(compare_page(shown))
    assert len(document.all("caption")) == len(document.all("table")) == 2
    heads = document.all("th")
    assert [head["scope"] for head in heads] == ["col"] * 3 + ["row"] * 2 + ["col"] * 2 + ["row"] * 2
    alts = [str(one["alt"]) for one in document.all("img")]
    for number, row in enumerate(shown.rows):
        for name in METHODS:
            for one, rank in zip(row.maps[name], range(3), strict=True):
                assert f"{name}, image {number}, class class{rank}, scale ±{one.scale:.3g}" in alts
                assert f"±{one.scale:.3g}" in document.text("figcaption")
    assert len(alts) == 2 * (1 + 2 * 3)
    assert document.all("output")[0]["aria-live"] == "polite"
    assert document.all("html")[0]["lang"] == "en"


def test_the_maps_of_the_predicted_class_are_shown_first() -> None:
    shown = comparison()
    document = Document(compare_page(shown))
    figures = document.all("figure")
    assert [("hidden" in one, one["data-rank"]) for one in figures] == [(False, "0"), (True, "1"), (True, "2")] * 4
    sources = [str(one["src"]) for one in document.all("img")]
    found = [b64decode(source.removeprefix("data:image/png;base64,")) for source in sources]
    expected = []
    for row in shown.rows:
        expected += [row.picture, *(one.png for name in METHODS for one in row.maps[name])]
    assert found == expected
    assert [one["value"] for one in document.all("input")] == ["0", "1", "2"]
    assert document.text("option") == ["class0 50.0%", "class1 25.0%", "class2 16.7%"] * 2


def test_any_text_is_shown_as_text() -> None:
    shown = comparison()
    row = shown.rows[0]
    evil = replace(
        row,
        title=EVIL,
        label=EVIL,
        classes=[ShownClass(EVIL, EVIL)] * 3,
        maps={EVIL: row.maps["gradient"]},
    )
    shown = replace(
        shown,
        model=EVIL,
        facts=[(EVIL, EVIL)],
        methods=[EVIL],
        failures=[(EVIL, EVIL)],
        rows=[evil],
        metrics=([EVIL, EVIL], [[EVIL, EVIL]]),
        notes=[EVIL],
    )
    page = compare_page(shown)
    document = Document(page)
    assert len(document.all("script")) == 1
    assert page.count("alert") == page.count("alert(&#39;x&#39;)")
    for tag in ("h1", "dt", "dd", "b", "li", "td", "p", "span", "option", "th"):
        assert any(EVIL in text for text in document.text(tag)), tag
    assert any(EVIL in str(one["alt"]) for one in document.all("img"))
    assert any(EVIL in str(one.get("data-what")) for one in document.all("button"))


def test_nothing_is_fetched_and_one_script_runs() -> None:
    page = compare_page(comparison())
    document = Document(page)
    policy = next(str(one["content"]) for one in document.all("meta") if "http-equiv" in one)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    addresses = [str(v) for _, one in document.elements for k, v in one.items() if k in ("src", "href", "srcset")]
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not re.findall(r"url\(|@import|https?://", page)


def test_failures_are_listed_with_their_reason() -> None:
    assert "fail on this network" not in compare_page(comparison())
    document = Document(compare_page(comparison(failures=[("mip-in", "no samples")])))
    assert document.text("b") == ["mip-in"]
    assert document.text("li") == [": no samples"]


def test_a_map_of_zeros_is_told() -> None:
    shown = comparison()
    row = replace(shown.rows[0], maps={name: [signed_png(np.zeros((5, 7)))] * 3 for name in METHODS})
    document = Document(compare_page(replace(shown, rows=[row])))
    assert document.text("figcaption") == ["zero everywhere"] * 6
    assert {one["data-scale"] for one in document.all("button") if "data-scale" in one} == {"0.0"}
    assert str(document.all("img")[1]["alt"]).endswith("scale zero everywhere")


def test_coarser_maps_say_so() -> None:
    assert "means of" not in compare_page(comparison())
    page = compare_page(comparison(factor=3))
    assert "means of 3×3 pixels" in page
    assert Document(page).all("table")[0]["data-factor"] == "3"


def test_what_cannot_be_shown_is_refused() -> None:
    shown, page = comparison(), compare_page
    with pytest.raises(mr.InvalidData, match="no image or no method"):
        page(replace(shown, rows=[]))
    with pytest.raises(mr.InvalidData, match="no image or no method"):
        page(replace(shown, methods=[]))
    with pytest.raises(mr.InvalidData, match="image 0 needs 3 classes and as many maps"):
        page(replace(shown, methods=[*METHODS, "deeplift"]))
    with pytest.raises(mr.InvalidData, match="shows 1 to 5 classes"):
        page(comparison(maps=6))
    larger = comparison(size=(6, 7)).rows[0]
    with pytest.raises(mr.InvalidData, match="one size"):
        page(replace(shown, rows=[shown.rows[0], larger]))
