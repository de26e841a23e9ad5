"""RNN, a recurrent layer without gates: h_t = f(W x_t + R h_{t-1} + b), f being tanh or relu (Elman 1990).

It has no cell that the past could reach the present by but the recurrent product, which is therefore content here, as
it is where a file writes the steps out: the layer is drafted as its steps, each a Dense, a sum and an activation
(method, section 2), behind one product with the sequence for all steps, which is inverted as that of an LSTM is
(section 10). An initial state that is computed is content too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import add_affine
from mipin_ref.graph.ops.recurrence import (
    activations_of,
    add_candidate,
    check_form,
    directions_of,
    initial_state,
    parameters_of,
)
from mipin_ref.graph.ops.registry import handles
from mipin_ref.graph.ops.selections import add_selection
from mipin_ref.layers import Activation, Add, Concat, HostArray, Reshape, TokenDense, Wired

FUNCTIONS = {"tanh": "Tanh", "relu": "Relu"}
"""What is followed, by its name in small letters."""

STEPS = 1024
"""Steps of all directions that a layer is written out in."""


@dataclass(frozen=True)
class _Drafting:
    """node: whose first output is one that is read; candidate: W x + b of all steps [T, D · H]; recurrence [D, H, H];
    functions: of each direction. Rows and states of a step are [1, H].
    """

    node: Node
    draft: Draft
    candidate: Signal
    recurrence: HostArray
    functions: tuple[str, ...]

    @property
    def size(self) -> int:
        return int(self.recurrence.shape[-1])

    def name(self, role: str) -> str:
        return self.draft.inner_name(self.node, role)

    def added(self, layer: Wired, axis: int = 1) -> Signal:
        """What a layer makes; axis: of the batch, as the file would have it."""
        self.draft.add(layer, axis=axis)
        return self.draft.signals[layer.output]

    def beside(self, parts: Sequence[Signal], axis: int, output: str) -> Signal:
        """Tensors side by side along an axis of the sample; one alone is itself."""
        if len(parts) == 1:
            return parts[0]
        shape = list(parts[0].sample)
        shape[axis] = sum(part.sample[axis] for part in parts)
        layer = Concat(
            name=output,
            inputs=tuple(part.name for part in parts),
            output=output,
            in_shapes=tuple(part.sample for part in parts),
            out_shape=tuple(shape),
            axis=axis + 1,
        )
        return self.added(layer)


@handles("RNN")
def plain_recurrent(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    reverse, functions = _checked(node, draft, x)
    (steps, _), directions = x.sample, len(reverse)
    weight, recurrence, of_input, of_past = parameters_of(node, draft, x, directions, 1)
    if steps * directions > STEPS:
        raise Refused(f"it takes {steps * directions:,} steps; {STEPS:,} are written out at most")
    named = replace(node, outputs=tuple(filter(None, node.outputs)))
    name = draft.inner_name(named, "candidate")
    candidate = add_candidate(draft, name, x, weight[:, 0], (of_input + of_past)[:, 0])
    drafting = _Drafting(named, draft, candidate, recurrence[:, 0], functions)
    initial = initial_state(node, draft, 5, x, directions, drafting.size)
    states = [
        _direction(drafting, number, range(steps)[:: -1 if back else 1], initial) for number, back in enumerate(reverse)
    ]
    _hand_out(drafting, [*node.outputs, ""][:2], states, reverse)


def _checked(node: Node, draft: Draft, x: Signal) -> tuple[tuple[bool, ...], tuple[str, ...]]:
    """Of each direction whether it goes back, and its function. Refused where an option is none that is followed."""
    check_form(node, draft, x)
    if "clip" in node.attributes:
        raise Refused("it clips its sums, which is not followed")
    reverse = directions_of(node)
    names = activations_of(node) or ["Tanh"] * len(reverse)
    if len(names) != len(reverse) or not {name.lower() for name in names} <= FUNCTIONS.keys():
        raise Refused(f"its activations are {', '.join(names)}; followed are {', '.join(FUNCTIONS.values())}")
    return reverse, tuple(FUNCTIONS[name.lower()] for name in names)


def _direction(drafting: _Drafting, number: int, order: range, initial: HostArray | Signal) -> dict[int, Signal]:
    """The hidden states [1, H] of one direction, by step."""
    draft, size, states = drafting.draft, drafting.size, dict[int, Signal]()
    several = len(drafting.functions) > 1
    columns = np.arange(number * size, (number + 1) * size) if several else None
    before: Signal | None = None
    if isinstance(initial, Signal):
        name = drafting.name(f"direction {number} initial")
        before = add_selection(draft, name, name, initial, [np.array([number]) if several else None, None])
    for step in order:
        role = f"direction {number} step {step}" if several else f"step {step}"
        picked = drafting.name(f"{role} candidate")
        rows = np.array([step]) if len(order) > 1 else None
        total = add_selection(draft, picked, picked, drafting.candidate, [rows, columns])
        if before is not None:
            total = _with_past(drafting, number, total, before, role)
        elif not isinstance(initial, Signal) and np.any(initial[number]):
            shift = drafting.recurrence[number].astype(np.float64) @ initial[number].astype(np.float64)
            name = drafting.name(f"{role} sum")
            node = replace(drafting.node, name=name, outputs=(name,))
            add_affine(node, draft, total, np.ones_like(shift)[None], shift[None])
            total = draft.signals[name]
        name = drafting.name(f"{role} state")
        before = states[step] = drafting.added(
            Activation(
                name=name,
                inputs=(total.name,),
                output=name,
                in_shapes=(total.sample,),
                out_shape=total.sample,
                function=drafting.functions[number],
            )
        )
    return states


def _with_past(drafting: _Drafting, number: int, row: Signal, before: Signal, role: str) -> Signal:
    """What a step takes of the sequence and of the state before it."""
    product, total = drafting.name(f"{role} product"), drafting.name(f"{role} sum")
    past = drafting.added(
        TokenDense(
            name=product,
            inputs=(before.name,),
            output=product,
            in_shapes=(before.sample,),
            out_shape=before.sample,
            weight=np.ascontiguousarray(drafting.recurrence[number].T),
            bias=np.zeros(drafting.size, drafting.draft.dtype),
            axis=2,
        )
    )
    return drafting.added(
        Add(
            name=total,
            inputs=(row.name, past.name),
            output=total,
            in_shapes=(row.sample, past.sample),
            out_shape=row.sample,
        )
    )


def _hand_out(
    drafting: _Drafting, outputs: Sequence[str], states: Sequence[dict[int, Signal]], reverse: Sequence[bool]
) -> None:
    """Draft the outputs of the node that are read: Y [T, D, N, H], and of the last steps Y_h [D, N, H]."""
    draft, size, directions = drafting.draft, drafting.size, len(states)
    if outputs[0] and outputs[0] in draft.read:
        every = [
            drafting.beside([one[step] for step in sorted(one)], 0, drafting.name(f"direction {number} steps"))
            for number, one in enumerate(states)
        ]
        whole = drafting.beside(every, 1, drafting.name("steps"))
        shape = (len(states[0]), directions, size)
        layer = Reshape(
            name=outputs[0], inputs=(whole.name,), output=outputs[0], in_shapes=(whole.sample,), out_shape=shape
        )
        drafting.added(layer, axis=2)
    if outputs[1] and outputs[1] in draft.read:
        last = [one[0 if back else len(one) - 1] for one, back in zip(states, reverse, strict=True)]
        if directions == 1:
            draft.alias(outputs[1], last[0])
        else:
            drafting.beside(last, 0, outputs[1])
