"""Steps of a fit's way down in sessions of onnxruntime against NumPy, both in float32, of the same recordings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.backend import Backend, get_backend
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.descent import step_ride
from mipin_ref.inverse.descent.batch import asked, needs, recorded, to_device
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.descent.step_ride import StepRide, rides
from mipin_ref.inverse.descent.weights import DeviceWeights
from mipin_ref.layers import stateful
from tests.backends import backend, on_every_backend
from tests.export.golden import fitted
from tests.golden.arrays import NAMES
from tests.inverse.drawn import drawn_fit
from tests.networks import random_graph, seeded
from tests.networks.state_stages import EVERY_STAGE

Array = npt.NDArray[Any]

APART = 2.2e-6
"""As in test_ride: 18 eps of float32, of sums in another order down the whole plan."""

SINGLE = get_backend("numpy", "float32")


def of_steps(inverse: mr.Inverse, backend: Backend = SINGLE) -> dict[str, StepRide]:
    """The sessions of all steps that a fit of many samples would give one."""
    on_device = {name: DeviceWeights.of(SINGLE, weights) for name, weights in inverse.weights.items()}
    steps = [step for step in inverse.plan.steps if rides(backend, step, 10**9)]
    return {step.tensor: StepRide(inverse.plan, step, on_device[step.tensor]) for step in steps}


def signals(inverse: mr.Inverse, x: Array, sessions: dict[str, StepRide]) -> dict[str, Array]:
    """The source signals at every tensor of the plan."""
    (net, target), plan = facing(inverse.net, inverse.target), inverse.plan
    masks, layers = needs(plan.steps)
    read, switches = asked(layers.values())
    made = Recorder(net, [*masks, *read, plan.logits], switches)(x)
    batch, logits = to_device(SINGLE, plan.steps, recorded(made, layers)), made.values[plan.logits]
    weights = {name: DeviceWeights.of(SINGLE, own) for name, own in inverse.weights.items()}
    above = {plan.logits: seed(SINGLE, plan, logits, target)}
    every = [step.tensor for step in plan.steps]
    return descend(SINGLE, plan.steps, weights, batch, above, affine=len(x), keep=every, rides=sessions)


def apart(inverse: mr.Inverse, x: Array) -> list[str]:
    """The tensors at which sessions and NumPy are farther apart than rounding."""
    x, sessions = np.asarray(x, np.float32), of_steps(inverse)
    ridden, walked = (signals(inverse, x, some) for some in (sessions, {}))
    return [
        name
        for name, wanted in walked.items()
        if not np.max(np.abs(ridden[name] - wanted)) <= APART * max(float(np.max(np.abs(wanted))), 1e-30)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_golden_cases(name: str) -> None:
    assert not apart(*fitted(name))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 80, 20))
def test_random_networks(start: int) -> None:
    ridden = 0
    for number in range(start, start + 20):
        if (made := drawn_fit(random_graph(seeded(number), stages=EVERY_STAGE), number)) is not None:
            assert not apart(*made)
            ridden += len(of_steps(made[0]))
    assert ridden


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_few_samples_a_run(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: no sample's signal depends on the samples beside it."""
    inverse, x = fitted("golden_cnn")
    x = x.astype(np.float32)
    expected = signals(inverse, x, of_steps(inverse))
    monkeypatch.setattr(step_ride, "samples_a_run", lambda layers, itemsize: size)
    for name, found in signals(inverse, x, of_steps(inverse)).items():
        assert np.array_equal(found, expected[name])


@on_every_backend
def test_only_single_precision_on_the_host_rides(name: str) -> None:
    inverse, _ = fitted("golden_cnn")
    for dtype in ("float32", "float64"):
        assert bool(of_steps(inverse, backend(name, dtype))) == (name == "numpy" and dtype == "float32")


def test_what_depends_on_something_recorded_and_what_is_little_work_stays_in_numpy() -> None:
    inverse, _ = fitted("golden_gates")
    for step in inverse.plan.steps:
        assert not rides(SINGLE, step, 1)
        if stateful(step.layers) or not step.located:
            assert not rides(SINGLE, step, 10**9)


def test_a_fit_gives_the_same_with_sessions_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of both fits within what single precision promises of each."""
    inverse, x = fitted("golden_cnn")
    opened: list[str] = []
    made = StepRide.__init__

    def counted(self: StepRide, plan: Any, step: Any, weights: Any) -> None:
        opened.append(step.tensor)
        made(self, plan, step, weights)

    monkeypatch.setattr(StepRide, "__init__", counted)
    walked = mr.fit(inverse.net, x.astype(np.float32), inverse.target, ridge=1.0, dtype="float32")
    assert not opened
    monkeypatch.setattr(step_ride, "LEAST", 0)
    ridden = mr.fit(inverse.net, x.astype(np.float32), inverse.target, ridge=1.0, dtype="float32")
    assert opened
    for name, one in walked.weights.items():
        for block, other in zip(one.blocks, ridden.weights[name].blocks, strict=True):
            assert np.max(np.abs(block - other)) <= 1e-4 * np.max(np.abs(block))
