"""Faults of weights that the locations of a flattened map share (option `share_locations`)."""

from __future__ import annotations

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.mutants.mutant import Mutant


class ChannelsInFront(Independent):
    """Elements taken as those of a map with its channels in front."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        sorted_ = {**step, "channel_of": sorted(step["channel_of"])} if "channel_of" in step else step
        return super().solve_step(sorted_, x, signals, switches, rows)


class MeansOfLocations(Independent):
    """The means over locations as the rows, against which λ counts as often as there are locations."""

    def living_rows(self, step: Step, values: Tensor) -> Tensor:
        return values.mean(dim=1) if "channel_of" in step else super().living_rows(step, values)


class InterceptOfTheElement(Independent):
    """The intercepts laid out channel after channel."""

    def per_channel(self, vector: Tensor, step: Step) -> Tensor:
        if "channel_of" not in step:
            return super().per_channel(vector, step)
        return vector.repeat_interleave(len(step["channel_of"]) // len(vector))


class OneLocation(Independent):
    """What comes back at the first location of a channel, and nothing at the others."""

    def predict(self, step: Step, weights: Weights, signals: Signals, switches: Signals) -> Tensor:
        made = super().predict(step, weights, signals, switches)
        if "channel_of" not in step:
            return made
        first = torch.zeros_like(made)
        first[:, : max(step["channel_of"]) + 1] = 1
        return made * first


CASE, WHERE = "golden_share_locations", "solve/weight/relu2/0"

LOCATIONS = {
    "a flattened map with its channels in front": Mutant(
        ChannelsInFront, CASE, "solve", WHERE, cause="elements are of channels in another order of axes"
    ),
    "means over locations as rows": Mutant(MeansOfLocations, CASE, "solve", WHERE),
    "intercepts channel after channel": Mutant(InterceptOfTheElement, CASE, "solve", "solve/prediction/relu2"),
    "a signal at one location": Mutant(OneLocation, CASE, "solve", "solve/prediction/relu2"),
}
