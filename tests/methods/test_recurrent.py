"""The other methods on LSTM and GRU: autograd through time, and autograd with gates and recurrent products held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.backends import backend, on_every_backend, relative_error
from tests.methods.recorded import Case
from tests.methods.state_held import with_state_held
from tests.networks.recurrent import RECURRENT
from tests.oracles.autograd import gradients
from tests.oracles.recurrent_torch import recurrent
from tests.oracles.spec import GRU, LSTM, Op


@on_every_backend
@pytest.mark.parametrize("case_name", RECURRENT)
def test_gradient_equals_autograd_through_time(name: str, case_name: str) -> None:
    case = Case.of(RECURRENT[case_name](1), 1)
    values = case.values()
    expected = gradients(case.network.ops, values, case.targets)
    for tensor in (tensor for tensor in case.net.shapes if tensor in expected):
        res = mr.attribute(case.net, case.x, case.targets, "gradient", at=tensor, backend=backend(name))
        # In double precision, from recorded values; a step multiplies roundings by at most a few.
        assert relative_error(res.attribution, expected[tensor]) < 1e-11, tensor


def gates_held(op: Op, xs: Sequence[Any]) -> Any:
    """An LSTM or a GRU whose gates and recurrent product are constants; None for other ops."""
    if not isinstance(op, LSTM | GRU):
        return None
    # The sequence is state, but for what the candidate takes of it.
    return recurrent(op, [xs[0], *(one.detach() for one in xs[1:])], held=True)


@on_every_backend
@pytest.mark.parametrize("case_name", RECURRENT)
def test_lrp_epsilon_equals_gradient_times_input_with_the_state_held(name: str, case_name: str) -> None:
    """Forward passes round in single precision, and z is computed anew: 1e-4 of the largest."""
    case = Case.of(RECURRENT[case_name](1), 1)
    expected = with_state_held(case, case.values(), gates_held)
    res = mr.attribute(case.net, case.x, case.targets, "lrp-epsilon", epsilon=1e-12, backend=backend(name))
    assert relative_error(res.attribution, expected) < 1e-4


@pytest.mark.parametrize("case_name", ["lstm, both ways, steps and cell", "gru, computed state"])
def test_integrated_gradients_are_complete(case_name: str) -> None:
    case = Case.of(RECURRENT[case_name](1), 1)
    res = mr.attribute(case.net, case.x, case.targets, "integrated-gradients", steps=300)
    assert res.delta is not None
    assert np.max(np.abs(res.delta)) <= 2e-2 * np.max(np.abs(res.output))


@pytest.mark.parametrize("case_name", ["lstm", "gru"])
@pytest.mark.parametrize("method", ["deeplift", "lrp-alpha-beta", "deep-taylor", "excitation-backprop", "deconvnet"])
def test_other_methods_refuse_by_name(method: str, case_name: str) -> None:
    case = Case.of(RECURRENT[case_name](1), 1)
    with pytest.raises(
        mr.UnsupportedModel, match=rf"method '{method}' has no rule for layer .* \((LSTM|GRU|TokenDense)\)"
    ):
        mr.attribute(case.net, case.x, case.targets, method)
