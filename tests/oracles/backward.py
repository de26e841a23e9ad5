"""One sweep back over a network of spec.py, op by op: autograd of each op alone, at recorded values, or a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from tests.oracles.autograd import apply_op
from tests.oracles.spec import Array, Integers, Op, output_name

Special = Callable[[Op, Array], Sequence[Array] | None]
"""(op, signal at its output) -> signals at its inputs; None for the op's own Jacobian."""


def jacobian_product(op: Op, xs: Sequence[Array], signal: Array) -> list[Array]:
    """Jᵀ signal of one op at its inputs xs."""
    leaves = [torch.tensor(np.asarray(x), requires_grad=True) for x in xs]
    y = apply_op(op, leaves, torch.relu)
    return [np.asarray(g) for g in torch.autograd.grad(y, leaves, torch.tensor(np.asarray(signal)))]


def swept(ops: Sequence[Op], values: Mapping[str, Array], seed: Array, special: Special) -> dict[str, Array]:
    """The signal at every tensor that leads to the output, from `seed` [n, classes] there.

    values: recorded, [N, ...] of every tensor.
    """
    signals = {output_name(ops): seed}
    for op in reversed(ops):
        signal = signals.get(op.output)
        if signal is None:
            continue
        parts = special(op, signal)
        if parts is None:
            parts = jacobian_product(op, [values[name] for name in op.inputs], signal)
        for name, part in zip(op.inputs, parts, strict=True):
            signals[name] = signals[name] + part if name in signals else part
    return signals


def one_hot(targets: Integers, classes: int) -> Array:
    """[n, classes]."""
    return np.asarray(np.eye(classes)[targets])
