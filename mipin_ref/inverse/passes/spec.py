"""One pass over the data, told in names of tensors: the same record for this process, a worker and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mipin_ref.backend import Backend
from mipin_ref.inverse.descent.batch import needs
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.passes.target import ALL_CLASSES, TargetState
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import Shape, Stateful

Key = tuple[str, str]
"""What is recorded: ("value", tensor) or ("taps", max-pool output)."""

Problems = Mapping[int, Mapping[str, Problem]]
"""What a pass adds up: by target and tensor."""


@dataclass(frozen=True)
class PassSpec:
    """One pass over the data: from the signals `start` down `path` to the sums of `fitted`, for some targets.

    wave, group: its place in the fit, by tensors and then by targets; samples: of every target's problem.
    store: signals that it keeps, those of `on_disk` there; seeded: it starts from the logits; later: what passes behind
    it will need recorded, what comes first in front.
    kept, weights: tensors whose signals and whose weights are wanted behind it for its targets; recorded: recordings.
    batch_size: samples a batch; coalesced: samples that are put together before they are summed; looks:
    it notes what the network is shown, as the one of a fit does that reads the data whatever is kept.
    """

    wave: int
    group: int
    samples: Mapping[int, int]
    fitted: tuple[str, ...]
    path: tuple[str, ...]
    start: frozenset[str]
    store: tuple[str, ...]
    on_disk: frozenset[str]
    seeded: bool
    later: tuple[Key, ...]
    kept: frozenset[str]
    recorded: frozenset[Key]
    weights: frozenset[str]
    batch_size: int
    coalesced: int
    looks: bool

    @property
    def title(self) -> str:
        """The pass in words."""
        more = f" and {len(self.fitted) - 1} more" if len(self.fitted) > 1 else ""
        of = "all classes" if ALL_CLASSES in self.samples else f"class {', '.join(map(str, self.samples))}"
        return f"{self.fitted[0]}{more}, {of}"

    def unwanted(self, key: tuple[int, str]) -> bool:
        """Whether the signal of a target and tensor is of no use behind it."""
        target, name = key
        return target in self.samples and name not in self.kept

    def fitted_steps(self, plan: Plan) -> tuple[Step, ...]:
        return tuple(plan.step_of[name] for name in self.fitted)

    def path_steps(self, plan: Plan) -> tuple[Step, ...]:
        return tuple(plan.step_of[name] for name in self.path)

    def problems(self, backend: Backend, plan: Plan) -> dict[int, dict[str, Problem]]:
        """The least-squares problems that it adds up, by target and tensor."""
        steps = self.fitted_steps(plan)
        return {
            target: {
                step.tensor: Problem(backend, step, plan.is_column(step), samples, plan.held_out) for step in steps
            }
            for target, samples in self.samples.items()
        }

    def needs(self, plan: Plan, state: Mapping[int, TargetState]) -> tuple[list[str], dict[str, Stateful]]:
        """What it must have recorded: tensors, and max-pools by output."""
        tensors, pools = needs(self.path_steps(plan), self.fitted_steps(plan))
        if self.seeded or any(known.rows is None for known in state.values()):
            tensors.append(plan.logits)
        return tensors, pools


def signal_shape(plan: Plan, shapes: Mapping[str, Shape], name: str) -> Shape:
    """The shape of a tensor's signal a sample: the tensor's, but one number where only the target's logit counts."""
    return (1,) if name == plan.logits and plan.column else shapes[name]
