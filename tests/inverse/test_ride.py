"""The way back in a session of onnxruntime against NumPy, both in float32, of the same recordings."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.backend import get_backend
from mipin_ref.data.calibration import samples_like
from mipin_ref.graph.rides import Rides
from mipin_ref.inverse import inverse as module
from mipin_ref.inverse.descent.ride import Ride
from mipin_ref.inverse.descent.way import InNamespace
from mipin_ref.layers import Activation
from tests.backends import backend, on_every_backend
from tests.export.golden import fitted
from tests.golden.arrays import NAMES
from tests.inverse.drawn import drawn_fit
from tests.networks import random_graph, seeded
from tests.networks.state_stages import DRAWN, EVERY_STAGE

Array = npt.NDArray[Any]

APART = 2.2e-6
"""Largest difference as a share of the largest entry of the tensor: 18 eps of float32. Both take the same masks and
switches; products are summed in another order, tensor by tensor down the plan.
"""


def narrow(inverse: mr.Inverse) -> mr.Inverse:
    """The same weights applied in float32."""
    return replace(inverse, backend=get_backend("numpy", "float32"))


def descended(inverse: mr.Inverse, x: Array, tensors: list[str], *, ride: bool) -> dict[str, mr.Attribution]:
    return inverse._descended(samples_like(inverse.calibration, x), tensors, None, ride=ride)


def walked(inverse: mr.Inverse, x: Array) -> mr.Attribution:
    """What NumPy makes of the samples in float32."""
    return descended(narrow(inverse), x, [inverse.plan.explained], ride=False)[inverse.plan.explained]


def both(inverse: mr.Inverse, x: Array) -> list[tuple[str, float]]:
    """By tensor and signal how far the session is from NumPy, at every tensor of the plan."""
    x = np.asarray(x, np.float32)
    tensors = [step.tensor for step in inverse.plan.steps]
    assert isinstance(inverse._way(tensors, ride=True), Ride)
    ridden, in_numpy = (descended(inverse, x, tensors, ride=ride) for ride in (True, False))
    apart = []
    for tensor in tensors:
        one, other = ridden[tensor], in_numpy[tensor]
        assert np.array_equal(one.value, other.value)
        assert np.array_equal(one.output, other.output)
        apart += [
            (f"{what} at {tensor}", error(getattr(one, what), getattr(other, what)))
            for what in ("source", "attribution")
        ]
    return apart


def error(found: Array, wanted: Array) -> float:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype == np.float32
    return float(np.max(np.abs(found - wanted)) / max(float(np.max(np.abs(wanted))), 1e-30))


@pytest.mark.parametrize("name", NAMES)
def test_golden_cases(name: str) -> None:
    inverse, x = fitted(name)
    far = [one for one in both(narrow(inverse), x) if one[1] > APART]
    assert not far


def explained(seed: int) -> mr.Inverse | None:
    """A random network's inverse, its session compared with NumPy; None where the logit never varies."""
    if (made := drawn_fit(random_graph(seeded(seed), stages=EVERY_STAGE), seed)) is None:
        return None
    inverse, x = made
    far = [one for one in both(narrow(inverse), x) if one[1] > APART]
    assert not far
    return inverse


@pytest.mark.parametrize("seed", range(10))
def test_some_random_networks(seed: int) -> None:
    explained(700 + seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 100, 25))
def test_more_random_networks(start: int) -> None:
    for seed in range(start, start + 25):
        explained(seed)


@pytest.mark.slow
def test_sessions_go_through_every_kind() -> None:
    seen: set[type] = set()
    for seed in range(300):
        inverse = explained(seed)
        if inverse is not None:
            seen.update(type(layer) for step in inverse.plan.steps for layer in step.layers)
        if seen == DRAWN:
            return
    assert seen == DRAWN


@on_every_backend
def test_only_single_precision_on_the_host_rides(name: str) -> None:
    inverse, _ = fitted("golden_cnn")
    tensors = [inverse.plan.explained]
    for dtype in ("float32", "float64"):
        other = replace(inverse, backend=backend(name, dtype))
        rides = name == "numpy" and dtype == "float32"
        assert isinstance(other._way(tensors, ride=True), Ride if rides else InNamespace)


def test_a_kind_that_cannot_be_written_leaves_the_way_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    inverse, x = fitted("golden_cnn")
    x = x.astype(np.float32)
    expected = walked(inverse, x)
    monkeypatch.setattr(Activation, "no_way_back", "it is told here")
    found = narrow(inverse)
    assert isinstance(found._way([inverse.plan.explained], ride=True), InNamespace)
    assert np.array_equal(found.attribute(x).source, expected.source)


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_batches_of_any_size(batch_size: int | None) -> None:
    """Products of another number of rows may be summed in another order."""
    inverse, x = fitted("golden_pool_overlap")
    x = x.astype(np.float32)
    expected = walked(inverse, x)
    found = narrow(inverse).attribute(x, batch_size=batch_size)
    assert error(found.source, expected.source) <= APART
    assert error(found.attribution, expected.attribution) <= APART


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("name", ["golden_pool_overlap", "golden_cnn", "golden_gates"])
def test_a_few_samples_a_run(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches are places counted over the samples of a run, and over both signals of these."""
    monkeypatch.setattr("mipin_ref.inverse.descent.ride.samples_a_run", lambda layers, itemsize: size)
    inverse, x = fitted(name)
    assert len(x) > size
    far = [one for one in both(narrow(inverse), x) if one[1] > APART]
    assert not far


def test_a_large_batch_lets_go_of_its_workspace_and_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    inverse, x = fitted("golden_cnn")
    own, x = narrow(inverse), x.astype(np.float32)
    first = own.attribute(x, batch_size=len(x))
    ride = own._way([own.plan.explained], ride=True)
    assert isinstance(ride, Ride)
    held = ride.bytes
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    again = own.attribute(x, batch_size=len(x))
    assert ride.bytes < held
    assert np.array_equal(first.source, again.source)
    assert np.array_equal(first.attribution, again.attribution)


def test_the_session_stays_open_for_the_next_call_and_goes_with_its_inverse() -> None:
    inverse, _ = fitted("golden_cnn")
    own = narrow(inverse)
    tensors = [own.plan.explained]
    there = len(module._rides)
    assert own._way(tensors, ride=True) is own._way(tensors, ride=True)
    assert len(module._rides) == there + 1
    del own
    gc.collect()
    assert len(module._rides) == there


def test_threads_share_an_inverse() -> None:
    inverse, x = fitted("golden_cnn")
    own, x = narrow(inverse), x.astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: own.attribute(x), range(12)))
    for one in found:
        assert np.array_equal(one.source, found[0].source)
        assert np.array_equal(one.attribution, found[0].attribution)


def test_no_more_sessions_stay_than_fit() -> None:
    inverse, _ = fitted("golden_cnn")
    rides, owners = Rides[Ride](most=1), [narrow(inverse) for _ in range(3)]
    made = {owner: owner._way([owner.plan.explained], ride=True) for owner in owners}
    for owner in owners:
        ride = made[owner]
        assert isinstance(ride, Ride)
        assert rides.of(owner, (), lambda ride=ride: ride) is ride  # type: ignore[misc]
    assert len(rides) == 1
