"""A map over the picture it explains: alone, and on a page of inputs, maps and both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.options import checked_number
from mipin_ref.report.heatmap import as_finite, heatmap
from mipin_ref.report.page import Picture, compose_page
from mipin_ref.report.picture import channels_last, to_picture
from mipin_ref.report.saliency import resize_maps
from mipin_ref.report.signed_png import contrast_scale

STRONGEST = 0.7
"""How much colour covers the gray where the map is largest."""
DARKEST = 85.0
"""The gray of black, so that colours show on it."""


def overlay_page(
    images: npt.ArrayLike,
    maps: npt.ArrayLike,
    logits: npt.ArrayLike,
    titles: Sequence[str],
    *,
    kind: str,
    channel_axis: int | None = 1,
    heading: str = "",
    cell: int = 140,
) -> Picture:
    """A page [height, width, 3] uint8, one row per sample: input, map, and the map in red over the gray input.

    images: [N, ...] inputs with channels on `channel_axis` (None: [N, H, W]); maps: [N, H, W] of values >= 0, resized
    to the input; logits: [N] target logit; titles: [N], such as the class; kind: what the maps are, for the heading of
    their column, and a line below it after a newline.
    Raises InvalidData where shapes or lengths do not match, there is no sample, or values are NaN or Inf.
    """
    values = channels_last(images, channel_axis, "images")
    shown, of_input = as_finite(maps, "maps"), as_finite(logits, "logits")
    samples = len(values)
    if shown.shape != values.shape[:3] or of_input.shape != (samples,) or len(titles) != samples:
        raise InvalidData(
            f"overlay page: images {list(np.shape(images))} need a map of their size, a logit and a title each, not "
            f"{list(shown.shape)}, {list(of_input.shape)} and {len(titles)}"
        )
    rows = [
        (to_picture(x, x), heatmap(one), overlay(x, one, scale=float(one.max())))
        for x, one in zip(values, shown, strict=True)
    ]
    told = zip(titles, of_input, shown, strict=True)
    lines = [f"{title}\nlogit {logit:.4g}, {_largest(one)}" for title, logit, one in told]
    headings = ("input\n", kind, "map over the input\n(in gray)")
    return compose_page(rows, headings, lines, heading=heading, signed=False, cell=cell)


def _largest(one: npt.NDArray[np.float64]) -> str:
    """What full red stands for: each map has its own scale, and a small remainder may look important."""
    return f"full red {one.max():.3g}" if one.max() > 0 else "nothing speaks for the class"


def overlay(image: npt.ArrayLike, map: npt.ArrayLike, *, scale: float | None = None) -> Picture:
    """A map [h, w] over an image, as RGB [H, W, 3] uint8: red where it is positive, blue where negative.

    image: [H, W] or [H, W, channels], uint8 as people see it or any real numbers, shown on their own range; its mean
    over channels is shown in gray, lightened. The map is resized to it by Pillow's BILINEAR, as `saliency` does it.
    scale: the magnitude from which on the colour is full; None for the 99.5th percentile of the map's magnitudes, so
    that single large values hide no others. A map of zeros leaves the gray as it is.
    Raises InvalidData for another shape, a scale below 0, values that are not real numbers, NaN or Inf.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> result = mr.attribute(digits.model, x[:1], 0, "grad-cam")
    >>> mr.overlay(x[0, 0], mr.saliency(result)[0]).shape
    (28, 28, 3)
    """
    values, one = image_values(image, "overlay: image"), as_finite(map, "overlay: map")
    if one.ndim != 2 or one.size == 0:
        raise InvalidData(f"overlay: needs a map [h, w], not shape {list(one.shape)}")
    full = contrast_scale([one]) if scale is None else checked_number("overlay: scale", scale, low=0)
    one = resize_maps(one[None], (values.shape[0], values.shape[1]))[0]
    gray = values.mean(axis=-1, keepdims=True)
    light = gray if np.asarray(image).dtype == np.uint8 else to_picture(gray, gray)
    ground = DARKEST + light[..., 0] * ((255 - DARKEST) / 255)
    share = STRONGEST * np.clip(one / full if full > 0 else 0 * one, -1, 1)
    faded = ground * (1 - np.abs(share))
    mixed = np.stack([faded + 255 * np.maximum(share, 0), faded, faded + 255 * np.maximum(-share, 0)], axis=-1)
    picture: Picture = np.rint(mixed).astype(np.uint8)
    return picture


def image_values(image: npt.ArrayLike, where: str) -> npt.NDArray[np.float64]:
    """An image [H, W] or [H, W, C] as [H, W, C]. Raises InvalidData, naming `where`, for what is no image."""
    values = as_finite(image, where)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.size == 0:
        raise InvalidData(f"{where} must be [H, W] or [H, W, channels], not {list(np.shape(image))}")
    return values


def as_picture(image: npt.ArrayLike, where: str) -> Picture:
    """An image as RGB [H, W, 3]: uint8 as it is, other numbers on their own range; channels other than 3 as their mean.

    Raises InvalidData, naming `where`, for what is no image.
    """
    values = image_values(image, where)
    if np.asarray(image).dtype != np.uint8:
        return to_picture(values, values)
    shown = values if values.shape[-1] == 3 else values.mean(axis=-1, keepdims=True)
    return np.broadcast_to(np.rint(shown).astype(np.uint8), (*shown.shape[:2], 3)).copy()
