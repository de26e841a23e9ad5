"""Faults of LSTM and GRU."""

from __future__ import annotations

from typing import Any

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.independent.forward import Layer
from tests.golden.independent.recurrent import Steps
from tests.golden.mutants.mutant import Mutant

CARRIED = "the gate that a signal is carried by is that of its own step, not of the next one"


class GateOfItsOwnStep(Independent):
    def carrying(self, layer: Layer, gates: Tensor, step: int, following: int) -> Tensor:
        return super().carrying(layer, gates, step, step)


class InputGateLeftOut(Independent):
    def leaving(self, layer: Layer, gates: Tensor) -> Tensor:
        return torch.ones_like(gates[:, 0])


class OutputGateLeftOut(Independent):
    def entering(self, layer: Layer, gates: Tensor, s: Tensor) -> Tensor:
        return s


class NothingCarried(Independent):
    def carrying(self, layer: Layer, gates: Tensor, step: int, following: int) -> Tensor:
        return torch.zeros_like(gates[:, 0, step])


class KeptWhereRenewed(Independent):
    """z in place of 1 - z."""

    def leaving(self, layer: Layer, gates: Tensor) -> Tensor:
        return gates[:, 0]


class CellForgotten(Independent):
    """The signal of the last cell is not taken in."""

    def recurrent_back(self, layer: Layer, s: Tensor, gates: Tensor) -> Tensor:
        return super().recurrent_back({**layer, "last": False}, s, gates)


class BackwardsForwards(Independent):
    """Signals come back in the other direction's order."""

    def recurrent_back(self, layer: Layer, s: Tensor, gates: Tensor) -> Tensor:
        return super().recurrent_back({**layer, "reverse": [not one for one in layer["reverse"]]}, s, gates)


class ThroughTheRecurrentProduct(Independent):
    """The past reaches the present through the hidden state too: one weight a unit of R beside the cell."""

    def carrying(self, layer: Layer, gates: Tensor, step: int, following: int) -> Tensor:
        here = super().carrying(layer, gates, step, following)
        return here + self.leaving(layer, gates[:, :, following]) * self.entering(
            layer, gates[:, :, step], torch.ones_like(here)
        )


class WeightForEachStep(Independent):
    """W for each step by itself, and the mean of these."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        layers = [self.case.layers[branch["layers"][0]] for branch in step["branches"]]
        if not (len(layers) == 1 and layers[0].get("inner")):
            return super().solve_step(step, x, signals, switches, rows)
        s = signals[layers[0]["output"]]
        fits = [self.fit_blocks([s[rows, t]], x[rows, t], True) for t in range(x.shape[1])]
        blocks = torch.stack([blocks[0].T for blocks, _ in fits]).mean(dim=0)
        return Weights([blocks], torch.stack([intercept for _, intercept in fits]).mean(dim=0))


class ChangedSteps(Independent):
    """The layer's steps by another class."""

    steps: type[Steps] = Steps

    def steps_of(self, layer: Layer, inputs: list[Tensor]) -> Steps:
        made = super().steps_of(layer, inputs)
        return self.steps(made.layer, made.parameters, made.inputs)


class InputAndOutputGate(Steps):
    def gate(self, direction: int, which: int, x: Tensor, h: Tensor, c: Tensor | None = None) -> Tensor:
        return super().gate(direction, {0: 1, 1: 0}.get(which, which), x, h, c)


class GatesInterchanged(ChangedSteps):
    steps = InputAndOutputGate


class NoInitialState(Steps):
    def initial(self, name: str, direction: int) -> Tensor:
        return torch.zeros_like(super().initial(name, direction))


class InitialStateMissing(ChangedSteps):
    steps = NoInitialState


class InFront(Steps):
    def gru_step(self, d: int, own: Tensor, x: Tensor, h: Tensor) -> Tensor:
        other: dict[str, Any] = {**self.layer, "reset_behind": not self.layer["reset_behind"]}
        return Steps(other, self.parameters, self.inputs).gru_step(d, own, x, h)


class CellUnseen(Steps):
    def gate(self, direction: int, which: int, x: Tensor, h: Tensor, c: Tensor | None = None) -> Tensor:
        return super().gate(direction, which, x, h)


class PeepholesMissing(ChangedSteps):
    steps = CellUnseen


class CellBeforeTheStep(Steps):
    """The output gate sees the cell that the other gates see."""

    def lstm_step(self, d: int, own: Tensor, x: Tensor, h: Tensor, c: Tensor) -> tuple[list[Tensor], Tensor]:
        (i, _, f), after = super().lstm_step(d, own, x, h, c)
        return [i, self.gate(d, 1, x, h, c), f], after


