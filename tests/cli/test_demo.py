"""The demonstration: pictures and figures of the built-in network."""

from __future__ import annotations

from pathlib import Path

import pytest

from mipin_ref.cli import main


def test_the_demo_prints_what_it_found_and_every_picture_that_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "positive APC" in printed
    for path in (tmp_path / "out").iterdir():
        assert str(path) in printed
    assert (tmp_path / "out" / "page_000.png").is_file()
