"""Locks that the system lets go of."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from mipin_ref.files import locked


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "lock"):
        with pytest.raises(BlockingIOError), locked(tmp_path / "new" / "lock"):
            pass
        with pytest.raises(BlockingIOError), locked(tmp_path / "new" / "lock"):
            pass
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path / "new" / "lock"):
        pass


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_file_that_its_holder_deleted_is_no_lock(
    folder_too: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another opens the file, whereupon the holder deletes it and lets go: what the other locks then has no name."""
    path = tmp_path / "folder" / "lock"
    original, calls = fcntl.flock, []

    def flock(file: Any, operation: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            path.unlink()
            if folder_too:
                path.parent.rmdir()
        original(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path):
        assert len(calls) == 2
        with pytest.raises(BlockingIOError), locked(path):
            pass
