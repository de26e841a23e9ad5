"""Faults of the forward pass, its switches and masks."""

from __future__ import annotations

from math import prod

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.forward import Layer
from tests.golden.independent.geometry import links
from tests.golden.mutants.mutant import Mutant


class TrueConvolution(Independent):
    def conv(self, layer: Layer, x: Tensor) -> Tensor:
        name = layer["parameters"]["weight"]
        kept = self.case.arrays[name]
        self.case.arrays[name] = kept.flip(tuple(range(2, kept.ndim)))
        product = super().conv(layer, x)
        self.case.arrays[name] = kept
        return product


class PaddingEndsSwapped(Independent):
    def conv(self, layer: Layer, x: Tensor) -> Tensor:
        window = layer["window"]
        return super().conv({**layer, "window": {**window, "begin": window["end"], "end": window["begin"]}}, x)


class SlopeOfLeakyReluIgnored(Independent):
    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        return super().activation({**layer, "options": {}} if layer["function"] == "LeakyRelu" else layer, x)


class TiesToTheLast(Independent):
    def wins(self, value: Tensor, best: Tensor) -> Tensor:
        return value >= best


class CeilWindowLost(Independent):
    def max_pool(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        best, switch = super().max_pool(layer, x)
        if layer["ceil_mode"]:
            best[..., -1, :] = 0.0
            switch[..., -1, :] = 0
        return best, switch


class PaddingWins(Independent):
    """Zeros around the map take part in the maximum."""

    def max_pool(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        best, switch = super().max_pool(layer, x)
        whole = self.divisor({**layer, "count_include_pad": False}) == torch.tensor(layer["window"]["kernel"]).prod()
        return torch.where(whole, best, best.clamp(min=0)), switch


class PoolDilationIgnored(Independent):
    def max_pool(self, layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().max_pool({**layer, "window": {**layer["window"], "dilations": [1] * (x.ndim - 2)}}, x)


class SwitchOverTheBatch(Independent):
    """ONNX's own Indices count through samples and channels."""

    def switches(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        chosen = super().switches(values)
        for layer in self.case.layers:
            if layer["kind"] == "MaxPool":
                size = values[layer["inputs"][0]][0, 0].numel()
                switch = chosen[layer["output"]]
                planes = torch.arange(switch.shape[0] * switch.shape[1]).reshape(
                    *switch.shape[:2], *[1] * (switch.ndim - 2)
                )
                chosen[layer["output"]] = switch + size * planes
        return chosen

    def end(self) -> dict[str, Tensor]:
        # Its own pull-back would subtract what was added.
        return Independent(self.case).end()


class SwitchWithinTheWindow(Independent):
    """The tap, not the location in the map."""

    def forward(self) -> dict[str, Tensor]:
        arrays = super().forward()
        for layer in self.case.layers:
            if layer["kind"] == "MaxPool":
                x = self.case.value(layer["inputs"][0])
                best = self.max_pool(layer, x)[0]
                tap = torch.zeros(best.shape, dtype=torch.int64)
                for number, outputs, inputs in links(layer["window"], list(x.shape[2:]), list(best.shape[2:])):
                    place = (..., *outputs)
                    tap[place] = torch.where(x[(..., *inputs)] == best[place], number, tap[place])
                arrays[f"forward/switch/{layer['output']}"] = tap
        return arrays


class DeclaredPaddingNotCounted(Independent):
    def divisor(self, layer: Layer) -> Tensor:
        return super().divisor({**layer, "count_include_pad": False})


class PaddingAlwaysCounted(Independent):
    def divisor(self, layer: Layer) -> Tensor:
        return super().divisor({**layer, "count_include_pad": True})


class CeilCounted(Independent):
    """A mean over the whole kernel wherever the declared padding counts."""

    def divisor(self, layer: Layer) -> Tensor:
        count = super().divisor(layer)
        return torch.full_like(count, prod(layer["window"]["kernel"])) if layer["count_include_pad"] else count


class SlopeOfPReluIgnored(Independent):
    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        return super().activation({**layer, "function": "Relu"} if layer["function"] == "PRelu" else layer, x)


class AlphaOfEluIgnored(Independent):
    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        return super().activation({**layer, "options": {}} if layer["function"] == "Elu" else layer, x)


class UpperBoundOfClipIgnored(Independent):
    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        options = {"min": layer["options"].get("min", "-inf")}
        return super().activation({**layer, "options": options} if layer["function"] == "Clip" else layer, x)


class MaskWherePositive(Independent):
    def mask(self, x: Tensor, step: Layer) -> Tensor:
        return x > 0


class MaskBelowATolerance(Independent):
    def mask(self, x: Tensor, step: Layer) -> Tensor:
        return x.abs() > 1e-2


FORWARD = {
    "true convolution in place of cross-correlation": Mutant(
        TrueConvolution, "golden_cnn", "forward", "forward/value/conv1"
    ),
    "paddings at begin and end swapped": Mutant(PaddingEndsSwapped, "golden_conv_1d", "forward", "forward/value/conv1"),
    "slope of LeakyRelu ignored": Mutant(
        SlopeOfLeakyReluIgnored, "golden_activations", "forward", "forward/value/leaky"
    ),
    "ties to the last of a window": Mutant(TiesToTheLast, "golden_pool_ties", "forward", "forward/switch/pool1"),
    "last window of ceil_mode lost": Mutant(CeilWindowLost, "golden_pool_overlap", "forward", "forward/value/pool1"),
    "padding takes part in the maximum": Mutant(PaddingWins, "golden_pool_signed", "forward", "forward/value/pool1"),
    "dilation of a pool ignored": Mutant(PoolDilationIgnored, "golden_pool_signed", "forward", "forward/value/pool1"),
    "what ceil_mode adds is counted": Mutant(CeilCounted, "golden_mean_ceil", "forward", "forward/value/mean1"),
    "slope of PRelu ignored": Mutant(SlopeOfPReluIgnored, "golden_prelu", "forward", "forward/value/prelu"),
    "alpha of Elu ignored": Mutant(AlphaOfEluIgnored, "golden_prelu", "forward", "forward/value/elu"),
    "upper bound of Clip ignored": Mutant(
        UpperBoundOfClipIgnored, "golden_activations", "forward", "forward/value/clip"
    ),
    "switches count through the batch": Mutant(SwitchOverTheBatch, "golden_cnn", "forward", "forward/switch/pool1"),
    "switches count within the window": Mutant(SwitchWithinTheWindow, "golden_cnn", "forward", "forward/switch/pool1"),
    "declared padding not counted in a mean": Mutant(
        DeclaredPaddingNotCounted, "golden_average_pool", "forward", "forward/value/mean1"
    ),
    "padding always counted in a mean": Mutant(PaddingAlwaysCounted, "golden_concat", "forward", "forward/value/mean"),
    "mask where X > 0": Mutant(MaskWherePositive, "golden_residual", "forward", "forward/mask/conv3"),
    "mask where |X| > 0.01": Mutant(MaskBelowATolerance, "golden_cnn", "forward", "forward/mask/relu3"),
}
