"""DeconvNet and Guided Backprop against a sweep op by op, and against captum."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.methods.recorded import Case
from tests.networks import Draw, Network, graphs, random_chain, random_graph, seeded
from tests.oracles.autograd import Twin
from tests.oracles.backward import jacobian_product, one_hot, swept
from tests.oracles.spec import Activation, Array, Op

TOLERANCE = 1e-12


def expected(case: Case, method: str) -> dict[str, Array]:
    values = case.values()

    def special(op: Op, signal: Array) -> list[Array] | None:
        if not isinstance(op, Activation) or not (op.kind == "Relu" or (op.kind == "Clip" and op.low == 0)):
            return None
        passed = signal if method == "deconvnet" else jacobian_product(op, [values[op.inputs[0]]], signal)[0]
        return [np.where(passed > 0, passed, 0.0)]

    return swept(case.network.ops, values, one_hot(case.targets, case.net.classes), special)


@on_drawn_backend
@settings(max_examples=50, derandomize=True)
@given(network=graphs(), pick=PICKS, seed=st.integers(0, 50), method=st.sampled_from(["deconvnet", "guided-backprop"]))
def test_equal_a_sweep_op_by_op(network: Network, names: tuple[str, ...], pick: int, seed: int, method: str) -> None:
    case, device = Case.of(network, seed), backend(picked(names, pick))
    wanted = expected(case, method)
    for name in case.net.shapes:
        res = mr.attribute(case.net, case.x, case.targets, method, at=name, backend=device)
        assert relative_error(res.attribution, wanted[name]) < TOLERANCE, name


def without_clip(draw: Callable[[Draw], Network], seed: int) -> Network:
    found = (draw(seeded(number)) for number in count(seed, 100))
    return next(n for n in found if not any(isinstance(op, Activation) and op.kind == "Clip" for op in n.ops))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("method", "theirs"),
    [("deconvnet", "Deconvolution"), ("guided-backprop", "GuidedBackprop")],
)
def test_equal_captum(method: str, theirs: str, seed: int) -> None:
    """Where the only rectifiers are Relus, the ones that captum changes."""
    import captum.attr

    network = without_clip(random_chain if seed % 2 else random_graph, seed)
    case = Case.of(network, seed)
    twin = Twin(network.ops).eval()
    twin.held = case.values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explain = getattr(captum.attr, theirs)(twin).attribute
        wanted = explain(torch.tensor(case.x, requires_grad=True), torch.tensor(case.targets))
    found = mr.attribute(case.net, case.x, case.targets, method).attribution
    assert relative_error(found, wanted.detach().numpy()) < TOLERANCE
