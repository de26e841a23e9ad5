"""Words in pictures: characters of any script are drawn or escaped, lines are broken and cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image, ImageDraw

from mipin_ref.report import faces
from mipin_ref.report.faces import draw_text, runs, text_width, wrapped


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system without fonts: Pillow's own is all there is."""
    faces._place_of.cache_clear()
    monkeypatch.setattr(faces, "_system_fonts", lambda: ())
    yield
    faces._place_of.cache_clear()


def ink(text: str) -> int:
    """Pixels that a text darkens."""
    picture = Image.new("L", (400, 40), 255)
    draw_text(ImageDraw.Draw(picture), 4, 28, text, 16, 0)  # type: ignore[arg-type]
    return sum(picture.histogram()[:128])


@pytest.mark.usefixtures("no_fonts")
def test_what_no_font_has_is_escaped() -> None:
    assert [piece for piece, _ in runs("a猫b", 12)] == ["a\\u732bb"]
    assert [piece for piece, _ in runs("🐈", 12)] == ["\\u1f408"]
    # An accent is left out rather than escaped.
    assert [piece for piece, _ in runs("café Ж", 12)] == ["cafe \\u0416"]


def test_what_would_be_obeyed_is_escaped() -> None:
    assert "".join(piece for piece, _ in runs("a\u202eb\udcff\x1b", 12)) == "a\\u202eb\\udcff\\x1b"


def test_marks_and_spaces_stay_with_the_character_before_them() -> None:
    text = "e\u0301 a b"
    assert "".join(piece for piece, _ in runs(text, 12)) == text
    assert len(runs(text, 12)) == 1


def test_text_is_drawn_as_wide_as_is_told() -> None:
    assert ink("abc") > ink("a") > 0
    assert text_width("abcabc", 16) == pytest.approx(2 * text_width("abc", 16), rel=0.05)
    assert text_width("", 16) == 0


def test_lines_are_broken_at_spaces_where_there_are_any() -> None:
    lines = wrapped("one two three four five six seven", 14, 100, 9)
    assert " ".join(lines) == "one two three four five six seven"
    assert len(lines) > 2
    assert all(text_width(line, 14) <= 100 for line in lines)
    whole = wrapped("x" * 60, 14, 100, 20)
    assert "".join(whole) == "x" * 60
    assert all(text_width(line, 14) <= 100 for line in whole)


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_of_a_long_name_beginning_and_ending_stay(lines: int) -> None:
    shown = wrapped("beginning" + "x" * 500 + "ending.jpg", 14, 160, lines)
    assert len(shown) <= lines
    text = "".join(shown)
    assert text.startswith("begin")
    assert text.endswith(".jpg")
    assert "..." in text
    assert all(text_width(line, 14) <= 160 for line in shown)
