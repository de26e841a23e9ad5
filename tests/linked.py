"""A folder of a test's own that begins with files made once."""

from __future__ import annotations

from pathlib import Path

import pytest


def linked(made: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Link all of one folder into another, which is gone to."""
    for path in made.iterdir():
        (folder / path.name).symlink_to(path)
    monkeypatch.chdir(folder)
    return folder
