"""Class names from a file: few, short, and text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.explain.class_names import NAME_LENGTH, class_names_of
from tests.networks import to_onnx
from tests.oracles.spec import Dense


def told(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def read(path: str) -> list[str]:
    """The names that a file gives the three classes of a network."""
    net = mr.load(to_onnx([Dense(("input",), "y", np.ones((2, 3)))], (2,)))
    names = class_names_of(net, path)
    return [names.of(index) for index in range(3)]


def test_names_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    assert read(told(path, '["one", "tw\\ud800o", "three"]')) == ["one", r"tw\ud800o", "three"]
    assert read(told(path, ["a", "b" * NAME_LENGTH, 3])) == ["a", "b" * NAME_LENGTH, "3"]
    assert read(told(path, {"class_names": ["ä", "\U0001f600", ""]})) == ["ä", "\U0001f600", "class 2"]


@pytest.mark.parametrize(
    ("content", "match", "error"),
    [
        (["a", "b" * (NAME_LENGTH + 1), "c"], "name 1 has more than 200 characters", InvalidData),
        (["a", "b"], "names 2 classes; the network has 3", InvalidData),
        (["a", "b", ["c"]], "must be a list of class names", InvalidData),
        ("[" * 50_000, "not a JSON file", CorruptFile),
        ("[1, 2, " + "9" * 5000 + "]", "an integer of 5000 digits", CorruptFile),
        ('{"class_names": null}', "no list of class names, and no object of names by index", InvalidData),
    ],
)
def test_names_that_are_refused(tmp_path: Path, content: Any, match: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=match) as raised:
        read(told(tmp_path / "names.json", content))
    assert "names.json" in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_file_of_names_has_a_budget(tmp_path: Path) -> None:
    with (tmp_path / "names.json").open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(CorruptFile, match="more than 32 MiB is not read"):
        read(str(tmp_path / "names.json"))
    with pytest.raises(InvalidData, match="is a folder, not a file"):
        read(str(tmp_path))
