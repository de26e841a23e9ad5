"""Attributions as a matplotlib figure, for notebooks and papers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.errors import BackendUnavailable, InvalidData, shown
from mipin_ref.report.heatmap import as_finite
from mipin_ref.report.overlay import as_picture, overlay
from mipin_ref.report.saliency import saliency
from mipin_ref.report.signed_png import contrast_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 50
"""Samples of one figure."""
BARS = 12
"""Features of a row of a table that are drawn."""
CELL = 2.6
"""Inches of a picture."""
POSITIVE, NEGATIVE = "#d40000", "#0000e0"


def plot(res: Attribution, images: npt.ArrayLike | None = None, names: Sequence[str] | None = None) -> Figure:
    """A matplotlib figure, a row a sample: what speaks for the target, and what against it.

    Of tensors [N, C, H, W] the map, and where there are `images` those and the map over them: [N, H, W],
    [N, H, W, 1 or 3] or [N, 1 or 3, H, W], uint8 or any real numbers on their own range; an explained tensor of 1 or 3
    channels is its own image. Of tensors [N, C, T] the curve of the mean over channels, coloured; of [N, F] the largest
    contributions as bars. Red is for the target, blue against it; each row has its own scale, with colours full from
    the 99.5th percentile of its magnitudes on. names: [N], of the samples.
    Raises BackendUnavailable where matplotlib is missing, InvalidData for more than 50 samples, images or names that
    are not one a sample, a tensor of another rank, NaN or Inf.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> figure = mr.plot(mr.attribute(digits.model, x[:2], [0, 1], "gradient"))
    >>> len(figure.axes)
    8
    """
    if not isinstance(res, Attribution):
        raise InvalidData(f"plot: needs an Attribution, not {shown(res)}")
    if not 1 <= len(res) <= MOST:
        raise InvalidData(f"plot: shows 1 to {MOST} samples, not {len(res)}; give some of them, as in res[:{MOST}]")
    if names is not None and len(names) != len(res):
        raise InvalidData(f"plot: {len(res)} samples need as many names, not {len(names)}")
    titles = [_title(res, n, None if names is None else names[n]) for n in range(len(res))]
    contributions = as_finite(res.oriented.contribution, "plot: the contribution")
    axes = contributions.ndim - 1 - (res.channel_axis is not None)
    if axes == 2:
        return _pictures(res, _images(res, images), titles)
    if images is not None:
        raise InvalidData(f"plot: tensor {res.tensor!r} of shape {list(contributions.shape)} has no map for images")
    if contributions.ndim == 2:
        return _bars(contributions, titles)
    if contributions.ndim == 3:
        # Without a channel axis [N, T, F] is of T tokens, whose features are summed.
        axis = 2 if res.channel_axis is None else res.channel_axis
        value = as_finite(res.value, "plot: the value")
        return _curves(value.mean(axis=axis), contributions.sum(axis=axis), titles)
    raise InvalidData(f"plot: tensor {res.tensor!r} of shape {list(contributions.shape)} is no image, signal or table")


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendUnavailable("plot needs matplotlib: pip install 'mipin_ref[plot]'") from error
    # Not by pyplot: a figure of nobody's window goes when its last name does.
    figure = Figure(figsize=size, layout="constrained")
    # What a notebook asks for, where pyplot has not told it how to draw figures.
    vars(figure)["_repr_png_"] = partial(_png, figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _title(res: Attribution, sample: int, name: str | None) -> str:
    target = res.target[sample] if isinstance(res.target, np.ndarray) else res.target
    # A dollar sign would begin a formula.
    told = f"target {target}, logit {res.output[sample]:.4g}"
    return told if name is None else f"{_shortened(name)}\n{told}"


def _shortened(text: str, most: int = 60) -> str:
    cut = text if len(text) <= most else f"{text[: most - 21]}…{text[-20:]}"
    return cut.replace("$", r"\$")


def _images(res: Attribution, images: npt.ArrayLike | None) -> Sequence[npt.NDArray[Any]] | None:
    """[H, W, C] of each sample; those given, else the explained tensor where it looks like one."""
    if images is None:
        if res.channel_axis is None:
            return list(res.value)
        pictures = np.moveaxis(res.value, res.channel_axis, -1)
        return list(pictures) if pictures.shape[-1] in (1, 3) else None
    given = np.asarray(images)
    if given.ndim not in (3, 4) or len(given) != len(res):
        raise InvalidData(f"plot: {len(res)} samples need as many images, not an array {list(given.shape)}")
    if given.ndim == 4 and given.shape[-1] not in (1, 3) and given.shape[1] in (1, 3):
        given = np.moveaxis(given, 1, -1)
    return list(given)


def _pictures(res: Attribution, images: Sequence[npt.NDArray[Any]] | None, titles: Sequence[str]) -> Figure:
    maps = saliency(res, positive=False)
    columns = 1 if images is None else 3
    figure, axes = _figure(len(maps), columns, (CELL * columns + 0.8, (CELL + 0.5) * len(maps)))
    for row, one, title, number in zip(axes, maps, titles, range(len(maps)), strict=True):
        full = contrast_scale([one])
        if images is not None:
            picture = as_picture(images[number], "plot: an image")
            row[0].imshow(picture)
            row[1].imshow(overlay(images[number], one))
        bounds = (-full, full) if full > 0 else (-1.0, 1.0)
        drawn = row[-1].imshow(one, cmap="bwr", vmin=bounds[0], vmax=bounds[1], interpolation="nearest")
        beyond = np.abs(one).max() > full
        figure.colorbar(drawn, ax=row[-1], shrink=0.8, extend="both" if beyond else "neither")
        row[0].set_title(title, fontsize=9, loc="left")
        for ax in row:
            ax.set_axis_off()
    return figure


def _curves(values: npt.NDArray[Any], maps: npt.NDArray[Any], titles: Sequence[str]) -> Figure:
    figure, axes = _figure(len(values), 1, (8.0, 1.9 * len(values) + 0.3))
    for (ax,), value, one, title in zip(axes, values, maps, titles, strict=True):
        full = contrast_scale([one])
        steps = np.arange(len(value))
        ax.plot(steps, value, color="0.75", linewidth=0.8, zorder=2)
        bounds = (-full, full) if full > 0 else (-1.0, 1.0)
        drawn = ax.scatter(steps, value, c=one, cmap="bwr", vmin=bounds[0], vmax=bounds[1], s=16, zorder=1)
        figure.colorbar(drawn, ax=ax)
        ax.set_title(title, fontsize=9, loc="left")
    return figure


def _bars(maps: npt.NDArray[np.float64], titles: Sequence[str]) -> Figure:
    count = min(BARS, maps.shape[1])
    figure, axes = _figure(len(maps), 1, (6.0, (0.24 * count + 0.9) * len(maps)))
    for (ax,), one, title in zip(axes, maps, titles, strict=True):
        order = np.argsort(-np.abs(one), kind="stable")[:count]
        colours = [POSITIVE if value > 0 else NEGATIVE for value in one[order]]
        ax.barh(np.arange(count), one[order], color=colours)
        ax.set_yticks(np.arange(count), [f"feature {number}" for number in order])
        ax.invert_yaxis()
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.set_title(title, fontsize=9, loc="left")
    return figure
