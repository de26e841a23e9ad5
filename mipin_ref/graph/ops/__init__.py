"""One handler an ONNX operator: how its node becomes draft layers, across opsets."""

from mipin_ref.graph.ops import (
    arithmetic,
    cuts_and_joins,
    dense,
    elementwise,
    extremes,
    learners,
    maximum,
    mean,
    norm,
    per_channel,
    quantised,
    resize,
    selections,
    shape,
    sliding,
    spatial,
    transposed,
)
from mipin_ref.graph.ops.registry import HANDLERS

__all__ = [
    "HANDLERS",
    "arithmetic",
    "cuts_and_joins",
    "dense",
    "elementwise",
    "extremes",
    "learners",
    "maximum",
    "mean",
    "norm",
    "per_channel",
    "quantised",
    "resize",
    "selections",
    "shape",
    "sliding",
    "spatial",
    "transposed",
]
