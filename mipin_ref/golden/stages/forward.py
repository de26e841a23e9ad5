"""Stage "forward": values, switches and masks of the network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mipin_ref.golden.material import Material, contests, pools
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages.pull_slips import last_winner
from mipin_ref.golden.stages.signatures import reordered, scaled
from mipin_ref.golden.stages.slips import forward_slips
from mipin_ref.golden.stages.stage import Deviation, Evidence, Explained, Pairs, Stage, sample_axes
from mipin_ref.golden.values import Golden
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.layers import HostArray, Layer, MaxPool, as_kind


class Forward(Stage):
    """Values in the network's own dtype; switches and masks, which must be equal."""

    name = "forward"
    given = "x; a layer may start from the golden values of its inputs, switches and masks must"
    meanings: ClassVar = {
        "value": "value of the tensor, X",
        "switch": "winning location of each window, index into the input map in C order",
        "winner": "which input won each place, the first of equals",
        "mask": "1 where the value is not zero",
    }
    exact = frozenset({"switch", "winner", "mask"})
    optional = frozenset()

    def compared(self, golden: Golden) -> Pairs:
        yield from _recorded(golden.material)

    def tensor(self, name: str, material: Material) -> str:
        return name.split("/", 2)[2]

    def axes(self, name: str, material: Material, rank: int) -> list[str]:
        return sample_axes(material, self.tensor(name, material), rank)

    def perturbed(self, golden: Golden, rounding: Rounding) -> Pairs:
        """Rounds x and all parameters, in the network's own dtype."""
        material = rounding.forward(golden.material)
        for layer in material.net.layers:
            yield f"forward/value/{layer.output}", material.values[layer.output]

    def remade(self, golden: Golden, fresh: Material, inverse: Inverse) -> Pairs:
        yield from _recorded(fresh)

    def causes(self, deviation: Deviation, evidence: Evidence) -> Explained:
        golden, tensor = deviation.golden, deviation.tensor
        if deviation.what == "switch":
            yield from _switch_causes(tensor, golden, evidence)
        elif deviation.what == "winner":
            yield from _winner_causes(tensor, golden, evidence)
        elif deviation.what == "mask":
            yield "the mask asks for X > 0 instead of X ≠ 0", lambda: evidence.value(tensor) > 0
            yield "the mask asks for X ≠ 0 instead of X > 0", lambda: evidence.value(tensor) != 0
            yield "the mask is the wrong way round", lambda: 1 - golden
        else:
            yield from reordered(golden, deviation.value)
            if evidence.network is not None:
                yield from forward_slips(evidence.layer(tensor), evidence.golden.material.values, golden)
            yield from scaled(golden, deviation.value)


def _recorded(material: Material) -> Pairs:
    for layer in material.net.layers:
        yield f"forward/value/{layer.output}", material.values[layer.output]
    for layer in pools(material.net):
        yield f"forward/switch/{layer.output}", material.switches[layer.output]
    for contest in contests(material.net.layers):
        yield f"forward/winner/{contest.output}", material.taps[contest.output].astype(np.int64)
    for step in material.plan.steps:
        if step.mask:
            yield f"forward/mask/{step.tensor}", step.fired(material.values[step.tensor]).astype(np.uint8)


def _switch_causes(tensor: str, golden: HostArray, evidence: Evidence) -> Explained:
    if evidence.network is None:
        return
    layer = evidence.layer(tensor)
    n, channels = golden.shape[:2]
    size = layer.in_shape[1:]
    start = np.arange(n * channels).reshape(n, channels, *(1,) * (golden.ndim - 2))
    area = int(np.prod(size))
    yield "the index counts over samples and channels too", lambda: golden + start * area
    yield "the index counts over channels too", lambda: golden + (start % channels) * area
    yield "the index is the kernel tap, not the location", lambda: evidence.golden.material.taps[tensor]
    yield "of equal values the last one wins instead of the first", lambda: _last_maximum(evidence.golden, layer)
    yield (
        "the index counts in Fortran order",
        lambda: np.ravel_multi_index(np.unravel_index(golden.astype(np.int64), size), size, order="F"),
    )


def _winner_causes(tensor: str, golden: HostArray, evidence: Evidence) -> Explained:
    """Inputs counted from 1 are told without the network."""
    yield "inputs are counted from 1", lambda: golden + 1
    if evidence.network is None:
        return
    layer = evidence.layer(tensor)
    yield (
        "of equal values the last one wins instead of the first",
        lambda: last_winner(layer, evidence.golden.material),
    )


def _last_maximum(golden: Golden, layer: Layer) -> HostArray:
    """The switches of a pool whose ties go to the last of equal values."""
    window, locations, size = as_kind(layer, MaxPool).window, layer.out_shape[1:], layer.in_shape[1:]
    x = golden.material.values[layer.input].astype(np.float64)
    shape = (*x.shape[:2], *window.padded(locations, size))
    canvas: Any = np.full(shape, -np.inf)
    canvas[(..., *window.crop(size))] = x
    place: Any = np.zeros(shape, np.int64)
    place[(..., *window.crop(size))] = np.arange(int(np.prod(size))).reshape(size)
    values = np.stack([canvas[(..., *window.spread(offset, locations))] for offset in window.offsets])
    places = np.stack([place[(..., *window.spread(offset, locations))] for offset in window.offsets])
    last = len(values) - 1 - np.argmax(values[::-1], axis=0)
    return np.asarray(np.take_along_axis(places, last[None], axis=0)[0])
