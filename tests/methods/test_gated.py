"""The other methods on gates, maxima of tensors and sums that broadcast: autograd, and autograd with the state held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from tests.backends import backend, on_every_backend, relative_error
from tests.methods.recorded import Case
from tests.networks.gated import GATED
from tests.oracles.autograd import Held, apply_op, gradients
from tests.oracles.spec import Activation, Array, Gate, Written, input_name

BY_OPS = [name for name in GATED if "written" not in name]


def tolerance(name: str) -> float:
    """Share of the largest value; constants of what is written out are rounded to single precision in the file."""
    return 1e-12 if name in BY_OPS else 1e-6


@on_every_backend
@pytest.mark.parametrize("case_name", GATED)
def test_gradient_equals_autograd(name: str, case_name: str) -> None:
    case = Case.of(GATED[case_name](1), 1)
    values = case.values()
    expected = gradients(case.network.ops, values, case.targets)
    for tensor in case.net.shapes:
        res = mr.attribute(case.net, case.x, case.targets, "gradient", at=tensor, backend=backend(name))
        assert relative_error(res.attribution, expected[tensor]) < tolerance(case_name), tensor


def with_state_held(case: Case, values: dict[str, Array]) -> Array:
    """Gradient × input where each gate and each slope f(x) / x is a constant (CP-LRP), at the input [n, ...]."""
    x = torch.tensor(values[input_name(case.network.ops)], requires_grad=True)
    kept = {input_name(case.network.ops): x}
    for op in case.network.ops:
        xs = [kept[name] for name in op.inputs]
        y: Any
        if isinstance(op, Activation | Written):
            slope = values[op.output] / np.where(values[op.inputs[0]] == 0, 1, values[op.inputs[0]])
            y = xs[0] * torch.tensor(slope)
        elif isinstance(op, Gate):
            y = apply_op(op, [xs[0], xs[1].detach()], torch.relu)
        else:
            y = apply_op(op, xs, torch.relu)
        kept[op.output] = Held.apply(y, torch.tensor(values[op.output]))
    logits = kept[case.network.ops[-1].output]
    total = logits[torch.arange(len(logits)), torch.tensor(case.targets)].sum()
    (slope,) = torch.autograd.grad(total, x)
    return np.asarray((slope * x).detach())


@on_every_backend
@pytest.mark.parametrize("case_name", GATED)
def test_lrp_epsilon_equals_gradient_times_input_with_the_state_held(name: str, case_name: str) -> None:
    """Forward passes round in single precision, and z is computed anew: 1e-4 of the largest."""
    case = Case.of(GATED[case_name](1), 1)
    expected = with_state_held(case, case.values())
    res = mr.attribute(case.net, case.x, case.targets, "lrp-epsilon", epsilon=1e-12, backend=backend(name))
    assert relative_error(res.attribution, expected) < 1e-4


@pytest.mark.parametrize("case_name", BY_OPS)
def test_integrated_gradients_are_complete(case_name: str) -> None:
    """Through the gate too: what is missing is the error of the quadrature at kinks."""
    case = Case.of(GATED[case_name](1), 1)
    res = mr.attribute(case.net, case.x, case.targets, "integrated-gradients", steps=300)
    assert res.delta is not None
    assert np.max(np.abs(res.delta)) <= 2e-2 * np.max(np.abs(res.output))


@pytest.mark.parametrize(
    "method", ["deeplift", "lrp-alpha-beta", "deep-taylor", "excitation-backprop", "deconvnet", "guided-backprop"]
)
def test_other_methods_refuse_a_gate_by_name(method: str) -> None:
    case = Case.of(GATED["squeeze and excitation"](1), 1)
    with pytest.raises(mr.UnsupportedModel, match=rf"method '{method}' has no rule for layer .* \(Gate\)"):
        mr.attribute(case.net, case.x, case.targets, method)
