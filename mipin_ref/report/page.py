"""Layout of picture pages: rows of cells with titles, column headings and a colour bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mipin_ref.errors import InvalidData
from mipin_ref.report.heatmap import heatmap

Picture = npt.NDArray[np.uint8]

BACKGROUND = (250, 250, 248)
INK = (30, 30, 34)
FAINT_INK = (95, 95, 102)
FRAME = (205, 205, 202)
MARGIN = 20
GAP = 14
TITLE_SIZE = 15
HEADING_SIZE = 13
LINE = 1.3
BAR_WIDTH, BAR_HEIGHT = 160, 12
LARGEST_CELL = 2

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def compose_page(
    rows: Sequence[Sequence[Picture]],
    headings: Sequence[str],
    titles: Sequence[str],
    *,
    heading: str = "",
    legend: bool = True,
    cell: int = 140,
) -> Picture:
    """A page [height, width, 3] uint8 with one row of pictures [H, W, 3] per sample.

    headings: one per column, lines parted by newlines; titles: one per row, above it; heading: above the page;
    legend: the heatmaps' colour bar below it; cell: pixels that a picture's longer side is brought near to, enlarged
    by a whole factor without interpolation, or reduced where it is more than twice as long.
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
    title_font, heading_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(HEADING_SIZE)
    title_height, line_height = round(TITLE_SIZE * LINE), round(HEADING_SIZE * LINE)
    widths = [
        max(
            *(row[column].shape[1] for row in pictures),
            *(_width(line, heading_font) for line in headings[column].split("\n")),
            1,
        )
        for column in range(len(headings))
    ]
    heights = [max(picture.shape[0] for picture in row) for row in pictures]
    heading_lines = max(text.count("\n") + 1 for text in headings)
    page_width = max(2 * MARGIN + sum(widths) + GAP * (len(widths) - 1), 2 * MARGIN + BAR_WIDTH if legend else 0)
    legend_lines = _wrapped(LEGEND, heading_font, page_width - 2 * MARGIN) if legend else []
    page_height = (
        2 * MARGIN
        + (title_height + GAP if heading else 0)
        + heading_lines * line_height
        + sum(title_height + height + GAP + GAP // 2 for height in heights)
        + (BAR_HEIGHT + line_height * (1 + len(legend_lines)) + GAP if legend else 0)
    )
    page = Image.new("RGB", (page_width, page_height), BACKGROUND)
    draw = ImageDraw.Draw(page)
    y = MARGIN
    if heading:
        draw.text((MARGIN, y), _fitted(heading, title_font, page_width - 2 * MARGIN), INK, title_font)
        y += title_height + GAP
    lefts = [MARGIN + sum(widths[:column]) + GAP * column for column in range(len(widths))]
    for left, text in zip(lefts, headings, strict=True):
        for number, line in enumerate(text.split("\n")):
            draw.text((left, y + number * line_height), line, FAINT_INK, heading_font)
    y += heading_lines * line_height
    for row, title, height in zip(pictures, titles, heights, strict=True):
        y += GAP
        draw.text((MARGIN, y), _fitted(title, title_font, page_width - 2 * MARGIN), INK, title_font)
        y += title_height + GAP // 2
        for left, picture in zip(lefts, row, strict=True):
            page.paste(Image.fromarray(picture), (left, y))
            draw.rectangle((left - 1, y - 1, left + picture.shape[1], y + picture.shape[0]), outline=FRAME)
        y += height
    if legend:
        _draw_legend(page, draw, y + GAP, legend_lines, heading_font, line_height)
    return np.asarray(page)


LEGEND = "red: positive, blue: negative, white: zero; each heatmap is scaled by its own largest magnitude"


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


def _draw_legend(
    page: Image.Image, draw: ImageDraw.ImageDraw, y: int, lines: Sequence[str], font: Font, line_height: int
) -> None:
    ramp = np.linspace(-1.0, 1.0, BAR_WIDTH)[None].repeat(BAR_HEIGHT, axis=0)
    page.paste(Image.fromarray(heatmap(ramp)), (MARGIN, y))
    draw.rectangle((MARGIN - 1, y - 1, MARGIN + BAR_WIDTH, y + BAR_HEIGHT), outline=FRAME)
    for text, anchor, x in (("-max", "la", 0), ("0", "ma", BAR_WIDTH // 2), ("+max", "ra", BAR_WIDTH)):
        draw.text((MARGIN + x, y + BAR_HEIGHT + 3), text, FAINT_INK, font, anchor=anchor)
    for number, line in enumerate(lines):
        draw.text((MARGIN, y + BAR_HEIGHT + (1 + number) * line_height + 3), line, FAINT_INK, font)


def _width(text: str, font: Font) -> int:
    return int(np.ceil(font.getlength(text)))


def _fitted(text: str, font: Font, width: int) -> str:
    """text on one line, its end replaced by "..." where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if _width(text, font) <= width:
        return text
    while text and _width(text + "...", font) > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
