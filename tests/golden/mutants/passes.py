"""Faults of the passes of S and A: where they start, the masks, the ops that signals pass through."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.independent.forward import Layer
from tests.golden.mutants.mutant import Mutant


class NoMask(Independent):
    def is_masked(self, name: str) -> bool:
        return False


class MaskForgottenBehindThePool(Independent):
    def is_masked(self, name: str) -> bool:
        return name != "pool1" and super().is_masked(name)


class MaskOnSourceOnly(Independent):
    def descend(
        self,
        step: Step,
        weights: Weights | None,
        values: Signals,
        switches: Signals,
        sources: Signals,
        attributions: Signals,
    ) -> None:
        super().descend(step, weights, values, switches, sources, attributions)
        unmasked = NoMask(self.case)
        if weights is not None:
            attribution = unmasked.predict(step, self.linear(weights), attributions, switches)
            attributions[step["tensor"]] = attribution


class MaskThoughGlobal(Independent):
    def is_masked(self, name: str) -> bool:
        return not self.is_explained(name)


class InputMasked(Independent):
    def is_masked(self, name: str) -> bool:
        return True


class InputMaskIgnored(Independent):
    """Only the rule of the default."""

    def is_masked(self, name: str) -> bool:
        return not self.is_explained(name) or self.case.options["at"] is not None


class InnerTensorNotMasked(Independent):
    """The rule for the input taken for every explained tensor."""

    def is_masked(self, name: str) -> bool:
        return not self.is_explained(name)


class AttributionWithIntercept(Independent):
    def linear(self, weights: Weights) -> Weights:
        return weights


class AttributionFromOne(Independent):
    def first_attribution(self, top: Tensor) -> Tensor:
        return (top != 0).to(top.dtype)


class AllLogits(Independent):
    def start(self, values: Signals) -> tuple[Signals, Signals]:
        logits = values[self.case.logits]
        return {self.case.logits: logits}, {self.case.logits: logits}


class PredictedClass(Independent):
    """Each sample explained for the class that it was given."""

    def start(self, values: Signals) -> tuple[Signals, Signals]:
        logits = values[self.case.logits]
        top = logits * torch.nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)
        return {self.case.logits: top}, {self.case.logits: top}


class ProbabilityForLogit(Independent):
    def start(self, values: Signals) -> tuple[Signals, Signals]:
        return super().start({**values, self.case.logits: torch.softmax(values[self.case.logits], dim=1)})


class OverlapSummed(Independent):
    def unpool(self, layer: Layer, s: Tensor, switch: Tensor) -> Tensor:
        flat = torch.zeros((len(s), *layer["in_shapes"][0]), dtype=s.dtype)
        return flat.flatten(2).scatter_add(2, switch.flatten(2), s.flatten(2)).reshape(flat.shape)


class OverlapOverwritten(Independent):
    def unpool(self, layer: Layer, s: Tensor, switch: Tensor) -> Tensor:
        flat = torch.zeros((len(s), *layer["in_shapes"][0]), dtype=s.dtype).flatten(2)
        for place in range(s.flatten(2).shape[2]):
            flat.scatter_(2, switch.flatten(2)[..., place, None], s.flatten(2)[..., place, None])
        return flat.reshape(len(s), *layer["in_shapes"][0])


class UnpooledToTheCorner(Independent):
    """No switches: each value at the first location of its window."""

    def unpool(self, layer: Layer, s: Tensor, switch: Tensor) -> Tensor:
        back = torch.zeros((len(s), *layer["in_shapes"][0]), dtype=s.dtype)
        steps = layer["window"]["strides"]
        places = tuple(slice(0, size * step, step) for size, step in zip(layer["out_shape"][1:], steps, strict=True))
        back[(..., *places)] = s
        return back


class FlattenChannelsLast(Independent):
    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        shape = layer["in_shapes"][slot]
        if layer["kind"] != "Reshape" or len(shape) == 1:
            return super().pull(layer, slot, s, switches)
        return s.reshape(-1, *shape[1:], shape[0]).movedim(-1, 1)


class TransposedAgain(Independent):
    """Back by the same permutation, which undoes only those of order two."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        if layer["kind"] == "Transpose":
            return s.permute(layer["perm"])
        return super().pull(layer, slot, s, switches)


class PadCroppedAtTheWrongEnd(Independent):
    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        swapped = {**layer, "begin": layer["end"], "end": layer["begin"]} if layer["kind"] == "Pad" else layer
        return super().pull(swapped, slot, s, switches)


class SlicePutBackInFront(Independent):
    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        if layer["kind"] == "Slice":
            size = [b - a for a, b in zip(layer["begin"], layer["end"], strict=True)]
            layer = {**layer, "begin": [0] * len(size), "end": size}
        return super().pull(layer, slot, s, switches)


class ActivationDifferentiated(Independent):
    """A negative signal stopped at a ReLU, as guided backpropagation does."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return pulled.clamp(min=0) if layer["kind"] == "Activation" else pulled


class SlopeOnTheSignal(Independent):
    """The derivative of LeakyRelu, as a gradient would have it."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        if layer.get("function") != "LeakyRelu":
            return super().pull(layer, slot, s, switches)
        return torch.where(self.case.value(layer["inputs"][0]) < 0, layer["options"]["alpha"] * s, s)


