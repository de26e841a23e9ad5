"""A ⊙ X of some samples without source signals is what `attribute` gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.data import as_samples
from mipin_ref.graph import forward
from mipin_ref.inverse.common.contributions import Contributions
from mipin_ref.inverse.passes.task import FitTask
from tests.inverse.common.test_auto import convolutions
from tests.inverse.test_graphs import living_graph
from tests.networks import sample_inputs, to_onnx

ROWS = [0, 3, 4, 11, 19]


def task_of(inverse: mr.Inverse, x: np.ndarray, memory: int = 1 << 30) -> FitTask:
    net = inverse.net
    data = as_samples(x, None, whole=net.whole, inputs=net.inputs)
    return FitTask(net, inverse.plan, inverse.options, inverse.backend, data, None, memory, None)


# Sums in another order, of a few tensors: some hundred roundings.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize("seed", [0, 4])
def test_they_are_those_of_attribute(seed: int, dtype: Any, tolerance: float) -> None:
    """Of networks of branches, in the array namespace and in sessions; of no intercept that a fit has."""
    network = living_graph(seed)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 20, 7)
    x = x.astype(np.float32)
    inverse = mr.fit(net, x, 1, ridge=1.0, dtype=dtype, conv_bias=True)
    assert any(weights.intercept is not None for weights in inverse.weights.values())
    wanted = inverse.attribute(x[ROWS]).contribution
    found = Contributions(task_of(inverse, x), ROWS).of(inverse)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize(("memory", "runs"), [(1 << 30, 1), (1 << 12, 2)])
def test_what_is_recorded_is_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch, memory: int, runs: int) -> None:
    """From one inverse to the next; without room it is recorded again, and the numbers are the same."""
    net, x = convolutions()
    one, other = (mr.fit(net, x, target, ridge=300.0) for target in (0, 1))
    tried = Contributions(task_of(one, x, memory), ROWS)
    recorded: list[int] = []
    call = forward.Recorder.__call__

    def noted(self: forward.Recorder, batch: np.ndarray, *given: Any, **more: Any) -> Any:
        recorded.append(len(batch))
        return call(self, batch, *given, **more)

    monkeypatch.setattr(forward.Recorder, "__call__", noted)
    found = [tried.of(inverse) for inverse in (one, other)]
    assert sum(recorded) == runs * len(ROWS)
    for inverse, contribution in zip((one, other), found, strict=True):
        wanted = inverse.attribute(x[ROWS]).contribution
        np.testing.assert_allclose(contribution, wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())


def test_another_class_is_another_contribution() -> None:
    net, x = convolutions()
    one, other = (mr.fit(net, x, target, ridge=300.0) for target in (0, 1))
    tried = Contributions(task_of(one, x), ROWS)
    assert np.abs(tried.of(one) - tried.of(other)).max() > 1e-3
    np.testing.assert_array_equal(tried.of(one), tried.of(replace(one)))
