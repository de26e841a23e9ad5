"""Faults of gates, maxima, signs, what is broadcast, and activations written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.independent.forward import Layer
from tests.golden.mutants.mutant import Mutant


class GateLeftOut(Independent):
    """The content's signal as it comes from above, as behind an activation."""

    def through_gate(self, layer: Layer, s: Tensor, gate: Tensor) -> Tensor:
        return s


class ContentTakenForGate(Independent):
    """The signal comes back to the wrong operand: it is multiplied by the content."""

    def gates(self, values: Signals) -> Signals:
        layers = [layer for layer in self.case.layers if layer.get("function") == "Mul"]
        return super().gates(values) | {layer["output"]: values[layer["inputs"][0]] for layer in layers}


class QuotientMultiplied(Independent):
    def through_gate(self, layer: Layer, s: Tensor, gate: Tensor) -> Tensor:
        return s * gate


class GateOfTheMean(Independent):
    """One gate for all samples."""

    def gates(self, values: Signals) -> Signals:
        return {name: gate.mean(dim=0, keepdim=True).expand_as(gate) for name, gate in super().gates(values).items()}


class GateWithIntercept(Independent):
    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        kinds = [self.case.layers[branch["layers"][0]]["kind"] for branch in step["branches"]]
        return super().solve_step(
            {**step, "intercept": step["intercept"] or kinds == ["Gate"]}, x, signals, switches, rows
        )


class GateHasAWeightForEachPlace(Independent):
    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        weights = super().solve_step(step, x, signals, switches, rows)
        if [self.case.layers[branch["layers"][0]]["kind"] for branch in step["branches"]] != ["Gate"]:
            return weights
        p = self.branch_signal(step["branches"][0], signals, switches)[rows]
        by_place = (p * x[rows]).sum(dim=0) / ((p * p).sum(dim=0) + self.case.options["ridge"])
        return Weights([by_place.flatten(1).mean(dim=1)], weights.intercept)


class StateGivenSignal(Independent):
    """The tensor that a gate is made of takes a signal by that way too, as if it were a branch."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        layers = [self.case.layers[branch["layers"][0]] for branch in step["branches"]]
        if [layer["kind"] for layer in layers] != ["Gate"]:
            return super().solve_step(step, x, signals, switches, rows)
        s, content = signals[layers[0]["output"]], self.case.value(layers[0]["inputs"][0])
        state = (s * content).mean(dim=tuple(range(2, s.ndim)), keepdim=True).expand_as(s)
        own = self.branch_signal(step["branches"][0], signals, switches)
        blocks = []
        for channel in range(step["shape"][0]):
            columns = [one[rows, channel].reshape(-1, 1) for one in (own, state)]
            fitted, _ = self.fit_blocks(columns, x[rows, channel].reshape(-1, 1), False)
            blocks.append(fitted[0][0])
        return Weights([torch.cat(blocks)], None)


class GateMissesTheCopies(Independent):
    """Of a content that is broadcast the first copy takes its signal, the others none."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        if layer["kind"] != "Gate" or layer["in_shapes"][0] == layer["out_shape"]:
            return super().pull(layer, slot, s, switches)
        through = self.through_gate(layer, s, switches[layer["output"]])
        return through[(slice(None), *(slice(0, size) for size in layer["in_shapes"][0]))]


