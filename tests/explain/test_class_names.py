"""Names of classes: every form of file, what a model tells of itself, and which class a text names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.explain.class_names import class_names_of
from tests.networks import to_onnx
from tests.oracles.spec import Dense

NAMES = ["crane, bird", "tabby, tabby cat", "crane", "Tiger Cat"]


def model(path: Path, metadata: dict[str, str] | None = None) -> Path:
    """A network of four classes over five features."""
    weight = np.random.default_rng(0).standard_normal((5, 4))
    proto = to_onnx([Dense(("input",), "scores", weight)], (5,))
    onnx.helper.set_model_props(proto, metadata or {})
    onnx.save(proto, str(path / "net.onnx"))
    return path / "net.onnx"


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(NAMES),
        json.dumps({str(i): name for i, name in enumerate(NAMES)}),
        json.dumps({"class_names": NAMES}),
        json.dumps({"id2label": {str(i): name for i, name in enumerate(NAMES)}, "model_type": "vit"}),
        "\n".join(NAMES) + "\n",
        "\ufeff" + "\r\n".join(NAMES),
    ],
)
def test_every_form_of_file(content: str, tmp_path: Path) -> None:
    net = mr.load(model(tmp_path))
    (tmp_path / "names").write_text(content, encoding="utf-8")
    names = class_names_of(net, tmp_path / "names")
    assert [names.of(i) for i in range(4)] == NAMES


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", str(dict(enumerate(NAMES)))),  # as YOLO exports write it: a dict of Python's
        ("names", json.dumps(NAMES)),
        ("labels", "\n".join(NAMES)),
        ("id2label", json.dumps({str(i): name for i, name in enumerate(NAMES)})),
    ],
)
def test_the_models_metadata(key: str, text: str, tmp_path: Path) -> None:
    names = class_names_of(mr.load(model(tmp_path, {key: text})))
    assert [names.of(i) for i in range(4)] == NAMES
    assert key in names.origin


def test_metadata_that_do_not_fit_are_passed_over(tmp_path: Path) -> None:
    for text in ("['a', 'b']", "{1: ", "[" * 5000, "__import__('os').getcwd()"):
        names = class_names_of(mr.load(model(tmp_path, {"names": text})))
        assert names.of(2) == "class 2"


def test_a_card_or_a_configuration_beside_the_model(tmp_path: Path) -> None:
    path = model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(NAMES))}))
    assert class_names_of(mr.load(path), None, path).of(1) == NAMES[1]
    (tmp_path / "card.json").write_text(json.dumps({"class_names": list("abcd")}))
    assert class_names_of(mr.load(path), None, path).of(1) == "b"
    (tmp_path / "card.json").write_text("{")
    assert class_names_of(mr.load(path), None, path).of(1) == NAMES[1]


@pytest.mark.parametrize(
    ("text", "index"),
    [("crane", 2), ("CRANE, bird", 0), ("tabby cat", 1), ("TABBY", 1), ("tiger", 3), ("Tiger Cat", 3), ("bird", 0)],
)
def test_a_name_or_its_part_finds_its_class(text: str, index: int, tmp_path: Path) -> None:
    assert class_names_of(mr.load(model(tmp_path)), NAMES).find(text) == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat", "class name 'cat' fits 2 classes, 1 'tabby, tabby cat', 3 'Tiger Cat': give the index of one"),
        ("dog", "there is no class 'dog' among the 4 names of option 'class_names', such as 0 'crane, bird'"),
        ("", "there is no class ''"),
    ],
)
def test_a_name_that_fits_several_or_none(text: str, message: str, tmp_path: Path) -> None:
    names = class_names_of(mr.load(model(tmp_path)), NAMES)
    with pytest.raises(mr.InvalidData) as told:
        names.find(text)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_without_names_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="tells no names of its classes"):
        class_names_of(mr.load(model(tmp_path))).find("cat")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "names 1 classes; the network has 4"),
        ({9: "a"}, "names class 9; the network has classes 0..3"),
        ({"x": "a"}, "neither a list of class names nor names by index"),
        (3, "neither a list"),
        ([None] * 4, "must be a list of class names"),
        (["a", "b", "c", "d" * 201], "name 3 has more than 200 characters"),
    ],
)
def test_what_is_no_list_of_names(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(mr.InvalidData, match=message):
        class_names_of(mr.load(model(tmp_path)), given)


def test_names_by_index_may_be_some_of_them(tmp_path: Path) -> None:
    names = class_names_of(mr.load(model(tmp_path)), {2: "two\x1b"})
    assert [names.of(1), names.of(2)] == ["class 1", "two\\x1b"]