class OneSliceOfSeveral(Independent):
    def branch_signal(self, branch: dict[str, Any], signals: Signals, switches: Signals) -> Tensor:
        return super().branch_signal({**branch, "layers": branch["layers"][:1]}, signals, switches)


class SliceAlwaysOfChannels(Independent):
    """The right number of values, put back as if the box were cut from the flat map."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        shape = layer["in_shapes"][slot]
        if layer["kind"] != "Slice" or layer["out_shape"][1:] == shape[1:]:
            return super().pull(layer, slot, s, switches)
        begin = prod(shape) - prod(layer["out_shape"]) if any(layer["begin"]) else 0
        back = torch.zeros((len(s), prod(shape)), dtype=s.dtype)
        back[:, begin : begin + prod(layer["out_shape"])] = s.flatten(1)
        return back.reshape(-1, *shape)


class PredictionMasked(Independent):
    """The mask taken for a part of the inverse."""

    def solve(self) -> dict[str, Tensor]:
        arrays = super().solve()
        for step in self.case.steps:
            name = f"solve/prediction/{step['tensor']}"
            if name in arrays and self.is_masked(step["tensor"]):
                arrays[name] = arrays[name] * self.mask(self.case.value(step["tensor"]), step)
        return arrays


class ContributionForAttribution(Independent):
    def end(self) -> dict[str, Tensor]:
        arrays = super().end()
        return {**arrays, "end/A": arrays["end/A"] * self.case.value(self.case.explained)}


class DistractorForSource(Independent):
    def end(self) -> dict[str, Tensor]:
        arrays = super().end()
        return {**arrays, "end/S": self.case.value(self.case.explained) - arrays["end/S"]}


PASSES = {
    "no mask": Mutant(NoMask, "golden_cnn", "propagate", "propagate/S/relu3"),
    "mask forgotten behind a pool": Mutant(MaskForgottenBehindThePool, "golden_cnn", "propagate", "propagate/S/pool1"),
    "mask on S, not on A": Mutant(MaskOnSourceOnly, "golden_cnn", "propagate", "propagate/A/relu3"),
    "mask though local=False": Mutant(MaskThoughGlobal, "golden_global", "propagate", "propagate/S/flat"),
    "input masked": Mutant(InputMasked, "mnist_mlp", "propagate", "propagate/S/input"),
    "input_mask=True ignored": Mutant(InputMaskIgnored, "golden_input_mask", "propagate", "propagate/S/input"),
    "input_mask=False ignored": Mutant(InputMaskIgnored, "golden_inner_unmasked", "propagate", "propagate/S/relu1"),
    "explained inner tensor not masked": Mutant(InnerTensorNotMasked, "golden_inner", "propagate", "propagate/S/relu1"),
    "A with intercepts": Mutant(AttributionWithIntercept, "golden_cnn", "solve", "solve/linear/relu3"),
    "A starts at 1": Mutant(AttributionFromOne, "golden_cnn", "propagate", "propagate/A/logits"),
    "all logits kept": Mutant(AllLogits, "golden_cnn", "propagate", "propagate/S/logits"),
    "predicted class in place of the target": Mutant(PredictedClass, "golden_cnn", "propagate", "propagate/S/logits"),
    "probability in place of the logit": Mutant(ProbabilityForLogit, "golden_cnn", "propagate", "propagate/S/logits"),
    "overlapping windows summed": Mutant(OverlapSummed, "golden_pool_overlap", "propagate", "propagate/S/relu1"),
    "overlapping windows overwritten": Mutant(
        OverlapOverwritten, "golden_pool_overlap", "propagate", "propagate/S/relu1"
    ),
    "unpooled to the window's corner": Mutant(UnpooledToTheCorner, "golden_cnn", "propagate", "propagate/S/relu1"),
    "flattened map with channels last": Mutant(FlattenChannelsLast, "golden_cnn", "propagate", "propagate/S/relu2"),
    "transposed again": Mutant(TransposedAgain, "golden_split", "propagate", "propagate/S/padded"),
    "pad cropped at the wrong end": Mutant(PadCroppedAtTheWrongEnd, "golden_split", "propagate", "propagate/S/relu2"),
    "slice put back in front": Mutant(SlicePutBackInFront, "golden_split", "propagate", "propagate/S/relu1"),
    "negative signals stopped at an activation": Mutant(
        ActivationDifferentiated, "golden_cnn", "propagate", "propagate/S/dense1"
    ),
    "slope of LeakyRelu on the signal": Mutant(
        SlopeOnTheSignal, "golden_activations", "propagate", "propagate/S/dense1"
    ),
    "one slice of several pulled back": Mutant(OneSliceOfSeveral, "golden_split", "propagate", "propagate/S/relu1"),
    "slice always of channels": Mutant(SliceAlwaysOfChannels, "golden_split_map", "propagate", "propagate/S/relu1"),
    "prediction masked": Mutant(PredictionMasked, "golden_cnn", "solve", "solve/prediction/relu3"),
    "contribution in place of A": Mutant(ContributionForAttribution, "golden_cnn", "end", "end/A"),
    "distractor in place of S": Mutant(DistractorForSource, "golden_cnn", "end", "end/S"),
}
