"""Signals: the curve of each channel, coloured by contribution."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.report.explained.kind import Drawn, Kind, Marks
from mipin_ref.report.explained.scale import Scale, common_scale
from mipin_ref.report.explained.svg import document, number
from mipin_ref.report.explained.told import Array, ShownClass, ShownSample, Told
from mipin_ref.report.heatmap import as_finite

WIDTH, HEIGHT, GAP, STRIP = 720, 96, 10, 8
"""Of the drawing, of a channel, between two, and of the strip of colours below them."""
CHANNELS = 12
"""Channels that are drawn, at most."""
POINTS = 600
"""Points of a curve, at most: of longer signals each stands for several values, drawn from the least to the largest."""
LEVELS = 8
"""Shades of a colour."""


class SignalKind(Kind):
    """What is shown of signals."""

    suffix = ".svg"
    noun = "signal"

    def check(self, sample: ShownSample) -> None:
        value = as_finite(sample.value, f"{sample.name}: the signal")
        for one in sample.classes:
            if value.ndim not in (1, 2) or one.map.shape != value.shape[-1:]:
                raise InvalidData(
                    f"{sample.name}: needs a signal [T] or [channels, T] and maps [T], not {list(value.shape)} and "
                    f"{list(one.map.shape)}"
                )

    def scale(self, sample: ShownSample) -> Scale:
        return common_scale([one.map for one in sample.classes])

    def row(self, sample: ShownSample, scale: Scale) -> Drawn:
        return Drawn(figures=[_figure(sample, one, scale) for one in sample.classes])

    def file(self, sample: ShownSample, told: Told, scale: Scale, marks: Marks) -> bytes:
        first = sample.classes[0]
        lines = [f"{first.name}  {first.score}", sample.name]
        lines.append(f"{told.method}, {told.tensor}, logit {first.logit:.4g}; {scale}")
        lines.append(_range(sample, first))
        return document(drawing(sample, first, scale), (WIDTH, _height(sample)), lines, marks)


def _figure(sample: ShownSample, one: ShownClass, scale: Scale) -> str:
    drawn = drawing(sample, one, scale)
    view = f"0 0 {WIDTH} {_height(sample)}"
    return (
        f'<svg viewBox="{view}" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg><p>{_range(sample, one)}</p>'
    )


def drawing(sample: ShownSample, one: ShownClass, scale: Scale) -> str:
    """The curves, one below the other, and the strip of the contributions."""
    value = _channels(sample.value)
    source = None if one.source is None else _channels(one.source)
    share = scale.share(one.map)
    block = ceil(value.shape[-1] / POINTS)
    parts = []
    for channel in range(len(value)):
        spread = value[channel] if source is None else np.concatenate([value[channel], source[channel]])
        low, high = float(spread.min()), float(spread.max())
        top = channel * (HEIGHT + GAP)
        x, y = _points(value[channel], block, low, high, top)
        parts.append(_path(x, y, "value"))
        if source is not None:
            parts.append(_path(*_points(source[channel], block, low, high, top), "source"))
        parts += _coloured(x, y, _strongest(share, block))
    parts += _strip(_strongest(share, block), len(value) * (HEIGHT + GAP))
    return "".join(parts)


def _channels(value: Array) -> Array:
    """[channels, T], the first of them."""
    return (value[None] if value.ndim == 1 else value)[:CHANNELS].astype(np.float64)


def _height(sample: ShownSample) -> int:
    return len(_channels(sample.value)) * (HEIGHT + GAP) + STRIP


def _range(sample: ShownSample, one: ShownClass) -> str:
    """The values' range in words, what is not drawn of them, and what else is."""
    value = sample.value
    words = f"values {value.min():.4g} to {value.max():.4g}"
    if value.ndim == 2 and len(value) > CHANNELS:
        words += f"; the first {CHANNELS} of {len(value)} channels"
    block = ceil(value.shape[-1] / POINTS)
    words = words if block == 1 else f"{words}; {block} values a step"
    return f"{words}; the strip below: contributions" + (
        "; dashed: the source signal" if one.source is not None else ""
    )


def _points(values: Array, block: int, low: float, high: float, top: float) -> tuple[Array, Array]:
    """Coordinates of a curve: one point a value, or the least and the largest of a block of them."""
    if block > 1:
        starts = np.arange(0, len(values), block)
        ends = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        values = np.stack(ends, axis=1).ravel()
    span = high - low if high > low else 1.0
    x = (np.arange(len(values)) + 0.5) * (WIDTH / len(values))
    return x, top + HEIGHT * (1 - (values - low) / span) if high > low else np.full(len(values), top + HEIGHT / 2)


def _strongest(share: Array, block: int) -> Array:
    """The share of largest magnitude of each block."""
    if block == 1:
        return share
    starts = np.arange(0, len(share), block)
    most, least = np.maximum.reduceat(share, starts), np.minimum.reduceat(share, starts)
    return np.where(most >= -least, most, least)


def _path(x: Array, y: Array, kind: str) -> str:
    steps = " ".join(f"{number(a)} {number(b)}" for a, b in zip(x, y, strict=True))
    return f'<path class="{kind}" d="M{steps}"/>'


def _coloured(x: Array, y: Array, share: Array) -> list[str]:
    """The pieces of a curve that count, each from half-way before its point to half-way behind it."""
    share = np.repeat(share, len(x) // len(share))
    level = np.rint(share * LEVELS).astype(int)
    before_x, before_y = (np.concatenate([v[:1], (v[1:] + v[:-1]) / 2]) for v in (x, y))
    behind_x, behind_y = (np.concatenate([(v[1:] + v[:-1]) / 2, v[-1:]]) for v in (x, y))
    parts = []
    for one in sorted(set(level.tolist()) - {0}):
        pieces = "".join(
            f"M{number(before_x[i])} {number(before_y[i])}L{number(x[i])} {number(y[i])} "
            f"{number(behind_x[i])} {number(behind_y[i])}"
            for i in np.flatnonzero(level == one)
        )
        parts.append(f'<path class="{_side(one)}" stroke-opacity="{abs(one) / LEVELS:g}" d="{pieces}"/>')
    return parts


def _strip(share: Array, top: float) -> list[str]:
    level = np.rint(share * LEVELS).astype(int)
    width = WIDTH / len(level)
    edges = [0, *(np.flatnonzero(np.diff(level)) + 1).tolist(), len(level)]
    return [
        f'<rect class="strip {_side(level[start])}" x="{number(start * width)}" y="{number(top)}" '
        f'width="{number((end - start) * width)}" height="{STRIP}" fill-opacity="{abs(level[start]) / LEVELS:g}"/>'
        for start, end in pairwise(edges)
        if level[start]
    ]


def _side(level: float) -> str:
    return "for" if level > 0 else "against"
