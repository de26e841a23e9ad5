"""Faults of normalisations, tokens, channels that are last, and means over some axes."""

from __future__ import annotations

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.independent.forward import Layer
from tests.golden.independent.normalised import divisor
from tests.golden.mutants.forward import SwitchOverTheBatch
from tests.golden.mutants.mutant import Mutant
from tests.golden.mutants.passes import UnpooledToTheCorner


class ChangedNorm(Independent):
    """A Norm of other fields."""

    def other(self, layer: Layer) -> Layer:
        raise NotImplementedError

    def compute(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        return super().compute(self.other(layer) if layer["kind"] == "Norm" else layer, inputs)


class EpsilonOutsideTheRoot(ChangedNorm):
    def other(self, layer: Layer) -> Layer:
        return {**layer, "epsilon": 0.0, "offset": layer["epsilon"]}


class VarianceOfASample(ChangedNorm):
    """Divided by one less than there are."""

    def other(self, layer: Layer) -> Layer:
        count = 1
        for axis in layer["over"]:
            count *= layer["split"][axis - 1]
        return {**layer, "factor": layer["factor"] * count / (count - 1)}


class GroupsLeftOut(ChangedNorm):
    """Each channel by itself where there are groups."""

    def other(self, layer: Layer) -> Layer:
        rest = layer["in_shapes"][0]
        split = layer["split"] != rest
        over = list(range(2, len(rest) + 1))
        count = 1
        for axis in over:
            count *= rest[axis - 1]
        return {**layer, "split": rest, "over": over, "factor": 1 / count} if split else layer


class MeanSubtracted(ChangedNorm):
    """LayerNorm in place of RMSNorm."""

    def other(self, layer: Layer) -> Layer:
        return {**layer, "centred": True}


class SigmaOnTheSignal(Independent):
    """The signal times the divisor, as the option of another inverse has it."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        if layer["kind"] != "Norm":
            return super().pull(layer, slot, s, switches)
        z = self.case.value(layer["inputs"][0]).reshape(-1, *layer["split"])
        z = z - z.mean(dim=layer["over"], keepdim=True) if layer["centred"] else z
        return (s.reshape(-1, *layer["split"]) * divisor(layer, z)).reshape(s.shape)


class NormWithoutFit(Independent):
    """The signal passes a Norm unchanged, as it does an activation."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        weights = super().solve_step(step, x, signals, switches, rows)
        if [self.case.layers[branch["layers"][0]]["kind"] for branch in step["branches"]] != ["Norm"]:
            return weights
        return Weights([torch.ones_like(weights.blocks[0])], torch.zeros_like(weights.blocks[0]))


class ChannelsElsewhere(Independent):
    """One weight a channel along another axis, where no branch has weights for all channels."""

    def other(self, step: Step) -> int:
        raise NotImplementedError

    def axis(self, step: Step) -> int:
        kinds = {self.case.layers[branch["layers"][0]]["kind"] for branch in step["branches"]}
        shared = kinds & {"Dense", "Conv", "ConvTranspose", "TokenDense"}
        return super().axis(step) if shared else self.other(step)


class ChannelsOnAxisOne(ChannelsElsewhere):
    def other(self, step: Step) -> int:
        return 1


class ChannelsAlwaysLast(ChannelsElsewhere):
    def other(self, step: Step) -> int:
        return len(step["shape"])


class TokensFittedOneByOne(Independent):
    """A fit of its own for each token, of which the mean is told."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        layers = [self.case.layers[branch["layers"][0]] for branch in step["branches"]]
        if [layer["kind"] for layer in layers] != ["TokenDense"]:
            return super().solve_step(step, x, signals, switches, rows)
        axis = layers[0]["axis"]
        s, y = (one[rows].movedim(axis, -1).flatten(1, -2) for one in (signals[layers[0]["output"]], x))
        fits = [self.ridge(s[:, token], y[:, token], True) for token in range(s.shape[1])]
        weights, level = (torch.stack([one[k] for one in fits]).mean(dim=0) for k in (0, 1))
        return Weights([weights.T], level)


class LambdaOfATokensMean(Independent):
    """λ on sums over samples and means over tokens."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        kept = self.case.options
        layer = self.case.layers[step["branches"][0]["layers"][0]]
        if layer["kind"] == "TokenDense":
            self.case.options = {**kept, "ridge": kept["ridge"] * x[0].numel() / x.shape[layer["axis"]]}
        weights = super().solve_step(step, x, signals, switches, rows)
        self.case.options = kept
        return weights


class ReduceDivided(Independent):
    """The mean's value divided by how many it is of, as a gradient is."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return pulled * (s.numel() / pulled.numel()) if layer["kind"] == "Reduce" else pulled


class MeanForSum(Independent):
    def reduced(self, layer: Layer, x: Tensor) -> Tensor:
        return super().reduced({**layer, "total": False}, x)


class ReducedAlongTheLastAxis(Independent):
    def reduced(self, layer: Layer, x: Tensor) -> Tensor:
        made = super().reduced({**layer, "over": [x.ndim - 1]}, x)
        shape = [len(x), *layer["out_shape"]]
        return made.expand(-1, *[max(a, b) for a, b in zip(made.shape[1:], shape[1:], strict=True)])[
            tuple(slice(0, size) for size in shape)
        ]


TOKENS = {
    "epsilon added to the root": Mutant(
        EpsilonOutsideTheRoot, "golden_norms", "forward", "forward/value/instance", cause="epsilon is added to the root"
    ),
    "variance of a sample": Mutant(
        VarianceOfASample,
        "golden_tokens",
        "forward",
        "forward/value/normed",
        cause="the variance counts one value less",
    ),
    "groups of a norm left out": Mutant(GroupsLeftOut, "golden_norms", "forward", "forward/value/beta"),
    "LayerNorm for RMSNorm": Mutant(
        MeanSubtracted, "golden_last", "forward", "forward/value/gamma", cause="the mean is subtracted"
    ),
    "signal times σ": Mutant(
        SigmaOnTheSignal,
        "golden_norms",
        "solve",
        "solve/weight/dense1/0",
        cause="the signal is multiplied by the divisor",
    ),
    "signal times σ of tokens": Mutant(
        SigmaOnTheSignal,
        "golden_tokens",
        "solve",
        "solve/weight/last/0",
        cause="the signal is multiplied by the divisor",
    ),
    "norm passed as an activation": Mutant(NormWithoutFit, "golden_norms", "solve", "solve/weight/dense1/0"),
    "channels taken on axis 1": Mutant(
        ChannelsOnAxisOne,
        "golden_tokens",
        "solve",
        "solve/weight/last/0",
        cause="the channels lie on axis 3, not on axis 1",
    ),
    "channels always taken last": Mutant(ChannelsAlwaysLast, "golden_tokens", "solve", "solve/weight/sum1/0"),
    "a fit for each token": Mutant(TokensFittedOneByOne, "golden_tokens", "solve", "solve/weight/gelu/0"),
    "λ on means over tokens": Mutant(LambdaOfATokensMean, "golden_tokens", "solve", "solve/weight/gelu/0"),
    "mean over an axis divided": Mutant(ReduceDivided, "golden_reduce", "solve", "solve/weight/rows/0"),
    "largest of a map at its corner": Mutant(UnpooledToTheCorner, "golden_reduce", "propagate", "propagate/S/conv2"),
    "switches of a whole map count through the batch": Mutant(
        SwitchOverTheBatch,
        "golden_reduce",
        "forward",
        "forward/switch/largest",
        cause="the index counts over samples and channels too",
    ),
    "mean for a sum": Mutant(
        MeanForSum,
        "golden_reduce",
        "forward",
        "forward/value/sum:reduced",
        cause="the sum is taken where the mean is, or the other way round",
    ),
    "mean over another axis": Mutant(ReducedAlongTheLastAxis, "golden_reduce", "forward", "forward/value/rows"),
}