class TiesToTheSecond(Independent):
    def extremum(self, layer: Layer, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        best, winner = super().extremum(layer, inputs)
        for number, one in enumerate(inputs):
            winner = torch.where(one == best, number, winner)
        return best, winner


class SignalToAllOperands(Independent):
    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        return s if layer["kind"] == "Extremum" else super().pull(layer, slot, s, switches)


class MinimumAsMaximum(Independent):
    def extremum(self, layer: Layer, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        return super().extremum({**layer, "function": "Max"}, inputs)


class SignNotTurned(Independent):
    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return -pulled if layer["kind"] == "Difference" and slot else pulled


class NegativePassed(Independent):
    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        return s if layer["kind"] == "Negative" else super().pull(layer, slot, s, switches)


class BroadcastAdded(Independent):
    """The sum over copies, as the gradient of a broadcast is."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        pulled = super().pull(layer, slot, s, switches)
        return pulled * (s.numel() / pulled.numel()) if layer["kind"] in ("Add", "Difference") else pulled


class MaskNotPositive(Independent):
    """Where X ≠ 0 behind a SiLU and a GELU too."""

    def mask(self, x: Tensor, step: Layer) -> Tensor:
        return x != 0


class GeluByTanh(Independent):
    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="tanh") if layer["function"] == "Gelu" else super().activation(layer, x)


class StepsInOneChain(Independent):
    """Each step of a formula reads the one before it."""

    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        if layer["function"] != "Formula":
            return super().activation(layer, x)
        steps = [{**step, "of": [number] * len(step["of"])} for number, step in enumerate(layer["steps"])]
        return super().activation({**layer, "steps": steps}, x)


class DifferentiatedGelu(Independent):
    """The derivative of an activation on the signal, as a gradient has it."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        if layer["kind"] != "Activation" or layer["function"] not in ("Gelu", "Formula"):
            return super().pull(layer, slot, s, switches)
        x = self.case.value(layer["inputs"][0]).clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.activation(layer, x).sum(), x)
        return s * slope


GATES = {
    "gate left out": Mutant(
        GateLeftOut, "golden_squeeze", "solve", "solve/weight/conv2/0", cause="the gate is left out"
    ),
    "gate to the wrong operand": Mutant(
        ContentTakenForGate,
        "golden_squeeze",
        "solve",
        "solve/weight/conv2/0",
        cause="the signal is multiplied by the content, not by the gate",
    ),
    "gate to the wrong operand of a map": Mutant(
        ContentTakenForGate,
        "golden_gates",
        "solve",
        "solve/weight/relu3/0",
        cause="the signal is multiplied by the content, not by the gate",
    ),
    "quotient multiplied": Mutant(
        QuotientMultiplied,
        "golden_gates",
        "solve",
        "solve/weight/relu2/0",
        cause="the gate divides where it multiplies, or the other way round",
    ),
    "one gate for all samples": Mutant(GateOfTheMean, "golden_squeeze", "solve", "solve/weight/conv2/0"),
    "gate's fit with an intercept": Mutant(
        GateWithIntercept,
        "golden_gates",
        "solve",
        "solve/weight/relu3/0",
        cause="there is an intercept, where this fit has none",
    ),
    "gate's weight for each place": Mutant(GateHasAWeightForEachPlace, "golden_gates", "solve", "solve/weight/relu2/0"),
    "state given signal": Mutant(StateGivenSignal, "golden_squeeze", "solve", "solve/weight/conv2/0"),
    "first copy of a content alone": Mutant(GateMissesTheCopies, "golden_gates", "solve", "solve/weight/relu3/0"),
    "ties of a maximum to the second": Mutant(
        TiesToTheSecond,
        "golden_extremum",
        "forward",
        "forward/winner/largest",
        cause="of equal values the last one wins instead of the first",
    ),
    "maximum's signal to all operands": Mutant(
        SignalToAllOperands,
        "golden_extremum",
        "propagate",
        "propagate/S/clip4",
        cause="the signal goes to all inputs, not to the one that won",
    ),
    "minimum taken as maximum": Mutant(
        MinimumAsMaximum,
        "golden_extremum",
        "forward",
        "forward/value/smallest",
        cause="the smaller wins where the larger does, or the other way round",
    ),
    "sign of what is subtracted not turned": Mutant(
        SignNotTurned,
        "golden_extremum",
        "propagate",
        "propagate/S/mean",
        cause="what is subtracted has its signal's sign not turned",
    ),
    "sign of a negative not turned": Mutant(
        NegativePassed, "golden_extremum", "propagate", "propagate/S/conv4", cause="the sign is wrong"
    ),
    "broadcast's signals added": Mutant(
        BroadcastAdded,
        "golden_extremum",
        "propagate",
        "propagate/S/conv6",
        cause="copies of one value are added, not averaged",
    ),
    "mask where X ≠ 0 behind a GELU": Mutant(
        MaskNotPositive,
        "golden_squeeze",
        "forward",
        "forward/mask/gelu",
        cause="the mask asks for X ≠ 0 instead of X > 0",
    ),
    "mask where X ≠ 0 on tokens": Mutant(
        MaskNotPositive,
        "golden_tokens",
        "forward",
        "forward/mask/gelu",
        cause="the mask asks for X ≠ 0 instead of X > 0",
    ),
    "GELU by the tanh formula": Mutant(
        GeluByTanh,
        "golden_squeeze",
        "forward",
        "forward/value/gelu",
        cause="GELU by the tanh formula, or the other way round",
    ),
    "steps of a formula in one chain": Mutant(StepsInOneChain, "golden_squeeze", "forward", "forward/value/silu"),
    "GELU differentiated": Mutant(
        DifferentiatedGelu,
        "golden_squeeze",
        "propagate",
        "propagate/S/sum1",
        cause="the signal is multiplied by the derivative of the activation, as a gradient is",
    ),
    "GELU written out differentiated": Mutant(
        DifferentiatedGelu,
        "golden_tokens",
        "propagate",
        "propagate/S/wide",
        cause="the signal is multiplied by the derivative of the activation, as a gradient is",
    ),
}
