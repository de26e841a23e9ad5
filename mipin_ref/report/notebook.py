"""What a notebook shows of a result: small pages of HTML that stand alone, in the colours around them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.attribution import Attribution
from mipin_ref.errors import MipinError
from mipin_ref.graph.network import Network
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.report import Report
from mipin_ref.report.heatmap import as_finite, heatmap
from mipin_ref.report.overlay import overlay
from mipin_ref.report.page import Picture
from mipin_ref.report.picture import channels_last, to_picture
from mipin_ref.report.signed_png import png_bytes
from mipin_ref.text import printable

SAMPLES = 10
"""Samples that are shown, at most."""
LAYERS = 100
"""Rows of a table, at most: those in the middle of a longer one are counted."""
LARGEST = 5
"""Contributions that are told of each sample where it is no picture."""
SIDE = 112
"""Pixels of a picture on the page; SHARP: of the picture itself, at most."""
SHARP = 2 * SIDE

STYLE = "color:inherit;border-collapse:collapse;font-size:12px"
CELL = "padding:2px 8px;text-align:left;vertical-align:top;border-bottom:1px solid rgba(128,128,128,.3)"


@singledispatch
def html(shown: object) -> str | None:
    """The HTML of a result; None of what has no picture. Raises MipinError where there is nothing to draw."""
    return None


def html_or_none(shown: object) -> str | None:
    """The same, but None where there is nothing to draw (NaN, say): a notebook shows the one line then."""
    try:
        return html(shown)
    except MipinError:
        return None


@html.register
def _network(net: Network) -> str:
    return _page(repr(net), _table(*net.cells()), net.ends)


@html.register
def _report(report: Report) -> str:
    return _page(repr(report), _table(*report.cells()))


@html.register
def _inverse(inverse: Inverse) -> str:
    return _page(repr(inverse), _table(*inverse.report.cells()))


@html.register
def _attribution(res: Attribution) -> str:
    images = res.value.ndim == (3 if res.channel_axis is None else 4) and res.value.size > 0
    shown = res[:SAMPLES]
    more = f"{len(shown)} of {len(res)} samples" if len(res) > len(shown) else ""
    return _page(repr(res), _pictures(shown) if images else _largest(shown), more)


def explained_html(
    heading: str, images: npt.ArrayLike, channel_axis: int | None, maps: npt.ArrayLike, titles: Sequence[str]
) -> str | None:
    """The HTML of images and their maps [N, h, w], a row a sample: image, map, map over the image; see `html_or_none`.

    images: [N, ...] with channels on `channel_axis` (None: [N, H, W]); titles: [N].
    """
    try:
        values, shown = channels_last(images, channel_axis, "images"), as_finite(maps, "maps")
        rows = [
            [_text(title), *map(_image, (to_picture(image, image), heatmap(one), overlay(image, one)))]
            for title, image, one in zip(titles[:SAMPLES], values, shown, strict=False)
        ]
    except MipinError:
        return None
    more = f"{len(rows)} of {len(titles)} samples" if len(titles) > len(rows) else ""
    head = ["", "image", "contribution, red for the class", "over the image"]
    return _page(heading, _html_table(map(_text, head), rows), more)


def _pictures(res: Attribution) -> str:
    """A row a sample: the explained tensor, its source signal on the same range of values, the map of contributions."""
    values = channels_last(res.value, res.channel_axis, "value")
    contribution = channels_last(res.oriented.contribution, res.channel_axis, "contribution").sum(axis=-1)
    columns: list[tuple[str, list[Picture]]] = [(res.tensor, [to_picture(one, one) for one in values])]
    if res.signal is not None:
        signals = channels_last(res.signal, res.channel_axis, "source signal")
        drawn = [to_picture(one, value) for one, value in zip(signals, values, strict=True)]
        columns.append(("source signal", drawn))
    columns.append(("contribution, red for the class", list(heatmap(contribution))))
    head = ["", *(name for name, _ in columns)]
    rows = [
        [_text(f"{number}: target {target}, logit {logit:.4g}"), *(_image(pictures[number]) for _, pictures in columns)]
        for number, (target, logit) in enumerate(_told(res))
    ]
    return _html_table(map(_text, head), rows)


def _largest(res: Attribution) -> str:
    """A row a sample: its entries of the largest contribution, each with its value."""
    given, values = as_finite(res.contribution, "contribution"), as_finite(res.value, "value")
    rows = []
    for number, (target, logit) in enumerate(_told(res)):
        order = np.argsort(-np.abs(given[number]), axis=None, kind="stable")[:LARGEST]
        places = [tuple(int(i) for i in np.unravel_index(one, given.shape[1:])) for one in order]
        told = [f"{_place(at)}: {given[number][at]:+.4g} (value {values[number][at]:.4g})" for at in places]
        rows.append(_text(one) for one in [f"{number}: target {target}, logit {logit:.4g}", *told])
    shown = min(LARGEST, int(np.prod(given.shape[1:])))
    head = ["", "largest contributions", *[""] * (shown - 1)]
    return _html_table(map(_text, head), rows)


def _place(at: tuple[int, ...]) -> str:
    return str(at[0]) if len(at) == 1 else str(list(at))


def _told(res: Attribution) -> Iterable[tuple[Any, float]]:
    """The target and the logit of each sample."""
    one = isinstance(res.target, int | tuple)
    targets = [res.target] * len(res) if one else np.asarray(res.target).tolist()
    return zip(targets, res.output.tolist(), strict=True)


def _page(heading: str, body: str, footer: str = "") -> str:
    below = "".join(f"<div style='font-size:12px;opacity:.8'>{_text(line)}</div>" for line in footer.splitlines())
    return f"<div><div style='font-size:13px;margin:2px 0'>{_text(heading)}</div>{body}{below}</div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts, without its middle where it is long."""
    shown = [[_text(cell) for cell in row] for row in rows]
    if len(shown) > LAYERS:
        left = len(shown) - LAYERS
        gap = [f"… {left:,} more …", *[""] * (len(head) - 1)]
        shown = [*shown[: LAYERS // 2], gap, *shown[-(LAYERS // 2) :]]
    return _html_table(map(_text, head), shown)


def _html_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    body = "".join(_row("td", row) for row in rows)
    return f"<table style='{STYLE}'><thead>{_row('th', head)}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, cells: Iterable[str]) -> str:
    inside = "".join(f"<{tag} style='{CELL}'>{cell}</{tag}>" for cell in cells)
    return f"<tr style='background:transparent'>{inside}</tr>"


def _image(picture: Picture) -> str:
    """The picture itself, in the page; large ones are made smaller first."""
    image = Image.fromarray(picture)
    image.thumbnail((SHARP, SHARP))
    height = max(1, round(SIDE * image.height / max(image.size)))
    width = max(1, round(SIDE * image.width / max(image.size)))
    style = "image-rendering:pixelated" if max(image.size) < SIDE else ""
    data = b64encode(png_bytes(image)).decode("ascii")
    return f"<img alt='' width='{width}' height='{height}' style='{style}' src='data:image/png;base64,{data}'>"


def _text(words: object) -> str:
    return escape(printable(str(words)))
