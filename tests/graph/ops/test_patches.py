"""Col2Im: patches put back into an image."""

from __future__ import annotations

from typing import Any

import pytest

import mipin_ref as mr
from tests.graph.sketch import Sketch, assert_keeps_values


def folded(sketch: Sketch, image: tuple[int, int], block: tuple[int, int], **options: Any) -> str:
    patches = sketch.node("Relu", "x")
    return sketch.node("Col2Im", patches, sketch.ints(*image), sketch.ints(*block), out="image", **options)


@pytest.mark.parametrize(("image", "block"), [((4, 6), (2, 3)), ((3, 5), (1, 1)), ((4, 4), (4, 2))])
def test_patches_that_lie_beside_each_other(image: tuple[int, int], block: tuple[int, int]) -> None:
    taps = block[0] * block[1]
    sketch = Sketch(3 * taps, image[0] * image[1] // taps, opset=18)
    out = folded(sketch, image, block, strides=block)
    net = assert_keeps_values(sketch.model(sketch.conv(out, 3, 2)))
    assert [layer.kind for layer in net.layers[1:4]] == ["Reshape", "Transpose", "Reshape"]
    assert net.shapes["image"] == (3, *image)


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({}, 9),
        ({"strides": (2, 2), "pads": (1, 1, 1, 1)}, 9),
        ({"strides": (2, 2), "dilations": (2, 2)}, 1),
    ],
)
def test_patches_that_overlap_are_refused_by_name(options: dict[str, Any], places: int) -> None:
    sketch = Sketch(8, places, opset=18)
    model = sketch.model(sketch.conv(folded(sketch, (4, 4), (2, 2), **options), 2, 2), check=False)
    (problem,) = {one for problems in mr.load(model, check=False).blocked.values() for one in problems}
    assert problem.reason == "its patches overlap, or leave gaps, over which their values are not followed"
