"""Normalisations, Dense on tokens and means over some axes against brute force: S and A at every tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.plan import make_plan
from tests.backends import NAMES, backend, relative_error
from tests.networks.norms import NETWORKS, SHAPE
from tests.oracles.export import to_onnx
from tests.oracles.forward import forward
from tests.oracles.mipin import mipin
from tests.oracles.spec import Op

TOLERANCE = 1e-8
"""Relative to the largest value of the tensor, in float64: systems are conditioned below 1e7, as the ridge sees to."""


def agrees(ops: Sequence[Op], name: str, **options: bool) -> None:
    x = np.random.default_rng(1).standard_normal((24, *SHAPE)).astype(np.float32)
    net = mr.load(to_onnx(ops, SHAPE))
    # The oracle's own forward pass is in double precision, and S is compared to more digits than single has.
    values = Recorder(net, list(net.shapes))(x).values
    own = forward(ops, x)
    # What the reader adds between has no name in the file.
    assert own.keys() <= values.keys()
    for tensor, value in own.items():
        assert relative_error(values[tensor], value) < 1e-5, tensor
    expected = mipin(ops, x, 1, values=values, **options)  # type: ignore[arg-type]
    device = backend(name)
    inverse = mr.fit(net, x, 1, backend=device, **options)  # type: ignore[arg-type]
    for step in (step for step in inverse.plan.steps if step.tensor in own):
        plan = inverse.plan if step.tensor == net.input else make_plan(net, at=step.tensor, local=True, input_mask=None)
        found = replace(inverse, plan=plan).attribute(x)
        error = relative_error(found.source, expected.source[step.tensor])
        assert error < TOLERANCE, f"S at {step.tensor}: {error:.1e}"
        error = relative_error(found.attribution, expected.attribution[step.tensor])
        assert error < TOLERANCE, f"A at {step.tensor}: {error:.1e}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", NETWORKS)
def test_signals_are_those_of_brute_force(made: str, name: str) -> None:
    agrees(NETWORKS[made](), name)


@pytest.mark.parametrize("made", ["channels_last", "group_norms"])
def test_with_an_intercept_everywhere(made: str) -> None:
    agrees(NETWORKS[made](), "numpy", conv_bias=True)
