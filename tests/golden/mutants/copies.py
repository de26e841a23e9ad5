"""Faults of transposed convolutions, resizing and picks."""

from __future__ import annotations

from typing import Any

import torch

from tests.golden.independent import Independent
from tests.golden.independent.axes import along, back, matrices
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals
from tests.golden.independent.forward import Layer
from tests.golden.mutants.mutant import Mutant
from tests.golden.mutants.passes import TransposedAgain


class TransposedFlipped(Independent):
    """The kernel of a transposed convolution flipped in space, in the fit and in the prediction."""

    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        shaped = super().shaped(layer, block)
        return shaped.flip(tuple(range(2, shaped.ndim))) if layer["kind"] == "ConvTranspose" else shaped

    def read_again(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        return super().read_again(layer, kernel.flip(tuple(range(2, kernel.ndim))), s)


class TransposedFlippedForward(Independent):
    def conv_transpose(self, layer: Layer, x: Tensor) -> Tensor:
        name = layer["parameters"]["weight"]
        kept = self.case.arrays[name]
        self.case.arrays[name] = kept.flip(tuple(range(2, kept.ndim)))
        made = super().conv_transpose(layer, x)
        self.case.arrays[name] = kept
        return made


class TransposedByItself(Independent):
    """Inverted by another transposed convolution of the signal, as if it were a Conv of stride 1."""

    def read_again(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        right = super().read_again(layer, kernel, s)
        return right.flip(tuple(range(2, right.ndim)))


class TransposedGroupsMixed(Independent):
    def transposed_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        mixed = s.unflatten(1, (-1, layer["groups"])).transpose(1, 2).flatten(1, 2)
        return super().transposed_columns(layer, group, mixed)

    def read_again(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        return super().read_again(layer, kernel, s.unflatten(1, (-1, layer["groups"])).transpose(1, 2).flatten(1, 2))


class TransposedStrideIgnored(Independent):
    """Padding of the output taken for none."""

    def other(self, layer: Layer) -> Layer:
        window = layer["window"]
        return {**layer, "window": {**window, "begin": [0] * len(window["begin"])}}

    def transposed_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        return super().transposed_columns(self.other(layer), group, s)


class OtherCoordinates(Independent):
    """half_pixel for every coordinate transformation."""

    def resampled(self, layer: Layer, x: Tensor) -> Tensor:
        return super().resampled({**layer, "coordinates": "half_pixel"} if layer["kind"] == "Resize" else layer, x)


class ScalesFromSizes(Independent):
    """The quotients of the sizes where the file states scales."""

    def resampled(self, layer: Layer, x: Tensor) -> Tensor:
        return super().resampled({**layer, "scales": None} if layer["kind"] == "Resize" else layer, x)


class ResizeTransposed(Independent):
    """The forward weights as they are, not their mean."""

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        if layer["kind"] != "Resize":
            return super().gathered_back(layer, s)
        for axis, matrix in matrices(layer).items():
            s = along(s, axis, matrix.T)
        return s


class ResizeUnweighted(Independent):
    """The plain mean of what a location was spread to."""

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        if layer["kind"] != "Resize":
            return super().gathered_back(layer, s)
        for axis, matrix in matrices(layer).items():
            s = along(s, axis, back((matrix > 0).to(matrix.dtype)))
        return s


class ResizeNearestBack(Independent):
    """Each location takes the signal at the nearest one alone."""

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        if layer["kind"] != "Resize":
            return super().gathered_back(layer, s)
        for axis, matrix in matrices(layer).items():
            s = along(s, axis, torch.eye(len(matrix), dtype=matrix.dtype)[matrix.argmax(dim=0)])
        return s


class RoundedToTheNearest(Independent):
    """The default rounding for every other."""

    def resampled(self, layer: Layer, x: Tensor) -> Tensor:
        rounding = {"rounding": "round_prefer_floor"} if layer["kind"] == "Resize" else {}
        return super().resampled({**layer, **rounding}, x)


class BorderCroppedOff(Independent):
    """The signals in a mirrored or repeated border are lost, as behind a border of zeros."""

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        begins = {"mirrored": [0, 0, 0], "tiled": [0, 1, 0]}.get(layer["output"])
        if begins is None:
            return super().gathered_back(layer, s)
        sizes = zip(begins, layer["in_shapes"][0], strict=True)
        return s[(slice(None), *(slice(begin, begin + size) for begin, size in sizes))]


class BlocksExchanged(Independent):
    """Depth to space undone with the rows of its blocks for the columns."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return pulled.transpose(2, 3) if layer["kind"] == "Transpose" and layer["output"] == "deep:turned" else pulled


class CopiesAdded(Independent):
    """The sum of the signals at the copies, as a gradient is."""

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        if layer["kind"] != "Gather":
            return super().gathered_back(layer, s)
        for axis, matrix in matrices(layer).items():
            s = along(s, axis, matrix.T)
        return s


class LastCopyAlone(Independent):
    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        if layer["kind"] != "Gather":
            return super().gathered_back(layer, s)
        for axis, matrix in matrices(layer).items():
            last = torch.zeros_like(matrix)
            for place, read in enumerate(matrix.argmax(dim=1)):
                last[:, read] = 0
                last[place, read] = 1
            s = along(s, axis, last.T)
        return s


class PicksInOrder(Independent):
    """The entries of a Gather put back in their order, whatever order they were picked in."""

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        if layer["kind"] == "Gather":
            layer = {**layer, "picks": [None if pick is None else sorted(pick) for pick in layer["picks"]]}
        return super().gathered_back(layer, s)


class WherePassed(Independent):
    """The signal passes where the mask is not set too."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        return s if layer["kind"] == "Where" else super().pull(layer, slot, s, switches)


class WhereInverted(Independent):
    def chosen(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        turned: list[Any] = (1 - torch.tensor(layer["mask"])).tolist()
        return super().chosen({**layer, "mask": turned}, inputs)


class InputMaskedBehindMoves(Independent):
    """A tensor that is the input in another shape taken for an inner one."""

    def is_explained(self, name: str) -> bool:
        return bool(name == self.case.explained)


COPIES = {
    "kernel of a transposed convolution flipped": Mutant(
        TransposedFlipped, "golden_transposed", "solve", "solve/weight/relu3/0", cause="the kernel is flipped in space"
    ),
    "transposed convolution flipped forward": Mutant(
        TransposedFlippedForward,
        "golden_transposed",
        "forward",
        "forward/value/up",
        cause="the kernel is flipped in space",
    ),
    "transposed convolution inverted from the wrong end": Mutant(
        TransposedByItself, "golden_transposed", "solve", "solve/prediction/relu3"
    ),
    "groups of a transposed convolution mixed": Mutant(
        TransposedGroupsMixed, "golden_transposed", "solve", "solve/weight/relu2/0"
    ),
    "padding of a transposed convolution forgotten": Mutant(
        TransposedStrideIgnored, "golden_transposed", "solve", "solve/weight/relu3/0"
    ),
    "coordinates always half_pixel": Mutant(
        OtherCoordinates,
        "golden_resize",
        "forward",
        "forward/value/aligned",
        cause="coordinates are half_pixel, not align_corners",
    ),
    "scales from sizes": Mutant(
        ScalesFromSizes,
        "golden_resize",
        "forward",
        "forward/value/linear",
        cause="scales are the quotients of the sizes, not those that are stated",
    ),
    "resizing transposed": Mutant(
        ResizeTransposed,
        "golden_resize",
        "solve",
        "solve/weight/relu3/0",
        cause="the weights of the forward op are taken as they are, not their mean",
    ),
    "resizing's mean without its weights": Mutant(ResizeUnweighted, "golden_resize", "solve", "solve/weight/relu2/0"),
    "resizing back by the nearest": Mutant(ResizeNearestBack, "golden_resize", "solve", "solve/weight/relu3/0"),
    "nearest of another rounding": Mutant(
        RoundedToTheNearest,
        "golden_resize",
        "forward",
        "forward/value/nearest",
        cause="the nearest location is that of round_prefer_floor, not floor",
    ),
    "mirrored border cropped off": Mutant(BorderCroppedOff, "golden_picks", "propagate", "propagate/S/relu2"),
    "rows and columns of a block exchanged": Mutant(
        BlocksExchanged, "golden_picks", "propagate", "propagate/S/deep:split"
    ),
    "space to depth turned again": Mutant(TransposedAgain, "golden_resize", "propagate", "propagate/S/shallow:split"),
    "copies added": Mutant(
        CopiesAdded,
        "golden_picks",
        "propagate",
        "propagate/S/mean",
        cause="copies of one value are added, not averaged",
    ),
    "last copy alone": Mutant(LastCopyAlone, "golden_picks", "propagate", "propagate/S/mean"),
    "picks put back in their order": Mutant(PicksInOrder, "golden_picks", "propagate", "propagate/S/relu2"),
    "signal where a constant stands": Mutant(WherePassed, "golden_picks", "propagate", "propagate/S/spread"),
    "constant mask inverted": Mutant(
        WhereInverted, "golden_picks", "forward", "forward/value/masked", cause="the mask is the wrong way round"
    ),
    "input masked behind moves": Mutant(
        InputMaskedBehindMoves,
        "golden_resize",
        "propagate",
        "propagate/S/shallow",
        cause="a mask is applied where the method has none",
    ),
}
