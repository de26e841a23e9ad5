"""Signals back through one layer: the ops without weights, and the adjoint convolution."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tests.golden.independent.axes import along, back, copies_mean, matrices
from tests.golden.independent.case import Tensor
from tests.golden.independent.forward import CONVOLUTIONS, Forward, Layer, padded
from tests.golden.independent.geometry import links
from tests.golden.independent.normalised import restored
from tests.golden.independent.recurrent import Recurrent

TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Pull(Forward, Recurrent):
    def branch_signal(self, branch: dict[str, Any], signals: dict[str, Tensor], switches: dict[str, Tensor]) -> Tensor:
        """P [n, *in shape]: what comes back by one branch of ops without weights of their own.

        switches: what was recorded by the output of a layer: switches, winners, values of gates, divisors.
        """
        layers = [self.case.layers[number] for number in branch["layers"]]
        parts = [self.pull(one, branch["slot"], signals[one["output"]], switches) for one in layers]
        return sum(parts[1:], parts[0])

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: dict[str, Tensor]) -> Tensor:
        shape = layer["in_shapes"][slot]
        match layer["kind"]:
            case "MaxPool":
                return self.unpool(layer, s, switches[layer["output"]])
            case "AveragePool":
                return self.spread(layer, s)
            case "GlobalAveragePool":
                return s.expand(-1, *shape)
            case "Reduce":
                return s.expand(-1, *shape)
            case "Norm" if layer["output"] in switches:
                return restored(layer, s, switches[layer["output"]])
            case "Activation" | "Affine" | "Norm" | "ResponseNorm":
                return s
            case "Add":
                return copies_mean(s, shape)
            case "Difference":
                return copies_mean(-s if slot else s, shape)
            case "Negative":
                return -s
            case "Gate":
                return copies_mean(self.through_gate(layer, s, switches[layer["output"]]), shape)
            case "LSTM" | "GRU":
                return self.recurrent_back(layer, s, switches[layer["output"]])
            case "Attention":
                return copies_mean(self.through_attention(layer, s, switches[layer["output"]]), shape)
            case "Extremum":
                return s * (switches[layer["output"]] == slot)
            case "Resize" | "Gather":
                return self.gathered_back(layer, s)
            case "Where":
                mask = torch.tensor(layer["mask"]).bool()
                return s * (mask if slot == 0 else ~mask)
            case "Concat":
                return self.slice_of(layer, slot, s)
            case "Slice":
                back = torch.zeros((len(s), *shape), dtype=s.dtype)
                back[(slice(None), *map(slice, layer["begin"], layer["end"]))] = s
                return back
            case "Pad":
                inside = [slice(a, a + size) for a, size in zip(layer["begin"], shape, strict=True)]
                return s[(slice(None), *inside)]
            case "Reshape":
                return s.reshape(-1, *shape)
            case "Transpose":
                perm = layer["perm"]
                return s.permute([perm.index(axis) for axis in range(len(perm))])
        raise NotImplementedError(layer["kind"])

    def through_attention(self, layer: Layer, s: Tensor, weights: Tensor) -> Tensor:
        return self.mixed(layer, s, weights.transpose(-1, -2))

    def through_gate(self, layer: Layer, s: Tensor, gate: Tensor) -> Tensor:
        return s * gate if layer["function"] == "Mul" else s / gate

    def gathered_back(self, layer: Layer, s: Tensor) -> Tensor:
        for axis, matrix in matrices(layer).items():
            s = along(s, axis, back(matrix))
        return s

    def slice_of(self, layer: Layer, slot: int, s: Tensor) -> Tensor:
        axis = layer["axis"]
        sizes = [shape[axis - 1] for shape in layer["in_shapes"]]
        return s.narrow(axis, sum(sizes[:slot]), sizes[slot])

    def unpool(self, layer: Layer, s: Tensor, switch: Tensor) -> Tensor:
        """Each value at its window's switch; the mean where windows chose one location."""
        flat, index = s.flatten(2), switch.flatten(2)
        total = torch.zeros((len(s), *layer["in_shapes"][0]), dtype=s.dtype)
        flat_total = total.flatten(2).scatter_add(2, index, flat)
        count = torch.zeros_like(flat_total).scatter_add(2, index, torch.ones_like(flat))
        return self.shared(flat_total, count).reshape(total.shape)

    def spread(self, layer: Layer, s: Tensor) -> Tensor:
        """Each location takes the mean of the values of the windows that cover it."""
        total = torch.zeros((len(s), *layer["in_shapes"][0]), dtype=s.dtype)
        count = torch.zeros_like(total)
        for _, outputs, inputs in links(layer["window"], layer["in_shapes"][0][1:], layer["out_shape"][1:]):
            total[(..., *inputs)] += s[(..., *outputs)]
            count[(..., *inputs)] += 1
        return self.shared(total, count)

    def shared(self, total: Tensor, count: Tensor) -> Tensor:
        """The mean of count values that add up to total; 0 of none."""
        return total / count.clamp(min=1)

    def read_again(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        """The convolution whose adjoint a ConvTranspose is, with another kernel, on the grid of the layer's input."""
        window, in_map = layer["window"], layer["in_shapes"][0][1:]
        whole = CONVOLUTIONS[s.ndim - 2](
            padded(s, window["begin"], window["end"]),
            kernel,
            stride=window["strides"],
            dilation=window["dilations"],
            groups=layer["groups"],
        )
        return whole[(..., *(slice(0, size) for size in in_map))]

    def adjoint(self, layer: Layer, kernel: Tensor, s: Tensor) -> Tensor:
        """The adjoint of the layer's convolution with another kernel [out, in / groups, *taps], on the input's grid."""
        window, in_map = layer["window"], layer["in_shapes"][0][1:]
        strides, dilations = window["strides"], window["dilations"]
        whole = TRANSPOSED[s.ndim - 2](s, kernel, stride=strides, dilation=dilations, groups=layer["groups"])
        # The whole result starts `begin` before the input and may end on either side of its end.
        behind = [
            max(0, begin + size - length)
            for begin, size, length in zip(window["begin"], in_map, whole.shape[2:], strict=True)
        ]
        whole = F.pad(whole, [width for size in reversed(behind) for width in (0, size)])
        inside = [slice(begin, begin + size) for begin, size in zip(window["begin"], in_map, strict=True)]
        return whole[(..., *inside)]
