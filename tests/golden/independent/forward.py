"""The network forward: the value of every tensor, the switches of its max-pools, the masks."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from tests.golden.independent.axes import along, matrices
from tests.golden.independent.case import Case, Tensor
from tests.golden.independent.functions import FUNCTIONS, written_out
from tests.golden.independent.geometry import links
from tests.golden.independent.normalised import divided, normalised, response
from tests.golden.independent.recurrent import Steps

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
        """Tensor -> X, from what is given alone; golden values where the case leaves a layer's parameters out."""
        values = {name: self.case.value(name) for name in self.case.starts}
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
            case "ConvTranspose":
                return self.conv_transpose(layer, inputs[0])
            case "Norm":
                made = normalised(layer, inputs[0])
                return made * self.case.parameter(layer, "scale") + self.case.parameter(layer, "shift")
            case "ResponseNorm":
                return response(layer["options"], inputs[0])
            case "Reduce":
                return self.reduced(layer, inputs[0])
            case "TokenDense":
                return self.token_dense(layer, inputs[0])
            case "LSTM" | "GRU":
                return self.steps_of(layer, inputs).made()
            case "Gate":
                return self.gated(layer, *inputs)
            case "Attention":
                return self.attended(layer, *inputs)
            case "SoftmaxWeights":
                return inputs[0].softmax(layer["axis"])
            case "Scores":
                return inputs[0] @ inputs[1]
            case "Extremum":
                return self.extremum(layer, inputs)[0]
            case "Difference":
                return inputs[0] - inputs[1]
            case "Negative":
                return -inputs[0]
            case "Resize" | "Gather":
                return self.resampled(layer, inputs[0])
            case "Where":
                return self.chosen(layer, inputs)
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
        if layer["function"] == "PRelu":
            return torch.where(x < 0, x * self.case.parameter(layer, "slope"), x)
        if layer["function"] == "Formula":
            return written_out(x, layer["steps"])
        return FUNCTIONS[layer["function"]](x, layer["options"])

    def conv_transpose(self, layer: Layer, x: Tensor) -> Tensor:
        """Each input location adds its weights to the output locations of its window."""
        window, weight, groups = layer["window"], self.case.parameter(layer, "weight").flatten(2), layer["groups"]
        in_map, out_map = layer["in_shapes"][0][1:], layer["out_shape"][1:]
        grouped, by_group = x.unflatten(1, (groups, -1)), weight.unflatten(0, (groups, -1))
        made = torch.zeros((len(x), groups, weight.shape[1], *out_map), dtype=x.dtype)
        for tap, there, here in links(window, out_map, in_map):
            part = grouped[(..., *there)]
            made[(..., *here)] += torch.einsum("ngm...,gmo->ngo...", part, by_group[..., tap])
        return made.flatten(1, 2) + self.case.parameter(layer, "bias").reshape(-1, *[1] * len(out_map))

    def gated(self, layer: Layer, content: Tensor, gate: Tensor) -> Tensor:
        return content * gate if layer["function"] == "Mul" else content / gate

    def attended(self, layer: Layer, content: Tensor, weights: Tensor) -> Tensor:
        """Of each head P V, side by side."""
        return self.mixed(layer, content, weights)

    def mixed(self, layer: Layer, content: Tensor, weights: Tensor) -> Tensor:
        """A mixture of each head's features along the last axis but one."""
        parts = content.unflatten(-1, (layer["heads"], -1))
        return torch.einsum("...hqk,...khd->...qhd", weights, parts).flatten(-2)

    def extremum(self, layer: Layer, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(largest or smallest value, the number of the input that it comes from)."""
        best, winner = inputs[0], torch.zeros(inputs[0].shape, dtype=torch.int64)
        for number, other in enumerate(inputs[1:], 1):
            wins = self.wins(other, best) if layer["function"] == "Max" else self.wins(-other, -best)
            best, winner = torch.where(wins, other, best), torch.where(wins, number, winner)
        return best, winner

    def reduced(self, layer: Layer, x: Tensor) -> Tensor:
        return (x.sum if layer["total"] else x.mean)(dim=layer["over"], keepdim=True)

    def resampled(self, layer: Layer, x: Tensor) -> Tensor:
        """What a Resize or a Gather reads."""
        for axis, matrix in matrices(layer).items():
            x = along(x, axis, matrix)
        return x

    def token_dense(self, layer: Layer, x: Tensor) -> Tensor:
        made = x.movedim(layer["axis"], -1) @ self.case.parameter(layer, "weight") + self.case.parameter(layer, "bias")
        return made.movedim(-1, layer["axis"])

    def steps_of(self, layer: Layer, inputs: list[Tensor]) -> Steps:
        """An LSTM or a GRU with its parameters."""
        return Steps(layer, {name: self.case.parameter(layer, name) for name in layer["parameters"]}, inputs)

    def chosen(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        """What a Where keeps."""
        other = inputs[1] if len(inputs) > 1 else torch.tensor(layer["fill"], dtype=inputs[0].dtype)
        return torch.where(torch.tensor(layer["mask"]).bool(), inputs[0], other)

    def switches(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Output of each max-pool -> the locations that its windows chose."""
        pools = [layer for layer in self.case.layers if layer["kind"] == "MaxPool"]
        return {layer["output"]: self.max_pool(layer, values[layer["inputs"][0]])[1] for layer in pools}

    def winners(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Output of each Extremum -> the number of the input that won each place."""
        contests = [layer for layer in self.case.layers if layer["kind"] == "Extremum"]
        given = {layer["output"]: [values[name] for name in layer["inputs"]] for layer in contests}
        return {layer["output"]: self.extremum(layer, given[layer["output"]])[1] for layer in contests}

    def gates(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Output of each Gate or Attention -> the value of its second input."""
        kinds = ("Gate", "Attention")
        return {layer["output"]: values[layer["inputs"][1]] for layer in self.case.layers if layer["kind"] in kinds}

    def gates_of_steps(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Output of each LSTM and GRU -> its gates [n, gates, T, D·H]."""
        return {
            layer["output"]: self.steps_of(layer, [values[name] for name in layer["inputs"]]).gates(
                values[layer["output"]]
            )
            for layer in self.case.layers
            if layer["kind"] in ("LSTM", "GRU")
        }

    def divisors(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Output of each Norm -> what it divides by [n, *split], where the option `norm` has it multiply signals."""
        norms = [layer for layer in self.case.layers if layer["kind"] == "Norm"]
        if self.case.options.get("norm") != "sigma":
            return {}
        return {layer["output"]: divided(layer, values[layer["inputs"][0]])[1] for layer in norms}

    def mask(self, x: Tensor, step: Layer) -> Tensor:
        """Where a signal is kept (Eq. 9)."""
        return x > 0 if step.get("positive", False) else x != 0
