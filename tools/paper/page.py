"""What a section of the report is made of, and how numbers are told in it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row, columns of numbers are told by their content."""

    head: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """Rows of pictures: of each (PNG in base64, what it shows, text below); rows: a heading of each row."""

    head: list[str]
    rows: list[tuple[str, list[tuple[str, str, str]]]]
    caption: str = ""


Block = Table | Figure | str


def png(picture: Picture) -> str:
    """An RGB picture [H, W, 3] as PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def heat(one: NDArray[np.floating[Any]]) -> str:
    """A signed map [H, W] in colour."""
    return png(mr.heatmap(one))


def photo(x: NDArray[np.floating[Any]]) -> str:
    """x [C, H, W] or [H, W] in 0..1 as a picture, other values cut off."""
    planes = np.broadcast_to(x, (3, *x.shape[-2:])) if x.ndim == 2 or len(x) == 1 else x
    return png(np.ascontiguousarray(np.moveaxis(np.rint(255 * np.clip(planes, 0, 1)), 0, -1)).astype(np.uint8))


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def interval(
    row: Mapping[str, Any], key: str, number: Callable[[float | None], str] = three, between: str = "–"
) -> str:
    """A mean of a row, and the interval whose ends stand beside it (`paper.intervals.in_row`)."""
    return number(row[key]) + ("" if row[key] is None else f" ({within(row, key, number, between)})")


def within(row: Mapping[str, Any], key: str, number: Callable[[float | None], str] = three, between: str = "–") -> str:
    """The interval alone."""
    return f"{number(row[f'{key}_low'])}{between}{number(row[f'{key}_high'])}"


def signed(value: float) -> str:
    return f"{value:+.3f}"


def listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def fact(*parts: str) -> str:
    """A name for a number that stands in a sentence, of what it is of."""
    return re.sub(r"\W+", "_", "_".join(parts))
