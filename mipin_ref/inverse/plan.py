"""Algorithm 1 unrolled: which tensor each step yields, whether it is fitted, and whether it is masked."""

from __future__ import annotations

from dataclasses import dataclass

from mipin_ref.errors import InvalidData
from mipin_ref.graph.layer import Activation, Conv, Dense, Layer, MaxPool, Reshape, Transpose
from mipin_ref.graph.network import Network


@dataclass(frozen=True, eq=False)
class Step:
    """The inversion of one layer: yields the signal of its input tensor; `mask` it by that tensor's non-zeros."""

    layer: Layer
    fitted: bool
    mask: bool

    @property
    def tensor(self) -> str:
        return self.layer.input


@dataclass(frozen=True, eq=False)
class Plan:
    """steps: from the logits down to `explained`; column: the logits' one non-zero entry reaches a Dense directly."""

    steps: tuple[Step, ...]
    logits: str
    explained: str
    column: bool

    @property
    def fitted(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.fitted)

    def is_column(self, step: Step) -> bool:
        """Whether the target's output is the only regressor of this step."""
        return self.column and step is self.steps[0]

    def above(self, step: Step) -> tuple[Step, ...]:
        """The steps that must be taken before this one."""
        return self.steps[: self.steps.index(step)]


def make_plan(net: Network, *, at: str | None, local: bool, input_mask: bool | None) -> Plan:
    """The steps from the logits to tensor `at`, by default the network's input.

    A tensor is masked at every step (method of the paper, Eq. 9) except where the mask could change nothing: behind a
    layer that gives zero for zero, a masked output has already silenced what is zero at the input. A tensor that is
    the input reshaped or transposed counts as the input.
    Raises InvalidData where `at` is no tensor between input and logits.
    """
    explained = net.input if at is None else net.tensor(at)
    chain = list(net.layers)
    while chain and chain[0].input != explained:
        chain = chain[1:]
    if not chain:
        raise InvalidData(f"tensor {at!r} holds the logits: there is nothing between it and the target")
    reshaped_input: set[str] = set()
    for layer in net.layers:
        if layer.input not in {net.input, *reshaped_input} or not isinstance(layer, Reshape | Transpose):
            break
        reshaped_input.add(layer.output)
    is_input = {net.input, *reshaped_input}
    mask_explained = input_mask if input_mask is not None else explained not in is_input
    steps = []
    masked_above = False
    for layer in reversed(chain):
        fitted = isinstance(layer, Dense | Conv)
        wanted = local and (mask_explained if layer.input == explained or layer.input in is_input else True)
        implied = masked_above and not fitted and _keeps_zero(layer)
        steps.append(Step(layer, fitted, wanted and not implied))
        masked_above = wanted
    if not any(step.fitted for step in steps):
        raise InvalidData(
            f"no Conv or Dense stands between tensor {explained!r} and the target: nothing is to be fitted"
        )
    column = isinstance(chain[-1], Dense)
    return Plan(tuple(steps), net.logits, explained, column)


def _keeps_zero(layer: Layer) -> bool:
    return layer.keeps_zero if isinstance(layer, Activation) else isinstance(layer, MaxPool | Reshape | Transpose)
