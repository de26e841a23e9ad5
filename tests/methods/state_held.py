"""What LRP-ε with constant states equals: gradient × input by autograd with these held (CP-LRP, method, section 10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from tests.methods.recorded import Case
from tests.oracles.autograd import Held, apply_op
from tests.oracles.spec import Activation, Array, Op, Written, input_name


def with_state_held(case: Case, values: dict[str, Array], held: Callable[[Op, Sequence[Any]], Any]) -> Array:
    """Gradient × input where each slope f(x) / x is a constant, and what `held` says, at the input [n, ...].

    held: an op of its inputs in torch with the state in them held; None for an op that has none.
    """
    start = input_name(case.network.ops)
    x = torch.tensor(values[start], requires_grad=True)
    kept = {start: x}
    for op in case.network.ops:
        xs = [kept[name] for name in op.inputs]
        if isinstance(op, Activation | Written):
            slope = values[op.output] / np.where(values[op.inputs[0]] == 0, 1, values[op.inputs[0]])
            y = xs[0] * torch.tensor(slope)
        else:
            y = held(op, xs)
        if y is None:
            y = apply_op(op, xs, torch.relu)
        kept[op.output] = Held.apply(y, torch.tensor(values[op.output]))
    logits = kept[case.network.ops[-1].output]
    total = logits[torch.arange(len(logits)), torch.tensor(case.targets)].sum()
    (slope,) = torch.autograd.grad(total, x)
    return np.asarray((slope * x).detach())
