"""What a notebook shows: pictures against those of the report room, texts escaped, nothing from outside the page."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import mipin_ref as mr
from mipin_ref.report.heatmap import heatmap
from mipin_ref.report.notebook import LARGEST, LAYERS, SAMPLES, SHARP, SIDE
from tests.networks import to_onnx
from tests.oracles.spec import Dense
from tests.results import NET, RESULTS

RNG = np.random.default_rng(3)
HOSTILE = "<script>alert('x')</script>&\x1b[2J\u202e"
EMPTY = {"img", "br", "hr"}


class Page(HTMLParser):
    """The texts, tags and pictures of a page; every tag must be closed by its own."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        assert text is not None
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data

    @property
    def pictures(self) -> list[npt.NDArray[Any]]:
        shown = [given["src"] or "" for tag, given in self.tags if tag == "img"]
        assert all(source.startswith("data:image/png;base64,") for source in shown)
        data = [b64decode(source.partition(",")[2], validate=True) for source in shown]
        return [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in data]


def result(shape: tuple[int, ...], channel_axis: int | None = 1, *, source: bool = True, **more: Any) -> mr.Attribution:
    value, signal, attribution = (RNG.normal(size=shape) for _ in range(3))
    output = RNG.normal(size=shape[0])
    given = {"target": 3, "tensor": "x", "channel_axis": channel_axis, **more}
    return mr.Attribution(value, signal if source else None, attribution, output, **given)


def test_a_network_is_its_table() -> None:
    page = Page(NET._repr_html_())
    head, *rows = page.rows
    assert head == ["#", "layer", "detail", "input", "output", "parameters", "output tensor"]
    assert [row[1] for row in rows] == [layer.kind for layer in NET.layers]
    assert all(cell in str(NET) for row in rows for cell in row)
    assert "logits 'scores' [N, 3]" in page.words


@pytest.mark.parametrize("name", ["inverse", "report"])
def test_an_inverse_is_its_report(name: str) -> None:
    shown = RESULTS[name]()
    page = Page(shown._repr_html_())
    report = RESULTS["report"]()
    assert [row[0] for row in page.rows] == ["tensor", *(one.tensor for one in report)]
    assert page.rows[0] == str(report).splitlines()[0].split()
    if name == "inverse":
        assert "target 1" in page.words


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 3, 5, 4), 1), ((3, 5, 4, 1), 3), ((3, 5, 4), None), ((3, 8, 5, 4), 1)]
)
def test_images_are_rows_of_pictures(shape: tuple[int, ...], axis: int | None, source: bool) -> None:
    res = result(shape, axis, source=source)
    page = Page(res._repr_html_())
    columns = 3 if source else 2
    assert len(page.pictures) == 3 * columns
    assert [row[0] for row in page.rows[1:]] == [f"{n}: target 3, logit {res.output[n]:.4g}" for n in range(3)]
    summed = res.contribution if axis is None else res.contribution.sum(axis=axis)
    for number in range(3):
        row = page.pictures[number * columns : (number + 1) * columns]
        np.testing.assert_array_equal(row[-1], heatmap(summed[number]))
        values = res.value[number] if axis is None else np.moveaxis(res.value[number], axis - 1, -1)
        gray = values.mean(axis=-1) if axis is not None and values.shape[-1] != 3 else values
        expected = np.rint(255 * (gray - gray.min()) / (gray.max() - gray.min()))
        given = row[0] if gray.ndim == 3 else row[0][..., 0]
        np.testing.assert_allclose(given, expected, atol=1)
    assert all(one["width"] == str(round(SIDE * 4 / 5)) for tag, one in page.tags if tag == "img")


def test_maps_are_turned_where_the_logit_is_negative() -> None:
    res = replace(result((2, 1, 4, 4)), follows_logit=True, output=np.array([1.0, -1.0]))
    pictures = Page(res._repr_html_()).pictures
    np.testing.assert_array_equal(pictures[2], heatmap(res.contribution[0, 0]))
    np.testing.assert_array_equal(pictures[5], heatmap(-res.contribution[1, 0]))


