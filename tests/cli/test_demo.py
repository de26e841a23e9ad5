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


@pytest.mark.slow
def test_the_demo_writes_a_page_to_draw_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ten digits, some to begin with, and nothing else beside the page; browsers run such pages in other tests."""
    monkeypatch.chdir(tmp_path)
    page = Path("digits.html")
    assert main(["demo", "--html"]) == 0
    assert f"{page}: " in capsys.readouterr().out
    assert list(Path().iterdir()) == [page]
    text = page.read_text("utf-8")
    assert text.count('class="example"') == 10
    assert '"targets": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]' in text
    assert 'id="pad"' in text
    assert "inverses in 8 bits" in text
    # What a page may weigh that is sent by mail.
    assert page.stat().st_size < 12e6


def test_a_page_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--html", str(tmp_path / "nowhere" / "digits.html")]) == 2
    told = capsys.readouterr()
    assert "there is no folder" in told.err
    assert not told.out
