"""Faults where several branches meet, or where a channel has a single weight."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.independent.forward import Layer
from tests.golden.independent.geometry import links
from tests.golden.mutants.mutant import Mutant


class OneAfterTheOther(Independent):
    def fit_blocks(self, columns: list[Tensor], target: Tensor, intercept: bool) -> tuple[list[Tensor], Tensor]:
        blocks, constant = [], torch.zeros_like(target[0])
        for block in columns:
            weights, level = self.ridge(block, target, intercept)
            target, constant = target - block @ weights - level, constant + level
            blocks.append(weights)
        return blocks, constant


class SkipWithWeightOne(Independent):
    def fit_blocks(self, columns: list[Tensor], target: Tensor, intercept: bool) -> tuple[list[Tensor], Tensor]:
        if len(columns) == 1:
            return super().fit_blocks(columns, target, intercept)
        single = [block.shape[1] == 1 for block in columns]
        for block, is_single in zip(columns, single, strict=True):
            target = target - block if is_single else target
        fitted = [block for block, is_single in zip(columns, single, strict=True) if not is_single]
        blocks, constant = super().fit_blocks(fitted, target, intercept)
        ones = torch.ones((1, target.shape[1]), dtype=target.dtype)
        return [ones if is_single else blocks.pop(0) for is_single in single], constant


class SkipNotPenalised(Independent):
    """λ on kernels only."""

    def fit_blocks(self, columns: list[Tensor], target: Tensor, intercept: bool) -> tuple[list[Tensor], Tensor]:
        if len(columns) == 1:
            return super().fit_blocks(columns, target, intercept)
        # A column a million times as large bears a penalty of a millionth, squared.
        factors = [1e6 if block.shape[1] == 1 else 1.0 for block in columns]
        scaled = [block * factor for block, factor in zip(columns, factors, strict=True)]
        blocks, constant = super().fit_blocks(scaled, target, intercept)
        return [block * factor for block, factor in zip(blocks, factors, strict=True)], constant


class OneScalarForAllChannels(Independent):
    def shaped(self, layer: Layer, block: Tensor) -> Tensor:
        shaped = super().shaped(layer, block)
        return shaped.mean().expand(shaped.shape) if layer["kind"] == "Add" else shaped


class InterceptIfAllBranchesHaveOne(Independent):
    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        kinds = {self.case.layers[branch["layers"][0]]["kind"] for branch in step["branches"]}
        allowed = step["intercept"] and not kinds & {"Conv", "MaxPool", "Activation", "Add"}
        weights = super().solve_step({**step, "intercept": allowed}, x, signals, switches, rows)
        none = torch.zeros(step["shape"][0], dtype=x.dtype) if step["intercept"] else None
        return Weights(weights.blocks, weights.intercept if allowed else none)


class ConvAlwaysWithIntercept(Independent):
    def ridge(self, regressors: Tensor, target: Tensor, intercept: bool) -> tuple[Tensor, Tensor]:
        return super().ridge(regressors, target, True)


class SumSharedOut(Independent):
    """Half of a sum's signal to each of two branches."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return pulled / len(layer["inputs"]) if layer["kind"] == "Add" else pulled


class SumSharedOutLessTheFit(SumSharedOut):
    """The same where the branch is not fitted, so that no scalar can make up for it."""

    def columns(self, step: Step, branch: dict[str, Any], number: int, signals: Signals, switches: Signals) -> Tensor:
        return Independent(self.case).columns(step, branch, number, signals, switches)

    def predict(self, step: Step, weights: Weights, signals: Signals, switches: Signals) -> Tensor:
        return Independent(self.case).predict(step, weights, signals, switches)


class ConcatInReverse(Independent):
    def slice_of(self, layer: Layer, slot: int, s: Tensor) -> Tensor:
        axis = layer["axis"]
        sizes = [shape[axis - 1] for shape in layer["in_shapes"]]
        return s.narrow(axis, sum(sizes[slot + 1 :]), sizes[slot])


class ConcatAlwaysOfChannels(Independent):
    def slice_of(self, layer: Layer, slot: int, s: Tensor) -> Tensor:
        if layer["axis"] == 1:
            return super().slice_of(layer, slot, s)
        # The right number of values, from the wrong places.
        size = prod(layer["in_shapes"][slot])
        begin = sum(prod(shape) for shape in layer["in_shapes"][:slot])
        return s.flatten(1)[:, begin : begin + size].reshape(-1, *layer["in_shapes"][slot])


