"""Text of any script in a picture: characters that Pillow's own font lacks are drawn in a font of the system's."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageDraw, ImageFont

from mipin_ref.text import printable

Face = ImageFont.FreeTypeFont | ImageFont.ImageFont
Ink = tuple[int, int, int]

PROBE = 16
"""Pixels of a font that is only asked which characters it has."""
MOST_FONTS = 400
"""Fonts of a system that are asked: more are not opened for a file name."""
ELLIPSIS = "..."


def runs(text: str, size: int) -> list[tuple[str, Face]]:
    """A line of text in pieces, each with a font that has its characters.

    What would be obeyed instead of shown, and what no font has, is escaped (\\u4e2d).
    """
    pieces: list[tuple[str, str | None]] = []
    for one in printable(text):
        if pieces and (unicodedata.category(one) in ("Mn", "Mc", "Me", "Cf") or one == " "):
            # A mark or a space is of the character before it.
            pieces[-1] = (pieces[-1][0] + one, pieces[-1][1])
            continue
        shown, place = one, _place_of(one)
        if place is None:
            # An accented letter is read without its accent, and much better than as a number.
            plain = unicodedata.normalize("NFKD", one)[0]
            shown, place = plain if _has("", plain) else f"\\u{ord(one):04x}", ""
        if pieces and pieces[-1][1] == place:
            pieces[-1] = (pieces[-1][0] + shown, place)
        else:
            pieces.append((shown, place))
    return [(piece, _face(place or "", size)) for piece, place in pieces]


def text_width(text: str, size: int) -> float:
    """Pixels that a line takes."""
    return sum(face.getlength(piece) for piece, face in runs(text, size))


def draw_text(draw: ImageDraw.ImageDraw, left: float, base: float, text: str, size: int, ink: Ink) -> None:
    """Draw a line from `left` on, standing on `base`, both in pixels."""
    for piece, face in runs(text, size):
        draw.text((left, base), piece, ink, face, anchor="ls" if isinstance(face, ImageFont.FreeTypeFont) else None)
        left += face.getlength(piece)


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """The text in at most so many lines of `width` pixels, broken at spaces where there are any; its middle is left out
    where it is longer, so that the ending of a file's name stays.
    """
    text = printable(" ".join(text.split()))
    broken = _broken(text, size, width)
    kept = len(text)
    while len(broken) > lines and kept > 8:
        kept = min(kept - 1, kept * lines // len(broken) + 4)
        broken = _broken(f"{text[: kept - kept // 3]}{ELLIPSIS}{text[len(text) - kept // 3 :]}", size, width)
    return broken[:lines]


def _broken(text: str, size: int, width: float) -> list[str]:
    lines, line = [], ""
    for one in text:
        if text_width(line + one, size) <= width or not line:
            line += one
            continue
        head, space, tail = line.rpartition(" ")
        if space and len(tail) < len(line) / 2 and one != " ":
            lines.append(head)
            line = tail + one
        else:
            lines.append(line)
            line = one.strip()
    return [*lines, line]


@cache
def _face(place: str, size: int) -> Face:
    return ImageFont.truetype(place, size) if place else ImageFont.load_default(size)


@cache
def _place_of(one: str) -> str | None:
    """The font that has the character: "" for Pillow's own, a file of the system, None where there is none."""
    return next((place for place in ("", *_system_fonts()) if _has(place, one)), None)


def _has(place: str, one: str) -> bool:
    if one.isspace():
        return place == ""
    missing = _missing(place)
    if missing is None:
        return False
    return bytes(_face(place, PROBE).getmask(one)) not in missing


@cache
def _missing(place: str) -> frozenset[bytes] | None:
    """What a font draws for characters that it lacks; None where the file is no font that Pillow reads."""
    try:
        face = _face(place, PROBE)
        # Noncharacters, which no font has; a font without a sign for what is missing draws nothing.
        return frozenset(bytes(face.getmask(one)) for one in ("\ufffe", "\U0001fffe")) | {b""}
    except (OSError, ValueError):
        return None


@cache
def _system_fonts() -> tuple[str, ...]:
    """Font files of the system, those of plain upright faces first."""
    found = sorted(_font_files(), key=lambda path: (_oddness(path), str(path)))
    return tuple(map(str, found[:MOST_FONTS]))


def _font_files() -> Iterator[Path]:
    for folder in _font_folders():
        for place, _, names in os.walk(folder):
            yield from (Path(place) / name for name in names if name.lower().endswith((".ttf", ".otf", ".ttc")))


def _font_folders() -> list[Path]:
    home = Path(os.path.expanduser("~"))
    beside = find_spec("matplotlib")
    brought = [] if beside is None or beside.origin is None else [Path(beside.origin).parent / "mpl-data/fonts/ttf"]
    return brought + _system_folders(home)


def _system_folders(home: Path) -> list[Path]:
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"]


def _oddness(path: Path) -> int:
    name = path.stem.lower()
    odd = sum(word in name for word in ("bold", "italic", "oblique", "light", "thin", "mono", "black", "condensed"))
    return 2 * odd + ("serif" in name) - any(word in name for word in ("regular", "dejavusans", "arialuni"))
