"""Faults of what a target is an entry of, and of where the layers start."""

from __future__ import annotations

from typing import Any

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals
from tests.golden.mutants.mutant import Mutant


class SigmoidForLogit(Independent):
    """The probability explained, as if the head were a layer."""

    def start(self, values: Signals) -> tuple[Signals, Signals]:
        return super().start({**values, self.case.logits: torch.sigmoid(values[self.case.logits])})


class OtherClassOfTheSigmoid(Independent):
    """What speaks for class 0, whose logit is the negative."""

    def start(self, values: Signals) -> tuple[Signals, Signals]:
        return super().start({**values, self.case.logits: -values[self.case.logits]})


class TargetInFortranOrder(Independent):
    """The tuple of indices counted with the first axis running fastest."""

    def start(self, values: Signals) -> tuple[Signals, Signals]:
        model: dict[str, Any] = self.case.manifest["model"]
        shape = next(one["in_shapes"][0] for one in self.case.layers if one["output"] == self.case.logits)
        place, stride = 0, 1
        for index, size in zip(model["target"], shape, strict=True):
            place, stride = place + index * stride, stride * size
        kept = self.case.options
        self.case.options = {**kept, "target": place}
        started = super().start(values)
        self.case.options = kept
        return started


class EveryClassAtThePixel(Independent):
    def start(self, values: Signals) -> tuple[Signals, Signals]:
        logits, target = values[self.case.logits], self.case.options["target"]
        shape = next(one["in_shapes"][0] for one in self.case.layers if one["output"] == self.case.logits)
        places = logits.shape[1] // shape[0]
        kept = torch.arange(logits.shape[1]) % places == target % places
        return {self.case.logits: logits * kept}, {self.case.logits: logits * kept}


class SourcesFromTheInput(Independent):
    """The layers started from x, as if what stands in front of them were not there."""

    def values(self) -> dict[str, Tensor]:
        values = {name: self.case.golden("x") for name in self.case.starts}
        for layer in self.case.layers:
            values[layer["output"]] = self.compute(layer, [values[name] for name in layer["inputs"]])
        return values


class FrontierNotMasked(Independent):
    """What stands furthest down taken for the input, which has no mask."""

    def is_masked(self, name: str) -> bool:
        return not self.is_explained(name) and super().is_masked(name)


ENDS = {
    "sigmoid explained, not what is in front": Mutant(
        SigmoidForLogit, "golden_sigmoid", "propagate", "propagate/S/score"
    ),
    "class 0 of a single sigmoid": Mutant(
        OtherClassOfTheSigmoid, "golden_sigmoid", "propagate", "propagate/S/score", cause="the sign is wrong"
    ),
    "sigmoid of a pixel explained": Mutant(SigmoidForLogit, "golden_pixel", "propagate", "propagate/S/scores:classes"),
    "pixel counted in Fortran order": Mutant(
        TargetInFortranOrder, "golden_pixel", "propagate", "propagate/S/scores:classes"
    ),
    "every class of a pixel": Mutant(EveryClassAtThePixel, "golden_pixel", "propagate", "propagate/S/scores:classes"),
    "layers started from the input": Mutant(SourcesFromTheInput, "golden_frontier", "forward", "forward/value/conv1"),
    "frontier not masked": Mutant(
        FrontierNotMasked, "golden_frontier", "propagate", "propagate/S/running", cause="the mask is forgotten"
    ),
}
