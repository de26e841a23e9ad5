"""A picture with words and its colour scale below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mipin_ref.report.explained.scale import Scale
from mipin_ref.report.faces import draw_text, text_width, wrapped
from mipin_ref.report.heatmap import heatmap
from mipin_ref.report.page import BACKGROUND, FAINT_INK, FRAME, INK, Picture

SIDE, LARGEST_SIDE = 384, 640
"""Pixels that the longer side of a picture is brought near to by a whole factor, and has at most."""
NARROWEST = 300
MARGIN = 12
BAR = (150, 10)


def enlarged(picture: Picture) -> Picture:
    """A picture [H, W, 3] as large as it is drawn: by a whole factor, or reduced to LARGEST_SIDE."""
    longer = max(picture.shape[:2])
    if longer > LARGEST_SIDE:
        small = Image.fromarray(picture)
        small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
        return np.asarray(small)
    factor = max(1, round(SIDE / longer))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def captioned(picture: Picture, lines: Sequence[tuple[str, int, int]], scale: Scale) -> Picture:
    """The picture [H, W, 3] with (text, size in pixels, lines it may take) below it, and the scale of its colours."""
    height, width = picture.shape[:2]
    inner = max(width, NARROWEST)
    texts = [(line, size) for text, size, most in lines for line in wrapped(text, size, inner, most)]
    words = str(scale)
    beside = BAR[0] + 8 + text_width(words, 12) <= inner
    top = height + 2 * MARGIN
    below = sum(round(1.35 * size) for _, size in texts) + 8 + (16 if beside else 34)
    page = Image.new("RGB", (inner + 2 * MARGIN, top + below + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(page)
    page.paste(Image.fromarray(picture), (MARGIN, MARGIN))
    draw.rectangle((MARGIN - 1, MARGIN - 1, MARGIN + width, MARGIN + height), outline=FRAME)
    y = float(top)
    for number, (line, size) in enumerate(texts):
        draw_text(draw, MARGIN, y + size, line, size, INK if number == 0 else FAINT_INK)
        y += round(1.35 * size)
    y += 8
    ramp = heatmap(np.linspace(-1, 1, BAR[0])[None].repeat(BAR[1], axis=0))
    page.paste(Image.fromarray(ramp), (MARGIN, round(y)))
    draw.rectangle((MARGIN - 1, y - 1, MARGIN + BAR[0], y + BAR[1]), outline=FRAME)
    where = (MARGIN + BAR[0] + 8, y + BAR[1]) if beside else (MARGIN, y + BAR[1] + 18)
    draw_text(draw, *where, words, 12, FAINT_INK)
    return np.asarray(page)
