"""Golden cases: transposed convolutions, resizing, copies and picks, and networks behind nodes without an inverse."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_transposed() -> CaseRecipe:
    """Transposed convolutions: strides, paddings, dilation, groups, a last row that is added; a skip joined behind."""
    s = Sketch(60, 2, 5, 5)
    s.conv("conv1", 2, 4, 2, 2)
    first = s.relu("relu1")
    s.conv("conv2", 4, 4, 2, 2, strides=[2, 2])
    s.relu("relu2")
    s.transposed("up", 4, 4, 3, 2, group=2, strides=[2, 2], pads=[1, 0, 0, 0])
    s.join("Concat", "joined", s.last, first, axis=1)
    s.relu("relu3")
    s.transposed("wide", 8, 2, 2, 2, dilations=[2, 1], strides=[1, 2], output_padding=[0, 1], pads=[0, 1, 1, 0])
    s.relu("relu4")
    s.node("GlobalAveragePool", "mean")
    s.head(2)
    return recipe(s, 5)


@case
def golden_resize() -> CaseRecipe:
    """Linear and nearest resizing up and down, by scales; some locations go nowhere. Behind SpaceToDepth an input with
    zeros, which is not masked.
    """
    s = Sketch(61, 1, 6, 6)
    s.node("SpaceToDepth", "shallow", blocksize=2)
    s.conv("conv1", 4, 2, 2, 2, pads=[0, 0, 1, 1])
    s.relu("relu1")
    empty = np.array([], np.float32)
    s.node(
        "Resize",
        "linear",
        empty,
        np.array([1, 1, 1.5, 2], np.float32),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    s.conv("conv2", 2, 2, 2, 2)
    s.relu("relu2")
    s.node(
        "Resize",
        "aligned",
        empty,
        np.array([1, 1, 1.5, 1.5], np.float32),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    s.relu("relu3")
    s.node(
        "Resize",
        "nearest",
        empty,
        np.array([1, 1, 0.6, 1.25], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    s.head(2 * 2 * 8)
    return recipe(s, x=np.maximum(s.rng.standard_normal((5, *s.input_shape)), 0))


@case
def golden_picks() -> CaseRecipe:
    """Entries that are picked, repeated, cut out in steps, mirrored or spread: each goes back to its place."""
    s = Sketch(62, 1, 5, 5)
    s.conv("conv1", 1, 2, 2, 2)
    first = s.relu("relu1")
    odd = s.node("Slice", "odd", np.array([3]), np.array([-5]), np.array([3]), np.array([-2]), source=first)
    s.node("Gather", "picked", np.array([1, 0, 1, 1]), source=odd, axis=1)
    s.node("DepthToSpace", "deep", blocksize=2, mode="CRD")
    s.node("Pad", "mirrored", np.array([0, 0, 0, 0, 0, 0, 1, 2]), mode="reflect")
    s.conv("conv2", 1, 2, 3, 2, strides=[2, 2])
    s.relu("relu2")
    s.node("Pad", "edged", np.array([0, 0, 1, 0, 0, 0, 0, 1]), mode="edge")
    s.node("Tile", "tiled", np.array([1, 2, 1, 1]))
    s.conv("conv3", 4, 3, 2, 2)
    s.relu("relu3")
    s.node("GlobalAveragePool", "mean")
    s.node("Expand", "spread", np.array([1, 3, 2, 2]))
    mask = np.array([[[1, 0], [1, 1]], [[0, 1], [1, 1]], [[1, 1], [1, 0]]], bool)[None]
    s.join("Where", "masked", mask, s.last, np.array(0.25, np.float32))
    s.head(12)
    return recipe(s, 5)


@case
def golden_frontier() -> CaseRecipe:
    """Nodes without an inverse in front: running sums make content and gate, the first is explained; it has zeros."""
    s = Sketch(63, 2, 4, 4)
    s.node("CumSum", "running", np.array(3))
    s.conv("conv1", 2, 3, 2, 2)
    s.relu("relu1")
    s.node("CumSum", "summed", np.array(2), source="input")
    s.conv("conv2", 2, 3, 2, 2)
    s.node("Sigmoid", "gate")
    s.join("Mul", "gated", "relu1", s.last)
    s.conv("conv3", 3, 3, 2, 2)
    s.relu("relu2")
    s.head(3 * 2 * 2)
    return recipe(s, x=np.maximum(s.rng.standard_normal((8, *s.input_shape)), 0), at="running")
