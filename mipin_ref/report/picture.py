"""The page that explains predictions: input, source signal and heatmaps side by side (paper, Figure 4)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.errors import InvalidData
from mipin_ref.files import written_whole
from mipin_ref.report.heatmap import as_finite, heatmap
from mipin_ref.report.page import Picture, compose_page

COLOUR_CHANNELS = (1, 3)


def explanation_page(
    images: npt.ArrayLike,
    source: npt.ArrayLike | None,
    attribution: npt.ArrayLike,
    logits_input: npt.ArrayLike,
    logits_source: npt.ArrayLike | None,
    titles: Sequence[str],
    *,
    channel_axis: int | None = 1,
    multiplier: bool = True,
    name: str = "input",
    heading: str = "",
    cell: int = 140,
) -> Picture:
    """A page [height, width, 3] uint8, one row per sample: input, source signal, attribution, contribution.

    images, source, attribution: [N, ...] of one shape, with channels on `channel_axis` (None: [N, H, W]); images and
    source signals of 3 channels are shown in colour, of 1 in gray, of another number as the mean over channels in
    gray, on the value range of that sample's input; heatmaps are signed.
    logits_input, logits_source: [N] target logit of each input and of its source signal, None where that is not known;
    titles: [N], such as the class; name: what the images are, where they are not the network's input; cell: about how
    many pixels a small image is enlarged to. source is None of a method without source signals; multiplier: whether
    attributions are multipliers of the values, or else contributions already (relevance), shown in one column.
    Raises InvalidData where shapes or lengths do not match, there is no sample, or values are NaN or Inf.
    """
    values = channels_last(images, channel_axis, "images")
    signals = None if source is None else channels_last(source, channel_axis, "source")
    relevance = channels_last(attribution, channel_axis, "attribution")
    of_input = as_finite(logits_input, "logits_input")
    of_source = of_input if logits_source is None else as_finite(logits_source, "logits_source")
    samples = len(values)
    if relevance.shape != values.shape or (signals is not None and signals.shape != values.shape):
        of_signals = "" if source is None else f", source {list(np.shape(source))}"
        raise InvalidData(
            f"explanation page: images {list(np.shape(images))}{of_signals} and "
            f"attribution {list(np.shape(attribution))} must have one shape"
        )
    if of_input.shape != (samples,) or of_source.shape != (samples,) or len(titles) != samples:
        raise InvalidData(
            f"explanation page: {samples} samples need as many logits and titles, not "
            f"{list(of_input.shape)}, {list(of_source.shape)} and {len(titles)}"
        )
    mean = "" if values.shape[-1] in COLOUR_CHANNELS else "(mean over channels)"
    columns = [(f"{name}\n{mean}", [to_picture(value, value) for value in values])]
    if signals is not None:
        drawn = [to_picture(signal, value) for signal, value in zip(signals, values, strict=True)]
        columns.append((f"source signal\n({name}'s range, clipped)", drawn))
    if multiplier:
        columns.append(("attribution A\n(mean over channels)", list(heatmap(relevance.mean(axis=-1)))))
        contribution = heatmap((relevance * values).sum(axis=-1))
        columns.append(("contribution A * X\n(sum over channels)", list(contribution)))
    else:
        columns.append(("relevance\n(sum over channels)", list(heatmap(relevance.sum(axis=-1)))))
    headings, pictures = zip(*columns, strict=True)
    rows = list(zip(*pictures, strict=True))
    lines = [f"{title}\nlogit {of_input[n]:.4g}" for n, title in enumerate(titles)]
    if logits_source is not None:
        lines = [f"{line} for the input, {of_source[n]:.4g} for its source signal" for n, line in enumerate(lines)]
    return compose_page(rows, headings, lines, heading=heading, cell=cell)


def to_picture(values: npt.NDArray[np.float64], on_range_of: npt.NDArray[np.float64]) -> Picture:
    """Values [H, W, C] as RGB [H, W, 3], black and white being the least and the largest value of `on_range_of`.

    C = 3 is colour, anything else is shown as the mean over channels in gray; values out of the range are clipped.
    """
    if values.shape[-1] != 3:
        values, on_range_of = values.mean(axis=-1, keepdims=True), on_range_of.mean(axis=-1, keepdims=True)
    low, high = on_range_of.min(), on_range_of.max()
    # A constant image has no range of its own; black is its value.
    span = high - low if high > low else 1.0
    shown = np.rint(255 * np.clip((values - low) / span, 0, 1)).astype(np.uint8)
    return np.broadcast_to(shown, (*shown.shape[:2], 3)).copy()


def save_png(array: npt.NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Write a picture, uint8 [H, W] or [H, W, 3], as PNG: the whole file appears at `path`, or nothing changes.

    Raises InvalidData for another dtype or shape, and where the file cannot be written.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or array.size == 0:
        raise InvalidData(f"{path}: a picture must be uint8 [H, W] or [H, W, 3], not {array.dtype} {list(array.shape)}")
    with written_whole(path, clear=False) as file:
        Image.fromarray(np.ascontiguousarray(array)).save(file, format="PNG")


def channels_last(array: npt.ArrayLike, channel_axis: int | None, name: str) -> npt.NDArray[np.float64]:
    """Images as [N, H, W, C], with C = 1 without a channel axis. Raises InvalidData, naming `name`, for no images."""
    values = as_finite(array, name)
    wanted = 3 if channel_axis is None else 4
    if values.ndim != wanted or values.size == 0:
        raise InvalidData(f"page: {name} of shape {list(values.shape)} (channel axis {channel_axis}) are no images")
    if channel_axis is None:
        return values[..., None]
    if not 1 <= channel_axis <= 3:
        raise InvalidData(f"page: channel_axis must be 1, 2, 3 or None, not {channel_axis}")
    return np.moveaxis(values, channel_axis, -1)
