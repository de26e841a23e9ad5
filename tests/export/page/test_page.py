"""The page as text: what is in it, what is escaped, what is refused, and the runtime that it holds."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.export.export import export
from mipin_ref.export.page import Example, Grid, PageInput, Told, page_of
from mipin_ref.export.page import render as render_module
from mipin_ref.export.page import runtime as runtime_module
from mipin_ref.export.page.render import TEMPLATES
from mipin_ref.export.page.runtime import CODE, FOLDER, WASM, Packed
from tests.export.golden import fitted
from tests.export.page.explainers import HOSTILE
from tests.export.page.packed import unpacked_text
from tests.graph.sketch import Sketch
from tests.graph.test_several_inputs import network as of_two
from tests.graph.test_several_inputs import samples as samples_of_two

UNIT = mr.data.PRESETS["unit"]


def told(**changes: object) -> Told:
    given: dict[str, object] = {
        "model": "a network",
        "input": PageInput("x", (1, 28, 28), (1, 28, 28), UNIT),
        "target": "target",
        "targets": [0, 2],
        "names": ["nought", "one", "two"],
        "probability": "softmax",
        "tensor": "x",
        "grid": Grid(1, 28, 28),
        "inner": False,
        "facts": [("model", "a fact")],
    }
    return Told(**(given | changes))  # type: ignore[arg-type]


def test_the_page_holds_the_explainer_and_the_runtime() -> None:
    page = page_of(b"a model", told(), [Example(b"\x89PNG...", "seven")])
    pattern = r'<script type="application/octet-stream" id="(\w+)" data-packed="(\d+)"([^>]*)>([^<]*)</script>'
    found = re.findall(pattern, page)
    told_of = {name: dict(re.findall(r'data-(\w+)="(\d+)"', more)) for name, _, more, _ in found}
    held = {name: gzip.decompress(unpacked_text(text, int(size))) for name, size, _, text in found}
    assert told_of == {"runtime": {}, "wasm": {}, "explainer": {"size": "7", "word": "4"}}
    whole, word = held["explainer"], 4
    words = len(whole) // word
    assert b"".join(whole[at::words] for at in range(words))[:7] == b"a model"
    for name, packed in (("runtime", CODE), ("wasm", WASM)):
        assert hashlib.sha256(held[name]).hexdigest() == packed.digest
    assert 'alt="Example 1, seven"' in page
    assert "default-src 'none'" in page
    assert all(address.startswith("data:") for address in re.findall(r'(?:src|href)="([^"]*)"', page))


def test_the_same_explainer_makes_the_same_page() -> None:
    assert page_of(b"a model", told()) == page_of(b"a model", told())


@pytest.mark.parametrize("name", HOSTILE)
def test_what_comes_from_a_model_is_escaped(name: str) -> None:
    tags = page_of(b"", told()).count("<")
    page = page_of(b"", told(model=name, names=[name] * 3, tensor=name, facts=[(name, name)], inner=True))
    assert page.count("<") == tags
    page.encode()
    settings = re.search(r'id="settings">(.*?)</script>', page)
    assert settings is not None
    assert len(json.loads(settings[1])["names"]) == 3
    for obeyed in "\u202e\ud800":
        assert obeyed not in page


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 28, 28), Grid(1, 28, 28)),
        ((28, 28), Grid(1, 28, 28)),
        ((784,), Grid(1, 28, 28)),
        ((3072,), Grid(3, 32, 32)),
        ((3, 20, 30), Grid(3, 20, 30)),
        ((20, 30, 3), Grid(3, 20, 30, last=True)),
        ((1, 1, 784), Grid(1, 28, 28)),
    ],
)
def test_shapes_that_are_pictures(shape: tuple[int, ...], expected: Grid) -> None:
    assert PageInput("x", shape, shape, UNIT).grid == expected


@pytest.mark.parametrize("shape", [(4,), (20,), (7, 20, 30), (1, 5, 1), (2, 3, 4, 5)])
def test_shapes_that_are_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(mr.InvalidData, match="is no picture of one or three channels"):
        _ = PageInput("x", shape, shape, UNIT).grid


def test_only_small_gray_squares_are_drawn() -> None:
    for shape, drawn in (((1, 28, 28), True), ((3, 28, 28), False), ((1, 28, 20), False), ((1, 224, 224), False)):
        grid = Grid(*shape)
        page = page_of(b"", told(input=PageInput("x", shape, shape, UNIT), grid=grid))
        assert ('id="pad"' in page) == drawn


def test_what_export_refuses_before_it_writes(tmp_path: Path) -> None:
    """A page of features, of what is no map, and of pixels that nobody says how to read."""
    inverse, _ = fitted("golden_mlp")
    with pytest.raises(mr.InvalidData, match="option 'preprocess' says it"):
        export(inverse, tmp_path / "a.onnx", html=tmp_path / "a.html")
    with pytest.raises(mr.InvalidData, match="is no picture"):
        export(inverse, tmp_path / "a.onnx", preprocess="unit", html=tmp_path / "a.html")
    with pytest.raises(mr.InvalidData, match="there is no folder"):
        export(inverse, tmp_path / "a.onnx", preprocess="unit", html=tmp_path / "none" / "a.html")
    builtin = mr.data.builtin("mnist_mlp")
    x = np.load(builtin.calibration)["x"][:20].astype(np.float32) / 255
    features = mr.fit(builtin.model, x, 0, at="/relu2/Relu_output_0")
    with pytest.raises(mr.InvalidData, match="is no map"):
        export(features, tmp_path / "a.onnx", preprocess="unit", html=tmp_path / "a.html")
    unknown = mr.fit(builtin.model, x, 0, at="/relu2/Relu_output_0")
    with pytest.raises(mr.InvalidData, match="not known what is to be done to their pixels: option 'preprocess' says"):
        export(unknown, tmp_path / "a.onnx", html=tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_shows_one_picture_at_a_time_and_nothing_else(tmp_path: Path) -> None:
    sketch = Sketch(1, 8, 8, batch=2)
    sums = sketch.node("CumSum", sketch.node("Reshape", "x", sketch.ints(2, 64)), sketch.const(np.array(-1)))
    pairs = sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(sums, 64, 6)), 6, 3))
    x = np.random.default_rng(0).random((40, 1, 8, 8), np.float32)
    inverse = mr.fit(mr.load(pairs), x, 1, at="auto")
    with pytest.raises(mr.InvalidData, match="reads one picture at a time, and the file runs on 2 at a time alone"):
        export(inverse, tmp_path / "a.onnx", preprocess="unit", html=tmp_path / "a.html")
    several = mr.fit(mr.load(of_two(), input="x"), samples_of_two(), 1)
    with pytest.raises(mr.InvalidData, match="pictures alone, and the network reads 'numbers' of each sample besides"):
        export(several, tmp_path / "a.onnx", preprocess="unit", html=tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pixels", "map", "x"])
def test_a_page_knows_its_explainers_input(name: str, tmp_path: Path) -> None:
    """An input has another name there where an output, or the input of pixels, is called so."""
    sketch = Sketch(1, 8, 8)
    sketch.inputs[0].name = name
    hidden = sketch.node("Relu", sketch.conv(name, 1, 3))
    model = sketch.model(sketch.dense(sketch.node("Flatten", hidden), 108, 3))
    x = np.random.default_rng(0).random((40, 1, 8, 8), np.float32)
    inverse = mr.fit(mr.load(model), x, 1, preprocess=UNIT)
    export(inverse, tmp_path / "a.onnx", html=tmp_path / "a.html")
    settings = re.search(r'id="settings">(.*?)</script>', (tmp_path / "a.html").read_text("utf-8"))
    assert settings is not None
    (read,) = onnx.load(tmp_path / "a.onnx").graph.input
    assert json.loads(settings[1])["input"]["name"] == read.name
    assert (read.name == name) == (name == "x")


def test_an_explainer_that_browsers_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_module, "LARGEST", 1_000_000)
    assert page_of(bytes(1_000_000), told())
    with pytest.raises(mr.InvalidData, match="more than browsers hold, 1 MB; store inverses in half precision"):
        page_of(bytes(1_000_001), told())


def test_nothing_is_written_where_the_page_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "FOLDER", tmp_path / "gone")
    builtin = mr.data.builtin("mnist_mlp")
    x = np.load(builtin.calibration)["x"][:20].astype(np.float32) / 255
    inverse = mr.fit(builtin.model, x, 0)
    with pytest.raises(mr.CorruptFile, match="install mipin_ref anew"):
        export(inverse, tmp_path / "a.onnx", preprocess="unit", html=tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "FOLDER", tmp_path)
    with pytest.raises(mr.CorruptFile, match="cannot be read"):
        CODE.gzipped()
    (tmp_path / CODE.name).write_bytes(b"no gzip")
    with pytest.raises(mr.CorruptFile, match="cannot be read"):
        CODE.gzipped()
    (tmp_path / CODE.name).write_bytes(gzip.compress(b"another"))
    with pytest.raises(mr.CorruptFile, match="is not the runtime of pages that belongs here"):
        CODE.gzipped()


def test_the_runtime_is_told_beside_it() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    assert runtime_module.VERSION in page
    for one in (CODE, WASM):
        assert isinstance(one, Packed)
        assert one.name in page
        assert one.digest in page
        assert f"v{runtime_module.VERSION}" in gzip.decompress((FOLDER / CODE.name).read_bytes())[:99].decode()


def test_the_scripts_know_how_many_classes_have_a_bar() -> None:
    """Both sides decide by it."""
    from mipin_ref.export.page.told import FEW

    assert f"const FEW = {FEW};" in (TEMPLATES / "bars.js").read_text("utf-8")
