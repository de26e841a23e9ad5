"""AttnLRP as gradient times input: what a network of spec.py becomes when its gradients share as relevance does.

The ε-rule without ε is gradient × input of a linear layer (Ancona et al., 2018), and so are Propositions 3.1 to 3.4 of
Achtibat et al. (AttnLRP, 2024): a softmax by its true gradient, a factor of a product by half of it, an activation by
its slope f(x) / x as a constant, a normalisation by its divisor as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tests.networks.transformers import share
from tests.oracles.autograd import Held, apply_op
from tests.oracles.spec import Activation, Array, Attention, Gate, Integers, Norm, Op, Scores, Written, input_name


def relevance(ops: Sequence[Op], values: Mapping[str, Array], targets: Integers) -> dict[str, Array]:
    """The relevance of every tensor that leads to the target logits [N], at the recorded values [N, ...]."""
    start = input_name(ops)
    kept = {start: torch.tensor(np.asarray(values[start]), requires_grad=True)}
    for op in ops:
        made = _shared(op, [kept[name] for name in op.inputs], values)
        kept[op.output] = Held.apply(made, torch.tensor(np.asarray(values[op.output])))
    logits = kept[ops[-1].output].reshape(len(targets), -1)
    total = logits[torch.arange(len(targets)), torch.tensor(targets)].sum()
    found = torch.autograd.grad(total, list(kept.values()), allow_unused=True)
    return {
        name: np.asarray(slope) * np.asarray(values[name])
        for name, slope in zip(kept, found, strict=True)
        if slope is not None
    }


def _shared(op: Op, xs: Sequence[Any], values: Mapping[str, Array]) -> Any:
    match op:
        case Activation() | Written():
            x = values[op.inputs[0]]
            return xs[0] * torch.tensor(values[op.output] / np.where(x == 0, 1, x))
        case Gate(function="Div"):
            return xs[0] / xs[1].detach()
        case Gate() | Attention() | Scores():
            return apply_op(op, [share(x, 0.5) for x in xs], torch.relu)
        case Norm():
            return apply_op(op, xs, torch.relu, detached=True)
    return apply_op(op, xs, torch.relu)
