"""The network forward: the value of every tensor, the switches of its max-pools, the masks."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tests.golden.independent.case import Case, Tensor
from tests.golden.independent.geometry import links

Layer = dict[str, Any]

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def padded(x: Tensor, begin: list[int], end: list[int], value: float = 0.0) -> Tensor:
    """x with begin and end places of the value around its last axes."""
    widths = [width for pair in zip(reversed(begin), reversed(end), strict=True) for width in pair]
    return F.pad(x, widths, value=value)


class Forward:
    def __init__(self, case: Case) -> None:
        self.case = case

    def values(self) -> dict[str, Tensor]:
        """Tensor -> X, from x alone; golden values where the case leaves a layer's parameters out."""
        values = {self.case.input: self.case.golden("x")}
        for layer in self.case.layers:
            inputs = [values[name] for name in layer["inputs"]]
            left_out = self.case.left_out(layer)
            values[layer["output"]] = self.case.value(layer["output"]) if left_out else self.compute(layer, inputs)
        return values

    def compute(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        match layer["kind"]:
            case "Dense":
                return inputs[0] @ self.case.parameter(layer, "weight") + self.case.parameter(layer, "bias")
            case "Conv":
                return self.conv(layer, inputs[0])
            case "MaxPool":
                return self.max_pool(layer, inputs[0])[0]
            case "AveragePool":
                return self.average_pool(layer, inputs[0])
            case "GlobalAveragePool":
                return inputs[0].mean(dim=tuple(range(2, inputs[0].ndim)), keepdim=True)
            case "Affine":
                return inputs[0] * self.case.parameter(layer, "scale") + self.case.parameter(layer, "shift")
            case "Activation":
                return self.activation(layer, inputs[0])
            case "Add":
                return sum(inputs)
            case "Concat":
                return torch.cat(inputs, dim=layer["axis"])
            case "Slice":
                return inputs[0][(slice(None), *map(slice, layer["begin"], layer["end"]))]
            case "Pad":
                return padded(inputs[0], layer["begin"], layer["end"], float(layer["value"]))
            case "Reshape":
                return inputs[0].reshape(-1, *layer["out_shape"])
            case "Transpose":
                return inputs[0].permute(layer["perm"])
        raise NotImplementedError(layer["kind"])

    def conv(self, layer: Layer, x: Tensor) -> Tensor:
        window = layer["window"]
        return CONVOLUTIONS[x.ndim - 2](
            padded(x, window["begin"], window["end"]),
            self.case.parameter(layer, "weight"),
            self.case.parameter(layer, "bias"),
            stride=window["strides"],
            dilation=window["dilations"],
            groups=layer["groups"],
        )

    def max_pool(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        """(largest value, its flat index into the input map), both [n, C, *map]."""
        in_map, out_map = layer["in_shapes"][0][1:], layer["out_shape"][1:]
        best = torch.full((*x.shape[:2], *out_map), -torch.inf, dtype=x.dtype)
        switch = torch.zeros(best.shape, dtype=torch.int64)
        index = torch.arange(prod(in_map)).reshape(in_map).expand(x.shape)
        for _, outputs, inputs in links(layer["window"], in_map, out_map):
            place, here = (..., *outputs), (..., *inputs)
            wins = self.wins(x[here], best[place])
            best[place] = torch.where(wins, x[here], best[place])
            switch[place] = torch.where(wins, index[here], switch[place])
        return best, switch

    def wins(self, value: Tensor, best: Tensor) -> Tensor:
        """Taps come in C order: of equal values the first stays."""
        return value > best

    def average_pool(self, layer: Layer, x: Tensor) -> Tensor:
        out_map = layer["out_shape"][1:]
        total = torch.zeros((*x.shape[:2], *out_map), dtype=x.dtype)
        for _, outputs, inputs in links(layer["window"], layer["in_shapes"][0][1:], out_map):
            total[(..., *outputs)] += x[(..., *inputs)]
        return total / self.divisor(layer).to(x.dtype)

    def divisor(self, layer: Layer) -> Tensor:
        """How many locations each window counts [*out map]: declared padding too where the layer says so."""
        window, in_map, out_map = layer["window"], layer["in_shapes"][0][1:], layer["out_shape"][1:]
        if layer["count_include_pad"]:
            in_map = [size + a + b for size, a, b in zip(in_map, window["begin"], window["end"], strict=True)]
            window = {**window, "begin": [0] * len(in_map)}
        count = torch.zeros(out_map)
        for _, outputs, _ in links(window, in_map, out_map):
            count[outputs] += 1
        return count

    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        options = layer["options"]
        match layer["function"]:
            case "Relu":
                return F.relu(x)
            case "LeakyRelu":
                return F.leaky_relu(x, options.get("alpha", 0.01))
            case "PRelu":
                return torch.where(x < 0, x * self.case.parameter(layer, "slope"), x)
            case "Clip":
                return x.clamp(float(options.get("min", "-inf")), float(options.get("max", "inf")))
            case "Sigmoid":
                return torch.sigmoid(x)
            case "Tanh":
                return torch.tanh(x)
            case "Elu":
                return F.elu(x, options.get("alpha", 1.0))
            case "Softplus":
                return torch.log1p(torch.exp(-x.abs())) + F.relu(x)
            case "HardSwish":
                return F.hardswish(x)
        raise NotImplementedError(layer["function"])

    def switches(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Output of each max-pool -> the locations that its windows chose."""
        pools = [layer for layer in self.case.layers if layer["kind"] == "MaxPool"]
        return {layer["output"]: self.max_pool(layer, values[layer["inputs"][0]])[1] for layer in pools}

    def mask(self, x: Tensor, step: Layer) -> Tensor:
        """Where a signal is kept (Eq. 9)."""
        return x > 0 if step.get("positive", False) else x != 0