class GlobalPoolByLocation(Independent):
    """A weight and an intercept for each location of the map."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        layer = self.case.layers[step["branches"][0]["layers"][0]]
        if layer["kind"] != "GlobalAveragePool":
            return super().solve_step(step, x, signals, switches, rows)
        flat = x.flatten(1)
        regressors = signals[layer["output"]].expand(x.shape).flatten(1)
        fits = [
            self.ridge(regressors[rows, place, None], flat[rows, place, None], True) for place in range(flat.shape[1])
        ]
        weights, levels = (torch.cat([pair[k].flatten() for pair in fits]).reshape(x.shape[1:]) for k in (0, 1))
        return Weights([weights.flatten(1).mean(dim=1)], levels.flatten(1).mean(dim=1))


class GlobalPoolDivided(Independent):
    """The value at each location divided by the number of locations, as a gradient would be."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return pulled / prod(layer["in_shapes"][0][1:]) if layer["kind"] == "GlobalAveragePool" else pulled


class BatchNormInverted(Independent):
    """X = (S - shift) / scale, nothing fitted."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        layer = self.case.layers[step["branches"][0]["layers"][0]]
        if layer["kind"] != "Affine":
            return super().solve_step(step, x, signals, switches, rows)
        scale, shift = (self.case.parameter(layer, name).flatten() for name in ("scale", "shift"))
        return Weights([1 / scale], -shift / scale)


class MeanOverTheKernel(Independent):
    """A location's sum divided by the size of the window, not by the number of windows that cover it."""

    def spread(self, layer: Layer, s: Tensor) -> Tensor:
        total = torch.zeros((len(s), *layer["in_shapes"][0]), dtype=s.dtype)
        for _, outputs, inputs in links(layer["window"], layer["in_shapes"][0][1:], layer["out_shape"][1:]):
            total[(..., *inputs)] += s[(..., *outputs)]
        return total / prod(layer["window"]["kernel"])


class NothingWhereNoWindowIs(Independent):
    """Where no window covers a location its prediction is 0, not the intercept."""

    def predict(self, step: Step, weights: Weights, signals: Signals, switches: Signals) -> Tensor:
        predicted = super().predict(step, weights, signals, switches)
        layer = self.case.layers[step["branches"][0]["layers"][0]]
        if layer["kind"] != "AveragePool":
            return predicted
        return predicted * self.spread(layer, torch.ones_like(signals[layer["output"]]))


JOINT = {
    "joint fit one branch after the other": Mutant(
        OneAfterTheOther, "golden_residual", "solve", "solve/weight/relu1/0"
    ),
    "skip with weight 1": Mutant(SkipWithWeightOne, "golden_residual", "solve", "solve/weight/relu1/0"),
    "skip's weight not penalised": Mutant(SkipNotPenalised, "golden_residual", "solve", "solve/weight/relu1/0"),
    "skip's weight shared by all channels": Mutant(
        OneScalarForAllChannels, "golden_residual", "solve", "solve/weight/relu1/1"
    ),
    "intercept only if every branch has one": Mutant(
        InterceptIfAllBranchesHaveOne, "golden_concat", "solve", "solve/weight/relu1/0"
    ),
    "conv_bias taken to be True": Mutant(ConvAlwaysWithIntercept, "golden_cnn", "solve", "solve/weight/pool1/0"),
    "conv_bias taken to be False": Mutant(
        InterceptIfAllBranchesHaveOne, "golden_conv_bias", "solve", "solve/weight/relu2/0"
    ),
    "sum's signal shared out": Mutant(SumSharedOut, "golden_residual", "solve", "solve/weight/relu1/0"),
    "sum's signal shared out where nothing is fitted": Mutant(
        SumSharedOutLessTheFit, "golden_downsample", "propagate", "propagate/S/short"
    ),
    "concat sliced in reverse": Mutant(ConcatInReverse, "golden_concat", "propagate", "propagate/S/mean"),
    "concat always of channels": Mutant(ConcatAlwaysOfChannels, "golden_split_map", "propagate", "propagate/S/conv2"),
    "location without a window gets 0": Mutant(
        NothingWhereNoWindowIs, "golden_average_pool", "solve", "solve/prediction/relu2"
    ),
    "global pool's weights by location": Mutant(
        GlobalPoolByLocation, "golden_global_pool", "solve", "solve/weight/relu1/0"
    ),
    "global pool divided by its locations": Mutant(
        GlobalPoolDivided, "golden_global_pool", "solve", "solve/weight/relu1/0"
    ),
    "batch norm inverted": Mutant(BatchNormInverted, "golden_batch_norm", "solve", "solve/weight/relu1/0"),
    "average pool's mean over the kernel": Mutant(
        MeanOverTheKernel, "golden_average_pool", "solve", "solve/weight/relu2/0"
    ),
}
