"""Layout of picture pages: rows of cells with titles, column headings and a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mipin_ref.errors import InvalidData
from mipin_ref.report.heatmap import heatmap
from mipin_ref.text import printable

Picture = npt.NDArray[np.uint8]

BACKGROUND = (250, 250, 248)
INK = (30, 30, 34)
FAINT_INK = (95, 95, 102)
FRAME = (205, 205, 202)
MARGIN = 20
GAP = 14
TITLE_GAP = 6
LINE = 1.3
BAR_WIDTH, BAR_HEIGHT = 160, 12
FRAME_WIDTH = 1
LARGEST_CELL = 2
LEGEND = "red: positive, blue: negative, white: zero; each heatmap is scaled by its own largest magnitude"
POSITIVE_LEGEND = "red: positive, white: zero; each map is scaled by its own largest value"


@dataclass(frozen=True)
class Font:
    """A face of Pillow's own font and the pixels from one line of it to the next."""

    size: int

    @property
    def face(self) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return _face(self.size)

    @property
    def line(self) -> int:
        return round(self.size * LINE)

    def width(self, text: str) -> int:
        """Pixels that one line takes."""
        return int(np.ceil(self.face.getlength(text)))


@cache
def _face(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


TITLE_FONT, HEADING_FONT = Font(15), Font(13)


def compose_page(
    rows: Sequence[Sequence[Picture]],
    headings: Sequence[str],
    titles: Sequence[str],
    *,
    heading: str = "",
    legend: bool = True,
    signed: bool = True,
    cell: int = 140,
) -> Picture:
    """A page [height, width, 3] uint8 with one row of pictures [H, W, 3] per sample.

    headings: one per column; titles: one per row, above it, lines after the first smaller; heading: above the page;
    lines are parted by newlines, and one that is too long ends in "...";
    legend: the heatmaps' colour bar below it, from 0 on where they are not signed; cell: pixels that a picture's longer
    side is brought near to, enlarged by a whole factor without interpolation, or reduced where it is more than twice as
    long.
    Raises InvalidData where there is no row or the numbers of pictures, headings and titles differ.
    """
    if not rows or not headings:
        raise InvalidData("page: nothing to show, there is no row or no column")
    if len(titles) != len(rows) or any(len(row) != len(headings) for row in rows):
        raise InvalidData(
            f"page: {len(rows)} rows need as many titles ({len(titles)}), each row {len(headings)} pictures"
        )
    if cell < 1:
        raise InvalidData(f"page: cell must be at least 1 pixel, not {cell}")
    pictures = [[scaled(picture, cell) for picture in row] for row in rows]
    columns = [
        max(*(row[column].shape[1] for row in pictures), _text_size(headings[column], HEADING_FONT)[0])
        for column in range(len(headings))
    ]
    inner = max(sum(columns) + GAP * (len(columns) - 1), BAR_WIDTH if legend else 0)
    bands = [_heading_band(headings, columns, inner)]
    bands += [_row_band(title, row, columns, inner) for title, row in zip(titles, pictures, strict=True)]
    if heading:
        bands.insert(0, _text_band(heading, TITLE_FONT, INK, inner))
    if legend:
        bands.append(_legend_band(inner, signed))
    height = sum(band.height for band in bands) + GAP * (len(bands) - 1)
    page = Image.new("RGB", (inner + 2 * MARGIN, height + 2 * MARGIN), BACKGROUND)
    y = MARGIN
    for band in bands:
        page.paste(band, (MARGIN - FRAME_WIDTH, y))
        y += band.height + GAP
    return np.array(page)


def scaled(picture: Picture, cell: int) -> Picture:
    """A picture [H, W, 3] or [H, W] enlarged by a whole factor to about `cell` pixels, or reduced to at most twice."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise InvalidData(f"page: a picture must be uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}")
    longer = max(picture.shape[:2])
    if longer > LARGEST_CELL * cell:
        shrink = LARGEST_CELL * cell / longer
        height, width = (max(1, round(side * shrink)) for side in picture.shape[:2])
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    factor = max(1, round(cell / longer))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _band(inner: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty strip of the page; its pictures start FRAME_WIDTH in, so that their frames lie inside."""
    band = Image.new("RGB", (inner + 2 * FRAME_WIDTH, height), BACKGROUND)
    return band, ImageDraw.Draw(band)


def _text_band(text: str, font: Font, ink: tuple[int, int, int], inner: int) -> Image.Image:
    lines = printable(text, keep="\n").split("\n")
    band, draw = _band(inner, font.line * len(lines))
    for number, line in enumerate(lines):
        draw.text((FRAME_WIDTH, number * font.line), _fitted(line, font, inner), ink, font.face)
    return band


def _heading_band(headings: Sequence[str], columns: Sequence[int], inner: int) -> Image.Image:
    band, _ = _band(inner, max(_text_size(text, HEADING_FONT)[1] for text in headings))
    for left, width, text in zip(_lefts(columns), columns, headings, strict=True):
        band.paste(_text_band(text, HEADING_FONT, FAINT_INK, width), (left, 0))
    return band


def _row_band(title: str, pictures: Sequence[Picture], columns: Sequence[int], inner: int) -> Image.Image:
    first, _, rest = title.partition("\n")
    texts = [_text_band(first, TITLE_FONT, INK, inner)]
    if rest:
        texts.append(_text_band(rest, HEADING_FONT, FAINT_INK, inner))
    top = sum(text.height for text in texts) + TITLE_GAP
    band, draw = _band(inner, top + max(picture.shape[0] for picture in pictures) + FRAME_WIDTH)
    y = 0
    for text in texts:
        band.paste(text, (0, y))
        y += text.height
    for left, picture in zip(_lefts(columns), pictures, strict=True):
        x, (height, width) = left + FRAME_WIDTH, picture.shape[:2]
        band.paste(Image.fromarray(picture), (x, top))
        draw.rectangle((x - 1, top - 1, x + width, top + height), outline=FRAME)
    return band


def _legend_band(inner: int, signed: bool) -> Image.Image:
    lines = _wrapped(LEGEND if signed else POSITIVE_LEGEND, HEADING_FONT, inner)
    band, draw = _band(inner, BAR_HEIGHT + 3 * TITLE_GAP + HEADING_FONT.line * (1 + len(lines)))
    top, left = TITLE_GAP, FRAME_WIDTH
    ramp = np.linspace(-1.0 if signed else 0.0, 1.0, BAR_WIDTH)[None].repeat(BAR_HEIGHT, axis=0)
    band.paste(Image.fromarray(heatmap(ramp)), (left, top))
    draw.rectangle((left - 1, top - 1, left + BAR_WIDTH, top + BAR_HEIGHT), outline=FRAME)
    y = top + BAR_HEIGHT + 3
    marks = [("-max", "la", 0), ("0", "ma", BAR_WIDTH // 2)] if signed else [("0", "la", 0)]
    for text, anchor, x in (*marks, ("+max", "ra", BAR_WIDTH)):
        draw.text((left + x, y), text, FAINT_INK, HEADING_FONT.face, anchor=anchor)
    text_band = _text_band("\n".join(lines), HEADING_FONT, FAINT_INK, inner)
    band.paste(text_band, (0, y + HEADING_FONT.line + TITLE_GAP))
    return band


def _lefts(columns: Sequence[int]) -> list[int]:
    return [sum(columns[:number]) + GAP * number for number in range(len(columns))]


def _text_size(text: str, font: Font) -> tuple[int, int]:
    """Width and height in pixels of the lines of a text."""
    lines = text.split("\n")
    return max(font.width(line) for line in lines), font.line * len(lines)


def _fitted(text: str, font: Font, width: int) -> str:
    """One line of text, its end replaced by "..." where it is wider than `width` pixels."""
    if font.width(text) <= width:
        return text
    while text and font.width(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
