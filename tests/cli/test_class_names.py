"""Class names from a file: few, short, and text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mipin_ref.cli.compare_input import NAME_LENGTH, read_class_names
from mipin_ref.errors import CorruptFile, InvalidData


def told(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_names_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    assert read_class_names(told(path, '["one", "tw\\ud800o", "three"]'), 3) == ["one", r"tw\ud800o", "three"]
    assert read_class_names(told(path, ["a", "b" * NAME_LENGTH, 3]), 3) == ["a", "b" * NAME_LENGTH, "3"]
    assert read_class_names(told(path, {"class_names": ["ä", "\U0001f600", ""]}), 3) == ["ä", "\U0001f600", ""]


@pytest.mark.parametrize(
    ("content", "match", "error"),
    [
        (["a", "b" * (NAME_LENGTH + 1), "c"], "name 1 has 201 characters; give one of 200 at most", InvalidData),
        (["a", "b"], "names 2 classes; the network has 3", InvalidData),
        (["a", "b", ["c"]], "must be a list of class names", InvalidData),
        ("[" * 50_000, "not a JSON file", CorruptFile),
        ("[1, 2, " + "9" * 5000 + "]", "an integer of 5000 digits", CorruptFile),
        ('{"class_names": null}', "must be a list of class names", InvalidData),
    ],
)
def test_names_that_are_refused(tmp_path: Path, content: Any, match: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=match) as raised:
        read_class_names(told(tmp_path / "names.json", content), 3)
    assert "names.json" in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_file_of_names_has_a_budget(tmp_path: Path) -> None:
    with (tmp_path / "names.json").open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(CorruptFile, match="more than 32 MiB is not read"):
        read_class_names(str(tmp_path / "names.json"), 3)
    with pytest.raises(InvalidData, match="is a folder, not a file"):
        read_class_names(str(tmp_path), 3)
