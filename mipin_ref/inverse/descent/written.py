"""Signals down the plan written as ONNX: what `descend` computes, for a file or for a session of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from mipin_ref.graph.document import BOOL, Back, Document
from mipin_ref.graph.fired import Fired
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.plan import Branch, Plan, Step
from mipin_ref.layers import HostArray, Layer, Shape, Shared, Stateful, Switches, as_kind

Choose = Callable[[str, Sequence[HostArray]], str]
"""Stores an array, given for each target, under a role, and tells the name of what serves the target asked for."""


class Written:
    """Writes the steps from the logits down, both signals as rows of one tensor [2n, *shape], source signals first, or
    source signals alone.

    document: that is written to; plans, weights: of each target, fitted tensor -> its inverse; value: the name of a
    recorded value, of its tensor; choose: see `Choose`; won: the name of recorded switches, of the tensor that a
    pool makes; fire: the name of what is told of which values fired; None of both in a file for others, where recorded
    values tell them; signals: how many come back, one or two.
    """

    def __init__(
        self,
        document: Document,
        plans: Sequence[Plan],
        weights: Sequence[Mapping[str, Weights]],
        value: Callable[[str], str],
        choose: Choose,
        won: Callable[[str, Switches], str] | None = None,
        fire: Callable[[Fired], str] | None = None,
        signals: int = 2,
    ) -> None:
        self._signals = signals
        self._document, self._plans, self._weights = document, plans, weights
        self._value, self._choose, self._won, self._fire = value, choose, won, fire
        self._masks: dict[tuple[str, bool], str] = {}
        self._states: dict[tuple[str, int], str] = {}

    def down(self, steps: Sequence[Step], seed: str, logits: str) -> dict[str, str]:
        """The names of the signals at the tensors of all steps; seed: of those at `logits`."""
        signals = {logits: seed}
        for step in steps:
            signals[step.tensor] = self.stepped(step, signals)
        return signals

    def stepped(self, step: Step, signals: Mapping[str, str]) -> str:
        """The name of the signals at a step's tensor, from those of the signals that it reads."""
        document, name = self._document, step.tensor
        parts = [self._branch(step, number, branch, signals) for number, branch in enumerate(step.branches)]
        made = parts[0] if len(parts) == 1 else document.append("Sum", parts, document.fresh(f"back/{name}/sum"))
        weights = [one[step.tensor] for one in self._weights] if step.fitted else []
        intercepts = [one.intercept for one in weights if one.intercept is not None]
        if not intercepts and not step.mask and step.alive is None:
            return made
        if self._signals == 2:
            view = document.constant("two", np.array([2, -1, *step.shape], np.int64))
            made = document.append("Reshape", [made, view], document.fresh(f"back/{name}/two"))
        if intercepts:
            placed = _each(lambda one: _placed(step, one)[None], intercepts)
            added = self._choose(f"back/{name}/intercept", [one[0] for one in placed] if self._signals == 1 else placed)
            if self._signals == 2:
                none = document.weight(f"back/{name}/no intercept", np.zeros_like(placed[0]))
                both = [added, none]
                added = document.append("Concat", both, document.fresh(f"back/{name}/intercepts"), axis=0)
            made = document.append("Add", [made, added], document.fresh(f"back/{name}/shifted"))
        if step.mask:
            made = document.append("Mul", [made, self._mask(step)], document.fresh(f"back/{name}/masked"))
        if step.alive is not None:
            alive = [one.step_of[name].alive for one in self._plans]
            flags = [np.ones((1,) * len(step.shape)) if one is None else one * 1.0 for one in alive]
            kept = self._choose(f"back/{name}/alive", [np.broadcast_to(one, _widest(flags)) for one in flags])
            made = document.append("Mul", [made, kept], document.fresh(f"back/{name}/living"))
        if self._signals == 1:
            return made
        rows = document.constant("rows", np.array([-1, *step.shape], np.int64))
        return document.append("Reshape", [made, rows], document.fresh(f"back/{name}/signals"))

    def _branch(self, step: Step, number: int, branch: Branch, signals: Mapping[str, str]) -> str:
        document = self._document
        blocks = [one[step.tensor].blocks[number] for one in self._weights] if step.fitted else []
        prefix = f"back/{step.tensor}/{number}"
        pulled = [
            self._through(layer, branch.slot, signals, f"{prefix}.{i}", blocks) for i, layer in enumerate(branch.layers)
        ]
        made = pulled[0] if len(pulled) == 1 else document.append("Sum", pulled, document.fresh(f"{prefix}/together"))
        if step.channel_of is not None and isinstance(branch.layer, Shared):
            places = document.constant(f"channels of {step.tensor}", step.channel_of)
            return document.append("Gather", [made, places], document.fresh(f"{prefix}/spread"), axis=1)
        if not step.fitted or isinstance(branch.layer, Shared):
            return made
        shares = self._choose(f"{prefix}/weights", _each(lambda block: _placed(step, block), blocks))
        return document.append("Mul", [made, shares], document.fresh(f"{prefix}/weighted"))

    def _through(
        self, layer: Layer, slot: int, signals: Mapping[str, str], prefix: str, blocks: Sequence[HostArray]
    ) -> str:
        """The name of the signals [.., *in_shapes[slot]] of a layer, before weights that are not shared."""

        def block(form: Callable[[HostArray], HostArray]) -> str:
            return self._choose(f"{prefix}/block", _each(form, blocks))

        def state() -> str:
            return self._state(as_kind(layer, Stateful), slot, writer)

        won = None if self._won is None else partial(self._won, layer.output)
        writer = Back(self._document, prefix, self._value, state, block, won, self._signals)
        return layer.emit_back(writer, signals[layer.output], slot)

    def _state(self, layer: Stateful, slot: int, writer: Back) -> str:
        key = layer.output, slot
        if key not in self._states:
            self._states[key] = layer.emit_state(writer, slot)
        return self._states[key]

    def _mask(self, step: Step) -> str:
        """Ones [n, *shape] where the tensor fired (Eq. 9)."""
        document, key = self._document, (step.tensor, step.positive)
        if key not in self._masks:
            name = f"mask/{step.tensor}"
            fired = self._compared(step, name) if self._fire is None else self._fire(key)
            self._masks[key] = document.append("Cast", [fired], document.fresh(name), to=document.element)
        return self._masks[key]

    def _compared(self, step: Step, name: str) -> str:
        document, value = self._document, self._value(step.tensor)
        if step.positive:
            return document.append("Greater", [value, document.weight("zero", 0.0)], document.fresh(f"{name}/fired"))
        return document.append("Cast", [value], document.fresh(f"{name}/fired"), to=BOOL)


def _each(form: Callable[[HostArray], HostArray], arrays: Sequence[HostArray]) -> list[HostArray]:
    """A form of each array; of one that is there for many targets once, so that it is still one."""
    made: dict[int, HostArray] = {}
    return [made[id(one)] if id(one) in made else made.setdefault(id(one), form(one)) for one in arrays]


def _placed(step: Step, values: HostArray) -> HostArray:
    """One value a channel [C] as it broadcasts to [1, *shape]."""
    if not step.shape:
        return values.reshape(1)
    if step.channel_of is not None:
        return values[None, step.channel_of]
    shape = [1] * (len(step.shape) + 1)
    shape[step.axis] = len(values)
    return values.reshape(shape)


def _widest(flags: Sequence[HostArray]) -> Shape:
    return np.broadcast_shapes(*(one.shape for one in flags))
