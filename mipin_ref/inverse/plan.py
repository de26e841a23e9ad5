"""Algorithm 1 unrolled: which signals reconstruct each tensor, whether weights are fitted, whether it is masked."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from mipin_ref.errors import InvalidData
from mipin_ref.graph.explained import explained as explained_tensor
from mipin_ref.graph.network import Network
from mipin_ref.layers import Conv, Layer, Shape, as_kind
from mipin_ref.layers.kind import disjoint


@dataclass(frozen=True, eq=False)
class Branch:
    """One way by which signals come back to a tensor: through the layer that reads it as its input number `slot`.

    Slices of disjoint boxes are one branch of several layers, as the Split that they are: their signals are put side
    by side.
    """

    layers: tuple[Layer, ...]
    slot: int

    @property
    def layer(self) -> Layer:
        return self.layers[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors whose signals this branch takes."""
        return tuple(layer.output for layer in self.layers)

    @property
    def shared(self) -> bool:
        """Whether its regressors serve all channels of the tensor (a Dense, a Conv) or each one its own."""
        return self.layer.inverse == "shared"

    @property
    def parametric(self) -> bool:
        """Whether the inverse has weights even where it is the tensor's only branch."""
        return self.layer.inverse != "passes"


@dataclass(frozen=True, eq=False)
class Step:
    """The signal of `tensor` from those of its branches; `intercept`: the fit has one; `mask`: by its non-zeros."""

    tensor: str
    shape: Shape
    branches: tuple[Branch, ...]
    intercept: bool
    mask: bool

    @property
    def channels(self) -> int:
        """Length of the first axis; a sample that is one number, without an axis, is one channel."""
        return self.shape[0] if self.shape else 1

    @property
    def fitted(self) -> bool:
        return len(self.branches) > 1 or self.branches[0].parametric

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors whose signals must be known before this one's."""
        return tuple(name for branch in self.branches for name in branch.outputs)

    @property
    def shared(self) -> tuple[Branch, ...]:
        return tuple(branch for branch in self.branches if branch.shared)

    @property
    def own(self) -> tuple[Branch, ...]:
        return tuple(branch for branch in self.branches if not branch.shared)

    @property
    def dense(self) -> bool:
        """Whether a sample is one row of the fit."""
        return any(branch.layer.sample_rows for branch in self.shared)

    @property
    def convolutions(self) -> tuple[Conv, ...]:
        """The layers of the shared branches where locations are rows of the fit."""
        return () if self.dense else tuple(as_kind(branch.layer, Conv) for branch in self.shared)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for branch in self.branches for layer in branch.layers)


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
        return self.column and self.logits in step.reads

    @cached_property
    def step_of(self) -> dict[str, Step]:
        return {step.tensor: step for step in self.steps}

    def path(self, wanted: Iterable[str], kept: Collection[str] = ()) -> tuple[tuple[Step, ...], frozenset[str]]:
        """The steps, in order, from signals `kept` to those `wanted`, and which of these and the logits they need."""
        taken: set[str] = set()
        start: set[str] = set()
        stack = list(wanted)
        while stack:
            name = stack.pop()
            if name in kept or name == self.logits:
                start.add(name)
            elif name not in taken:
                taken.add(name)
                stack.extend(self.step_of[name].reads)
        return tuple(step for step in self.steps if step.tensor in taken), frozenset(start)


def make_plan(net: Network, *, at: str | None, local: bool, input_mask: bool | None, conv_bias: bool = False) -> Plan:
    """The steps from the logits to tensor `at`, by default the network's input.

    A tensor is masked at every step (method of the paper, Eq. 9) except where the mask could change nothing: behind a
    layer that gives zero for zero, a masked output has already silenced what is zero at the input. A tensor that is
    the input reshaped or transposed counts as the input. Layers that do not lead from `at` to the logits take no part.
    Raises InvalidData where `at` is no tensor between input and logits, UnsupportedModel for a layer of an unknown
    kind.
    """
    explained = explained_tensor(net, at)
    if explained == net.logits:
        raise InvalidData(f"tensor {at!r} holds the logits: there is nothing between it and the target")
    between = _between(net, explained)
    if explained not in between:
        raise InvalidData(f"the logits do not depend on tensor {explained!r}")
    is_input = _reshaped(net, net.input)
    mask_explained = input_mask if input_mask is not None else explained not in is_input
    like_explained = _reshaped(net, explained) | is_input
    steps, masked = [], {net.logits}
    for name in reversed([name for name in net.shapes if name in between and name != net.logits]):
        branches = _branches(net, name, between)
        wanted = local and (mask_explained if name in like_explained else True)
        (first, *others) = branches
        implied = not others and all(x.keeps_zero and x.output in masked for x in first.layers)
        intercept = conv_bias or any(b.layer.intercept for b in branches)
        step = Step(name, net.shapes[name], branches, intercept, wanted and not (implied and not first.parametric))
        steps.append(step)
        if wanted:
            masked.add(name)
    if not any(step.fitted for step in steps):
        raise InvalidData(
            f"no layer with weights stands between tensor {explained!r} and the target: nothing is to be fitted"
        )
    producer = next(layer for layer in net.layers if layer.output == net.logits)
    return Plan(tuple(steps), net.logits, explained, producer.sample_rows)


def _between(net: Network, start: str) -> set[str]:
    """The tensors that depend on `start` and that the logits depend on, both included."""
    below, above = {start, *(layer.output for layer in net.behind(start))}, {net.logits}
    for layer in reversed(net.layers):
        if layer.output in above:
            above.update(layer.inputs)
    return below & above


def _reshaped(net: Network, start: str) -> set[str]:
    """`start` and every tensor that holds the same values in another shape or order."""
    found = {start}
    for layer in net.layers:
        if layer.rearranges and layer.input in found:
            found.add(layer.output)
    return found


def _branches(net: Network, name: str, between: Collection[str]) -> tuple[Branch, ...]:
    readers = [(layer, slot) for layer, slot in net.consumers[name] if layer.output in between]
    slices = [layer for layer, _ in readers if layer.cut is not None]
    together = disjoint([layer.cut for layer in slices if layer.cut is not None])
    found = []
    for layer, slot in readers:
        if together and layer.cut is not None:
            if layer is slices[0]:
                found.append(Branch(tuple(slices), 0))
        else:
            found.append(Branch((layer,), slot))
    return tuple(found)
