"""One map per sample from an attribution with channels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.attribution import Attribution
from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import checked_choice

Map = npt.NDArray[np.floating[Any]]

INPUT = "input"
"""The size of the network's input."""
LARGEST_MAP = 1 << 28
"""Pixels, a gigabyte in single precision."""


def saliency(
    res: Attribution,
    kind: str = "contribution",
    positive: bool = True,
    size: tuple[int, int] | Literal["input"] | None = None,
) -> Map:
    """Maps [N, H, W] of the attribution's dtype.

    kind "attribution": the mean of A over channels (paper, 6.1.2), right where the values are not negative;
    kind "contribution": the sum of A * X over channels, right where they are signed too.
    A tensor [N, H, W] without channels is used as it is; tokens [N, T, C] of a picture lie where they were taken from
    (`places` of the result), and a class token is left out. Of methods that follow the logit's sign (`follows_logit`:
    MIP-IN, PatternNet, Deep Taylor, LRP-αβ, Excitation Backprop) A is multiplied by that sign first, sample by sample.
    positive: negative values become 0, before any resize.
    size: (H, W) to resize to, by Pillow's BILINEAR on 32-bit floats: half-pixel centres, and averaging over the
    covered area where the map shrinks; "input" for that of the network's input; None keeps the tensor's own, which
    metrics measure.
    Raises InvalidData for an unknown kind, a tensor without two spatial axes, a size below 1 or of an input that
    is no image, NaN or Inf.

    >>> import mipin_ref as mr
    >>> digits = mr.data.builtin("mnist_cnn")
    >>> net = mr.load(digits.model)
    >>> x = mr.data.open_data(digits.calibration)[:50]
    >>> result = mr.attribute(net, x[:4], [0, 1, 2, 3], "grad-cam")
    >>> mr.saliency(result).shape, mr.saliency(result, size="input").shape
    ((4, 11, 11), (4, 28, 28))
    """
    if not isinstance(res, Attribution):
        raise InvalidData(f"saliency: needs an Attribution, not {shown(res)}")
    checked_choice("saliency: kind", kind, ("attribution", "contribution"))
    if not isinstance(positive, bool):
        raise InvalidData(f"saliency: positive must be True or False, not {shown(positive)}")
    values = res.oriented.attribution if kind == "attribution" else res.oriented.contribution
    if res.places is None or not values.size:
        _check_image(res, values)
    if not np.isfinite(values).all():
        raise InvalidData(f"saliency: the {kind} of tensor {res.tensor!r} holds NaN or Inf")
    if res.channel_axis is not None:
        reduce = np.mean if kind == "attribution" else np.sum
        values = reduce(values, axis=res.channel_axis)
    if res.places is not None:
        values = np.where(res.places < 0, values.dtype.type(0), values[:, res.places])
    maps = np.maximum(values, 0) if positive else np.array(values)
    if size is None:
        return maps
    return resize_maps(maps, _size_of_input(res) if isinstance(size, str) and size == INPUT else size)


def _size_of_input(res: Attribution) -> tuple[int, int]:
    if res.input_size is None:
        raise InvalidData("saliency: the result does not know of an input that is an image; give size as numbers")
    return res.input_size


def resize_maps(maps: Map, size: Any) -> Map:
    """Maps [N, h, w] resized to [N, *size], size being (H, W), as saliency does it; the dtype stays."""
    try:
        height, width = (int(axis) for axis in size)
    except Exception:  # whatever an object of the user's raises
        height = width = 0
    if height < 1 or width < 1:
        raise InvalidData(
            f"saliency: size must be (height, width) in pixels, at least 1 each, or {INPUT!r}, not {shown(size)}"
        )
    if height * width > LARGEST_MAP:
        raise InvalidData(f"saliency: size {shown(size)} is more than the {LARGEST_MAP} pixels that a map may have")
    if maps.shape[1:] == (height, width):
        return maps
    resized = np.empty((len(maps), height, width), dtype=maps.dtype)
    for number, one in enumerate(maps):
        # Pillow computes in single precision, whose range a map in double precision may leave.
        largest = np.abs(one).max() or 1.0
        image = Image.fromarray((one / largest).astype(np.float32))
        resized[number] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) * largest
    return resized


def _check_image(res: Attribution, values: Map) -> None:
    shape = list(values.shape)
    if values.size == 0:
        raise InvalidData(f"saliency: tensor {res.tensor!r} is empty, its shape is {shape}")
    if values.ndim == 2:
        raise InvalidData(
            f"saliency: tensor {res.tensor!r} of shape {shape} holds features, which have no image shape; "
            "reshape res.attribution or res.contribution yourself where they are pixels"
        )
    if values.ndim != (3 if res.channel_axis is None else 4):
        raise InvalidData(
            f"saliency: tensor {res.tensor!r} of shape {shape} (channel axis {res.channel_axis}) "
            "has not two spatial axes"
        )
