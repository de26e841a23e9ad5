"""Files are written whole or not at all, and nothing is left beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mipin_ref.data import builtin_names
from training import files


def test_networks_lie_where_the_package_finds_them() -> None:
    held = {folder.parent.name for folder in files.MODELS.glob("*/card.json")}
    assert held == set(builtin_names())


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    files.write_json(out, {"a": 1})
    assert json.loads(out.read_text()) == {"a": 1}

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        files.write_json(out, {"a": 2})
    assert json.loads(out.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_packed_arrays_come_back(tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "y": np.zeros(2, np.int64)}
    files.write_whole(tmp_path / "a.npz", files.packed(arrays))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert set(stored) == set(arrays)
        for name, value in arrays.items():
            np.testing.assert_array_equal(stored[name], value)
            assert stored[name].dtype == value.dtype


def test_objects_are_not_packed() -> None:
    with pytest.raises(ValueError, match="array x holds objects"):
        files.packed({"x": np.array([{}], object)})
