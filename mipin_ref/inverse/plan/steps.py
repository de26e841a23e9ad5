"""What is fitted, as records: branches, the steps that they make up, and the plan of all steps."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.display import OneLine
from mipin_ref.inverse.plan.sharing import Channels
from mipin_ref.layers import HostArray, Layer, Located, Shape, Shared, as_kind
from mipin_ref.layers.kind import Flags


@dataclass(frozen=True, eq=False)
class Branch(OneLine):
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
class Step(OneLine):
    """The signal of `tensor` from those of its branches; `intercept`: the fit has one; `mask`: by what fired;
    `axis`: that of the channels, counted with the batch; `alive`: the locations [*shape], with one channel, from which
    a path leads to the target, None for all; the others have no signal and are no rows of the fit; channel_of: of a map
    that a Dense reads flat, the channel of each element [features], which then share weights (option
    `share_locations`), None where each element is a channel of its own.
    """

    tensor: str
    shape: Shape
    branches: tuple[Branch, ...]
    intercept: bool
    mask: bool
    positive: bool = False
    axis: int = 1
    alive: Flags | None = None
    channel_of: Channels | None = None

    @cached_property
    def rows(self) -> tuple[int, ...] | None:
        """The locations that are rows of the fit, counted over the axes other than the channels'; None for all."""
        return None if self.alive is None else tuple(int(place) for place in np.flatnonzero(self.alive))

    def living(self, backend: Backend, signal: Array) -> Array:
        """The signal [n, *shape] without that of dead locations."""
        return signal if self.alive is None else signal * backend.xp.astype(backend.put(self.alive), signal.dtype)

    def fired(self, values: HostArray) -> npt.NDArray[np.bool_]:
        """Which values of the tensor fired (Eq. 9): not zero, or, behind a SiLU and its kin, above zero."""
        return np.greater(values, 0) if self.positive else np.not_equal(values, 0)

    @property
    def channels(self) -> int:
        """How many there are; a sample that is one number, without an axis, is one channel."""
        if self.channel_of is not None:
            return int(self.channel_of.max()) + 1
        return self.shape[self.axis - 1] if self.shape else 1

    @property
    def locations(self) -> int:
        """How many elements of a flattened map share their weights; 1 where none do."""
        return 1 if self.channel_of is None else len(self.channel_of) // self.channels

    @cached_property
    def _order(self) -> Channels | None:
        """The elements of a flattened map, channel after channel; None where they lie so."""
        if self.channel_of is None or np.all(self.channel_of[1:] >= self.channel_of[:-1]):
            return None
        return np.argsort(self.channel_of, kind="stable")

    def in_front(self, shape: Shape) -> Shape:
        """A per-sample shape that has the channels where the tensor has them, with them first."""
        if self.channel_of is not None:
            return (self.channels, self.locations)
        return (shape[self.axis - 1], *shape[: self.axis - 1], *shape[self.axis :]) if shape else shape

    def channels_first(self, backend: Backend, x: Array) -> Array:
        """The same of an array [n, *shape]; of a flattened map whose locations share weights [n, C, locations]."""
        if self.channel_of is not None:
            together = x if self._order is None else backend.xp.take(x, backend.put(self._order), axis=1)
            return backend.xp.reshape(together, (x.shape[0], *self.in_front(self.shape)))
        if self.axis == 1:
            return x
        return backend.xp.permute_dims(x, (0, self.axis, *(i for i in range(1, x.ndim) if i != self.axis)))

    def per_channel(self, backend: Backend, values: Array) -> Array:
        """One value a channel [C], as it broadcasts to the tensor."""
        if self.channel_of is not None:
            return backend.xp.take(values, backend.put(self.channel_of), axis=0)
        return backend.xp.reshape(values, (-1,) + (1,) * (len(self.shape) - self.axis))

    def spread(self, backend: Backend, values: Array) -> Array:
        """What a Dense gives for each channel [n, C], at all elements of the channel [n, *shape]."""
        if self.channel_of is None:
            return values
        return backend.xp.take(values, backend.put(self.channel_of), axis=1)

    @property
    def fitted(self) -> bool:
        return len(self.branches) > 1 or self.branches[0].parametric

    @cached_property
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
    def located(self) -> tuple[Located, ...]:
        """The layers of the shared branches where locations are rows of the fit."""
        return () if self.dense else tuple(as_kind(branch.layer, Located) for branch in self.shared)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for branch in self.branches for layer in branch.layers)


@dataclass(frozen=True, eq=False)
class Plan(OneLine):
    """steps: from the logits down to `explained`; column: the logits' one non-zero entry reaches a Dense directly;
    asked: the tensor as the option `at` names it, None for the input; common: the tensor from which down one inverse
    serves all targets, None for none; given: tensors whose signals come from outside the steps, as the logits' do;
    held_out: each fit picks its ridge on samples that are held out.
    """

    steps: tuple[Step, ...]
    logits: str
    explained: str
    column: bool
    asked: str | None = None
    common: str | None = None
    given: frozenset[str] = frozenset()
    held_out: bool = False

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
            if name in kept or name == self.logits or name in self.given:
                start.add(name)
            elif name not in taken:
                taken.add(name)
                stack.extend(self.step_of[name].reads)
        return tuple(step for step in self.steps if step.tensor in taken), frozenset(start)


def block_shapes(step: Step, *, column: bool) -> list[tuple[int, ...]]:
    """The shape of each of a step's blocks of weights; column: the target's output is the only regressor."""
    shapes = [
        branch.layer.block_shape(column=column) if isinstance(branch.layer, Shared) else (step.channels,)
        for branch in step.branches
    ]
    # Where locations share weights, all that are shared are a Dense's [in, out].
    return shapes if step.channel_of is None else [(step.channels, *shape[1:]) for shape in shapes]
