"""The four stages of a golden case, each from what its manifest gives."""

from __future__ import annotations

import torch

from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Fit, Signals, Step, Weights


class Independent(Fit):
    def candidate(self) -> dict[str, Tensor]:
        """All stages under the manifest's names."""
        return self.forward() | self.solve() | self.propagate() | self.end()

    def forward(self) -> dict[str, Tensor]:
        arrays = {f"forward/value/{name}": x for name, x in self.values().items() if name not in self.case.starts}
        arrays |= {f"forward/switch/{name}": switch for name, switch in self.switches(self.golden_values()).items()}
        arrays |= {f"forward/winner/{name}": winner for name, winner in self.winners(self.golden_values()).items()}
        masks = {
            step["tensor"]: self.mask(self.case.value(step["tensor"]), step) for step in self.case.steps if step["mask"]
        }
        return arrays | {f"forward/mask/{name}": mask.to(torch.uint8) for name, mask in masks.items()}

    def solve(self) -> dict[str, Tensor]:
        values, switches, rows = self.golden_values(), self.golden_states(), self.rows()
        sources, attributions = self.golden_signals("S"), self.golden_signals("A")
        arrays = {}
        for step in self.case.steps:
            if not step["fitted"]:
                continue
            name = step["tensor"]
            weights = self.solve_step(step, values[name], sources, switches, rows)
            for number, (branch, block) in enumerate(zip(step["branches"], weights.blocks, strict=True)):
                if branch["weight"] is not None:
                    arrays[f"solve/weight/{name}/{number}"] = block
            if weights.intercept is not None and self.case.has(f"solve/intercept/{name}"):
                arrays[f"solve/intercept/{name}"] = weights.intercept
            arrays[f"solve/prediction/{name}"] = self.predict(step, weights, sources, switches)
            arrays[f"solve/linear/{name}"] = self.predict(step, self.linear(weights), attributions, switches)
        return arrays

    def propagate(self) -> dict[str, Tensor]:
        values, switches = self.golden_values(), self.golden_states()
        sources, attributions = self.start(values)
        for step in self.case.steps:
            name = step["tensor"]
            if step["fitted"] and any(branch["weight"] is None for branch in step["branches"]):
                sources[name] = self.case.golden(f"propagate/S/{name}")
                attributions[name] = self.case.golden(f"propagate/A/{name}")
                continue
            weights = self.golden_weights(step) if step["fitted"] else None
            self.descend(step, weights, values, switches, sources, attributions)
        arrays = {f"propagate/S/{name}": signal for name, signal in sources.items()}
        return arrays | {f"propagate/A/{name}": signal for name, signal in attributions.items()}

    def end(self) -> dict[str, Tensor]:
        values = self.values()
        switches, rows = self.states(values), self.rows()
        sources, attributions = self.start(values)
        for step in self.case.steps:
            weights = None
            if step["fitted"]:
                weights = self.solve_step(
                    step, values[step["tensor"]], self.regressing(sources, values), switches, rows
                )
            self.descend(step, weights, values, switches, sources, attributions)
        return {
            "end/output": values[self.case.logits][:, self.case.options["target"]],
            "end/S": sources[self.case.explained],
            "end/A": attributions[self.case.explained],
        }

    def regressing(self, sources: Signals, values: Signals) -> Signals:
        """The signals that a fit regresses on: the masked ones."""
        return sources

    def start(self, values: Signals) -> tuple[Signals, Signals]:
        """S and A at the logits: y_c at class c, 0 elsewhere."""
        target = self.case.options["target"]
        top = torch.zeros_like(values[self.case.logits])
        top[:, target] = values[self.case.logits][:, target]
        return {self.case.logits: top}, {self.case.logits: self.first_attribution(top)}

    def first_attribution(self, top: Tensor) -> Tensor:
        return top

    def descend(
        self,
        step: Step,
        weights: Weights | None,
        values: Signals,
        switches: Signals,
        sources: Signals,
        attributions: Signals,
    ) -> None:
        """S and A at one step's tensor, added to the signals above it."""
        name = step["tensor"]
        if weights is None:
            source = self.branch_signal(step["branches"][0], sources, switches)
            attribution = self.branch_signal(step["branches"][0], attributions, switches)
        else:
            source = self.predict(step, weights, sources, switches)
            attribution = self.predict(step, self.linear(weights), attributions, switches)
        source, attribution = self.living(step, source), self.living(step, attribution)
        if self.is_masked(name):
            keep = self.mask(values[name], step).to(source.dtype)
            source, attribution = source * keep, attribution * keep
        sources[name], attributions[name] = source, attribution

    def linear(self, weights: Weights) -> Weights:
        """What A follows: no intercept."""
        return Weights(weights.blocks, None)

    def is_masked(self, name: str) -> bool:
        """Section 3 of the method: every tensor, but the input; an inner tensor that is explained too."""
        options = self.case.options
        if not options["local"] or name in {layer["output"] for layer in self.case.layers if layer.get("inner")}:
            return False
        if not self.is_explained(name):
            return True
        return options["at"] is not None if options["input_mask"] is None else bool(options["input_mask"])

    def is_explained(self, name: str) -> bool:
        """Whether a tensor is the explained one, or its numbers in another shape: a Flatten computes nothing."""
        moves = ("Reshape", "Transpose")
        behind = {layer["output"]: layer["inputs"][0] for layer in self.case.layers if layer["kind"] in moves}
        while name != self.case.explained and name in behind:
            name = behind[name]
        return bool(name == self.case.explained)

    def rows(self) -> Tensor:
        """Section 4: the samples that a fit uses, bool [n]."""
        options = self.case.options
        if options["fit_on"] == "all":
            return torch.ones(self.case.manifest["samples"], dtype=torch.bool)
        logits = self.case.value(self.case.logits)
        labels = self.case.golden("labels") if self.case.has("labels") else logits.argmax(dim=1)
        return labels == options["target"]

    def golden_values(self) -> Signals:
        names = [*self.case.starts, *(layer["output"] for layer in self.case.layers)]
        return {name: self.case.value(name) for name in names}

    def states(self, values: Signals) -> Signals:
        """What the way back asks of the samples, by the output of its layer."""
        return self.switches(values) | self.winners(values) | self.more_states(values)

    def more_states(self, values: Signals) -> Signals:
        """Those that a case holds no arrays of, as they are made of values."""
        return self.gates(values) | self.divisors(values) | self.gates_of_steps(values)

    def golden_states(self) -> Signals:
        recorded = {"MaxPool": "switch", "Extremum": "winner"}
        asked = [(layer["output"], recorded.get(layer["kind"])) for layer in self.case.layers]
        chosen = {name: self.case.golden(f"forward/{what}/{name}") for name, what in asked if what is not None}
        return chosen | self.more_states(self.golden_values())

    def golden_signals(self, which: str) -> Signals:
        names = [self.case.logits, *(step["tensor"] for step in self.case.steps)]
        return {name: self.case.golden(f"propagate/{which}/{name}") for name in names}

    def golden_weights(self, step: Step) -> Weights:
        name = step["tensor"]
        blocks = [self.case.golden(branch["weight"]) for branch in step["branches"]]
        return Weights(blocks, self.case.golden(f"solve/intercept/{name}") if step["intercept"] else None)
