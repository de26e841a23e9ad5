"""What resizes and picks along axes, as matrices [out, in]: a signal comes back by the mean over what was read."""

from __future__ import annotations

import math
from typing import Any

import torch

from tests.golden.independent.case import Tensor

Layer = dict[str, Any]


def original(layer: Layer, size: int, length: int, scale: float, place: int) -> float:
    """Where a location of a resized axis lies in the input (ONNX, Resize)."""
    match layer["coordinates"]:
        case "asymmetric":
            return place / scale
        case "align_corners":
            return place * (size - 1) / (length - 1) if length > 1 else 0.0
        case "pytorch_half_pixel" if length == 1:
            return 0.0
        case "half_pixel" | "pytorch_half_pixel":
            return (place + 0.5) / scale - 0.5
    raise NotImplementedError(layer["coordinates"])


def rounded(layer: Layer, place: float) -> int:
    match layer["rounding"]:
        case "floor":
            return math.floor(place)
        case "ceil":
            return math.ceil(place)
        case "round_prefer_floor":
            return math.ceil(place - 0.5)
        case "round_prefer_ceil":
            return math.floor(place + 0.5)
    raise NotImplementedError(layer["rounding"])


def resizing(layer: Layer, axis: int) -> Tensor:
    """The matrix of a Resize along axis 2, 3, … of an array."""
    size, length = layer["in_shapes"][0][axis - 1], layer["out_shape"][axis - 1]
    scale = length / size if layer["scales"] is None else layer["scales"][axis - 2]
    matrix = torch.zeros((length, size), dtype=torch.float64)
    for place in range(length):
        at = original(layer, size, length, scale, place)
        if layer["mode"] == "nearest":
            matrix[place, min(max(rounded(layer, at), 0), size - 1)] = 1.0
            continue
        at = min(max(at, 0.0), size - 1.0)
        below = math.floor(at)
        matrix[place, below] += 1 - (at - below)
        matrix[place, min(below + 1, size - 1)] += at - below
    return matrix


def picking(picks: list[int], size: int) -> Tensor:
    matrix = torch.zeros((len(picks), size), dtype=torch.float64)
    matrix[torch.arange(len(picks)), torch.tensor(picks)] = 1.0
    return matrix


def matrices(layer: Layer) -> dict[int, Tensor]:
    """By axis of an array, counted with the samples."""
    if layer["kind"] == "Resize":
        return {axis: resizing(layer, axis) for axis in range(2, len(layer["out_shape"]) + 1)}
    sizes = zip(layer["picks"], layer["in_shapes"][0], strict=True)
    return {axis: picking(pick, size) for axis, (pick, size) in enumerate(sizes, 1) if pick is not None}


def back(matrix: Tensor) -> Tensor:
    """[in, out]: the mean over what each entry was read for, weighted as it was read; 0 of nothing."""
    total = matrix.sum(dim=0)
    return (matrix / torch.where(total > 0, total, 1.0)).T


def along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """The matrix times x along an axis."""
    return (x.movedim(axis, -1) @ matrix.T.to(x.dtype)).movedim(-1, axis)


def copies_mean(s: Tensor, shape: list[int]) -> Tensor:
    """The mean of the signals at the copies of what was broadcast from a sample's shape."""
    copied = [axis for axis, size in enumerate(shape, 1) if size != s.shape[axis]]
    return s.mean(dim=copied, keepdim=True) if copied else s