class OutputGateSeesThePast(ChangedSteps):
    steps = CellBeforeTheStep


class BlindOnTheWayBack(Independent):
    """Gates of the way back see no cell."""

    def gates_of_steps(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return PeepholesMissing(self.case).gates_of_steps(values)


class SigmoidAndTanh(Steps):
    def function(self, place: int, x: Tensor) -> Tensor:
        return torch.sigmoid(x) if not place else torch.tanh(x)


class FunctionsLeftOut(ChangedSteps):
    steps = SigmoidAndTanh


class OtherSequence(Steps):
    """Of several sequences of a sample each is taken for another."""

    def made(self) -> Tensor:
        return super().made().flip(2) if self.inputs[0].ndim > 3 else super().made()


class SequencesInterchanged(ChangedSteps):
    steps = OtherSequence


class ResetOnTheOtherSide(ChangedSteps):
    steps = InFront


RECURRENT = {
    "lstm: forget gate of its own step": Mutant(
        GateOfItsOwnStep, "golden_lstm", "propagate", "propagate/S/back:candidate", cause=CARRIED
    ),
    "lstm: input gate left out": Mutant(
        InputGateLeftOut, "golden_lstm", "propagate", "propagate/S/back:candidate", cause="the input gate is left out"
    ),
    "lstm: output gate left out": Mutant(
        OutputGateLeftOut, "golden_lstm", "propagate", "propagate/S/back:candidate", cause="the output gate is left out"
    ),
    "lstm: nothing carried": Mutant(
        NothingCarried,
        "golden_lstm",
        "propagate",
        "propagate/S/back:candidate",
        cause="nothing is carried to the step before",
    ),
    "lstm: last cell forgotten": Mutant(CellForgotten, "golden_lstm", "propagate", "propagate/S/back:candidate"),
    "lstm: back in the other order": Mutant(
        BackwardsForwards, "golden_lstm", "propagate", "propagate/S/back:candidate"
    ),
    "lstm: through the recurrent product": Mutant(
        ThroughTheRecurrentProduct, "golden_lstm", "propagate", "propagate/S/back:candidate"
    ),
    "lstm: a weight for each step": Mutant(WeightForEachStep, "golden_lstm", "solve", "solve/weight/both_joined/0"),
    "lstm: gates interchanged": Mutant(
        GatesInterchanged,
        "golden_lstm",
        "forward",
        "forward/value/both:steps",
        cause="the first two gates are interchanged",
    ),
    "lstm: initial state missing": Mutant(
        InitialStateMissing, "golden_lstm", "forward", "forward/value/back:steps", cause="the initial state is missing"
    ),
    "lstm: peepholes missing": Mutant(
        PeepholesMissing,
        "golden_peepholes",
        "forward",
        "forward/value/both:steps",
        cause="the peepholes are missing",
    ),
    "lstm: output gate sees the cell before": Mutant(
        OutputGateSeesThePast, "golden_peepholes", "forward", "forward/value/both:steps"
    ),
    "lstm: no peepholes on the way back": Mutant(
        BlindOnTheWayBack, "golden_peepholes", "propagate", "propagate/S/back:candidate"
    ),
    "lstm: functions left out": Mutant(
        FunctionsLeftOut,
        "golden_recurrent_functions",
        "forward",
        "forward/value/both:steps",
        cause="the activations are sigmoid and tanh",
    ),
    "gru: sequences interchanged": Mutant(
        SequencesInterchanged, "golden_lengths", "forward", "forward/value/characters:steps"
    ),
    "gru: update gate of its own step": Mutant(
        GateOfItsOwnStep, "golden_gru", "propagate", "propagate/S/on:candidate", cause=CARRIED
    ),
    "gru: 1 - z left out": Mutant(
        InputGateLeftOut,
        "golden_gru",
        "propagate",
        "propagate/S/on:candidate",
        cause="the signal is not multiplied by 1 - z",
    ),
    "gru: z for 1 - z": Mutant(KeptWhereRenewed, "golden_gru", "propagate", "propagate/S/on:candidate"),
    "gru: nothing carried": Mutant(NothingCarried, "golden_gru", "propagate", "propagate/S/on:candidate"),
    "gru: back in the other order": Mutant(BackwardsForwards, "golden_gru", "propagate", "propagate/S/on:candidate"),
    "gru: a weight for each step": Mutant(WeightForEachStep, "golden_gru", "solve", "solve/weight/both_joined/0"),
    "gru: reset gate on the other side": Mutant(
        ResetOnTheOtherSide,
        "golden_gru",
        "forward",
        "forward/value/both:steps",
        cause="the reset gate stands in front of the product where it stands behind it, or the other way round",
    ),
}
