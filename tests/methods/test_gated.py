"""The other methods on gates, maxima of tensors and sums that broadcast: autograd, and autograd with the state held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from tests.backends import backend, on_every_backend, relative_error
from tests.methods.recorded import Case
from tests.methods.state_held import with_state_held
from tests.networks.gated import GATED
from tests.oracles.autograd import apply_op, gradients
from tests.oracles.spec import Gate, Op

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


def gate_held(op: Op, xs: Sequence[Any]) -> Any:
    """A gate as a constant; None for other ops."""
    return apply_op(op, [xs[0], xs[1].detach()], torch.relu) if isinstance(op, Gate) else None


@on_every_backend
@pytest.mark.parametrize("case_name", GATED)
def test_lrp_epsilon_equals_gradient_times_input_with_the_state_held(name: str, case_name: str) -> None:
    """Forward passes round in single precision, and z is computed anew: 1e-4 of the largest."""
    case = Case.of(GATED[case_name](1), 1)
    expected = with_state_held(case, case.values(), gate_held)
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
