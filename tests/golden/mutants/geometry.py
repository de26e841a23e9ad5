"""Faults of the convolution's adjoint: its kernel, its grid, its groups."""

from __future__ import annotations

from typing import Any

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.forward import Layer
from tests.golden.mutants.mutant import Mutant


def with_window(layer: Layer, **changed: Any) -> Layer:
    return {**layer, "window": {**layer["window"], **changed}}


class AdjointElsewhere(Independent):
    """Both the design matrix and the prediction from another geometry than the layer's."""

    def other(self, layer: Layer) -> Layer:
        raise NotImplementedError

    def conv_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        return super().conv_columns(self.other(layer), group, s)

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        return super().adjoint(self.other(layer), kernel, s)


class KernelFlipped(Independent):
    """Fitted as a correlation of the signal with the kernel, applied so too."""

    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        return super().shaped(layer, block).flip(self.taps(layer))

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        return super().adjoint(layer, kernel.flip(self.taps(layer)), s)

    @staticmethod
    def taps(layer: Layer) -> tuple[int, ...]:
        return tuple(range(2, 2 + len(layer["window"]["kernel"]))) if layer["kind"] == "Conv" else ()


class KernelTransposedInSpace(Independent):
    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        shaped = super().shaped(layer, block)
        return shaped.transpose(-1, -2) if layer["kind"] == "Conv" else shaped

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        return super().adjoint(layer, kernel.transpose(-1, -2), s)


class KernelInTimesOut(Independent):
    """The kernel's channel axes exchanged, where their numbers are equal and the shape does not tell."""

    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        shaped = super().shaped(layer, block)
        return self.exchanged(shaped) if layer["kind"] == "Conv" else shaped

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        return super().adjoint(layer, self.exchanged(kernel), s)

    @staticmethod
    def exchanged(kernel: Tensor) -> Tensor:
        return kernel.transpose(0, 1) if kernel.shape[0] == kernel.shape[1] else kernel


class CropOffByOne(Independent):
    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        begin = [size + 1 for size in layer["window"]["begin"]]
        return super().adjoint(with_window(layer, begin=begin), kernel, s)


class CroppedByTheEnd(AdjointElsewhere):
    """The padding behind taken for the one in front."""

    def other(self, layer: Layer) -> Layer:
        return with_window(layer, begin=layer["window"]["end"])


class PaddingForgotten(AdjointElsewhere):
    def other(self, layer: Layer) -> Layer:
        return with_window(layer, begin=[0] * len(layer["window"]["begin"]))


class PhaseOfTheStride(AdjointElsewhere):
    def other(self, layer: Layer) -> Layer:
        window = layer["window"]
        begin = [b - (s - 1) for b, s in zip(window["begin"], window["strides"], strict=True)]
        return with_window(layer, begin=begin)

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        # A negative padding is more than a crop can tell.
        moves = [stride - 1 for stride in layer["window"]["strides"]]
        whole = Independent.adjoint(self, layer, kernel, s)
        return whole.roll(moves, tuple(range(2, whole.ndim)))


class UntouchedRowsInFront(Independent):
    """Input locations that no output touches are taken to lie at the beginning."""

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        window, shape = layer["window"], layer["in_shapes"][0][1:]
        reach = [
            (out - 1) * stride + (k - 1) * dilation + 1 - begin
            for out, stride, k, dilation, begin in zip(
                layer["out_shape"][1:],
                window["strides"],
                window["kernel"],
                window["dilations"],
                window["begin"],
                strict=True,
            )
        ]
        moves = [max(0, size - reached) for size, reached in zip(shape, reach, strict=True)]
        whole = super().adjoint(layer, kernel, s)
        return whole.roll(moves, tuple(range(2, whole.ndim)))


class DilationIgnored(AdjointElsewhere):
    def other(self, layer: Layer) -> Layer:
        return with_window(layer, dilations=[1] * len(layer["window"]["dilations"]))


class GroupsMixed(Independent):
    """Channel m taken to belong to group m mod groups."""

    def conv_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        groups = layer["groups"]
        mixed = s.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)
        return super().conv_columns(layer, group, mixed)

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        groups = layer["groups"]
        return super().adjoint(layer, kernel, s.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2))


class TheForwardWeightForTheFit(Independent):
    """The transposed forward convolution, nothing fitted."""

    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        return self.case.parameter(layer, "weight") if layer["kind"] == "Conv" else super().shaped(layer, block)


class TapsCutAtTheBorder(Independent):
    """Only the outputs whose whole window is inside the input are told to the fit."""

    def conv_columns(self, layer: Layer, group: int, s: Tensor) -> Tensor:
        inner = torch.zeros_like(s)
        begin, out = layer["window"]["begin"], s.shape[2:]
        inside = [slice(b, size - b) for b, size in zip(begin, out, strict=True)]
        inner[(..., *inside)] = s[(..., *inside)]
        return super().conv_columns(layer, group, inner)


GEOMETRY = {
    "kernel flipped": Mutant(KernelFlipped, "golden_cnn", "solve", "solve/weight/pool1/0"),
    "kernel transposed in space": Mutant(KernelTransposedInSpace, "golden_cnn", "solve", "solve/weight/pool1/0"),
    "kernel transposed, in and out channels": Mutant(
        KernelInTimesOut, "golden_residual", "solve", "solve/weight/relu2/0"
    ),
    "crop of the padding off by one": Mutant(CropOffByOne, "golden_cnn", "solve", "solve/prediction/pool1"),
    "padding at begin and end exchanged": Mutant(CroppedByTheEnd, "golden_conv_1d", "solve", "solve/weight/input/0"),
    "padding forgotten": Mutant(PaddingForgotten, "golden_cnn", "solve", "solve/weight/input/0"),
    "phase of the stride wrong": Mutant(PhaseOfTheStride, "golden_stride_pad", "solve", "solve/weight/input/0"),
    "rows that no output touches at the wrong end": Mutant(
        UntouchedRowsInFront, "golden_stride_pad", "solve", "solve/prediction/input"
    ),
    "dilation ignored": Mutant(DilationIgnored, "golden_dilation", "solve", "solve/weight/relu1/0"),
    "groups mixed": Mutant(GroupsMixed, "golden_groups", "solve", "solve/weight/input/0"),
    "forward weight for the kernel": Mutant(TheForwardWeightForTheFit, "golden_cnn", "solve", "solve/weight/pool1/0"),
    "outputs at the border left out of the fit": Mutant(
        TapsCutAtTheBorder, "golden_cnn", "solve", "solve/weight/input/0"
    ),
}