def test_many_samples_and_large_pictures_make_no_large_page() -> None:
    page = Page(result((SAMPLES + 5, 1, 4, 4))._repr_html_())
    assert len(page.rows) == 1 + SAMPLES
    assert f"{SAMPLES} of {SAMPLES + 5} samples" in page.words
    (picture, *_) = Page(result((1, 3, 600, 900))._repr_html_()).pictures
    assert max(picture.shape) == SHARP
    deep = replace(NET, layers=NET.layers * 50)
    rows = Page(deep._repr_html_()).rows
    assert len(rows) == 1 + LAYERS + 1
    assert rows[1 + LAYERS // 2][0] == f"… {len(deep.layers) - LAYERS} more …"


@pytest.mark.parametrize("shape", [(2, 9), (2, 3, 7), (2, 3), (2, 2, 3, 2, 2)])
def test_what_is_no_image_is_told_by_its_largest_contributions(shape: tuple[int, ...]) -> None:
    res = result(shape, None if len(shape) == 2 else 1, target=np.array([1, 0]))
    _, *rows = Page(res._repr_html_()).rows
    for number, row in enumerate(rows):
        assert row[0] == f"{number}: target {1 - number}, logit {res.output[number]:.4g}"
        given = np.sort(np.abs(res.contribution[number]).ravel())[::-1][:LARGEST]
        told = [re.fullmatch(r"(\d+|\[.*\]): ([+-].*) \(value (.*)\)", cell) for cell in row[1:]]
        assert len(told) == len(given)
        for match, size in zip(told, given, strict=True):
            assert match is not None
            place = tuple(int(one) for one in re.findall(r"\d+", match[1]))
            assert abs(float(match[2])) == pytest.approx(size, rel=1e-3)
            assert float(match[2]) == pytest.approx(res.contribution[number][place], rel=1e-3)
            assert float(match[3]) == pytest.approx(res.value[number][place], rel=1e-3)


@pytest.mark.parametrize(
    "shown",
    [
        mr.load(to_onnx([Dense(("input",), HOSTILE, np.eye(3), bias=np.zeros(3))], (3,))),
        result((2, 1, 3, 3), tensor=HOSTILE, method=HOSTILE),
        result((2, 5), None, tensor=HOSTILE, method=HOSTILE),
    ],
    ids=["network", "images", "features"],
)
def test_names_are_text_and_nothing_is_fetched(shown: Any) -> None:
    text = shown._repr_html_()
    page = Page(text)
    assert "<script>alert" in page.words
    assert {tag for tag, _ in page.tags} <= {"div", "table", "thead", "tbody", "tr", "td", "th", "img"}
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "http" not in text
    assert "class=" not in text


def test_colours_are_those_around() -> None:
    """Text and ground are the notebook's own, dark or light: no colour of text is set, no ground but none."""
    for name in ("network", "inverse", "attribution"):
        page = Page(RESULTS[name]()._repr_html_())
        styles = [style for _, given in page.tags if (style := given.get("style"))]
        stated = {part for style in styles for part in style.split(";") if re.match(r"(color|background)", part)}
        assert stated <= {"color:inherit", "background:transparent"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_cannot_be_drawn_is_left_to_the_one_line(value: float) -> None:
    res = result((2, 1, 3, 3))
    res.attribution[0, 0, 1, 1] = value
    assert res._repr_html_() is None
    assert result((0, 1, 3, 3))._repr_html_() is not None


def test_pictures_are_imported_when_the_first_is_asked_for() -> None:
    program = (
        "import sys, numpy as np, mipin_ref as mr; x = np.ones((1, 2));"
        "res = mr.Attribution(x, x, x, x[:, 0], 0, 'x', None);"
        "before = 'mipin_ref.report.notebook' in sys.modules;"
        "print(before, '<table' in res._repr_html_())"
    )
    root = Path(mr.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
