"""The sweep back in a session of onnxruntime against NumPy, both in float32, of the same recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.backend import Backend, get_backend
from mipin_ref.layers import KINDS, Activation, MaxPool, ResponseNorm
from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.products import DERIVATIVES
from mipin_ref.methods.ride import SweepRide
from mipin_ref.methods.rules import WrittenRule
from mipin_ref.methods.sweep import Sweep
from mipin_ref.panel.registry import METHODS
from tests.backends import backend, on_every_backend
from tests.golden.arrays import NAMES, PATHS, read
from tests.methods.recorded import Case
from tests.networks import random_graph, seeded
from tests.networks.state_stages import EVERY_STAGE
from tests.oracles.autograd import gradients

Array = npt.NDArray[Any]

APART = 2.2e-6
"""Largest difference as a share of the largest entry of the tensor: 18 eps of float32. Both take the same values and
switches; products are summed in another order, layer by layer, and functions differ in the last place.
"""
SINGLE = get_backend("numpy", "float32")
BY_GRADIENT = ("gradient", "deconvnet", "guided-backprop")


def sweep(net: mr.Network, at: str, *, ride: bool, name: str = "gradient", on: Backend = SINGLE) -> Sweep:
    kind = METHODS[name]
    assert issubclass(kind, BackwardMethod)
    method = kind(kind.checked({}))
    return Sweep(net, on, at, lambda layer: method.rule(net, layer), frozen=method.frozen, ride=ride)


def error(net: mr.Network, x: Array, targets: Array, at: str, name: str = "gradient") -> float | None:
    """How far the session is from NumPy; None where NumPy takes the sweep whatever is asked."""
    one, other = (sweep(net, at, ride=ride, name=name) for ride in (True, False))
    assert other.ride() is None
    if one.ride() is None:
        return None
    found, wanted = (each(x, targets) for each in (one, other))
    assert np.array_equal(found.value, wanted.value)
    assert np.array_equal(found.logits, wanted.logits)
    assert found.signal.shape == wanted.signal.shape
    assert found.signal.dtype == wanted.signal.dtype == np.float32
    apart = np.max(np.abs(found.signal - wanted.signal))
    return float(apart / max(float(np.max(np.abs(wanted.signal))), 1e-30))


def rides(net: mr.Network) -> bool:
    """Whether all layers have rules that are written."""
    return not any(isinstance(layer, ResponseNorm) for layer in net.layers)


@pytest.mark.parametrize("name", NAMES)
def test_golden_cases(name: str) -> None:
    case = read(name)
    net = mr.load(PATHS[name].parent / "model.onnx", output=case.manifest["model"]["output"])
    x = np.asarray(case.arrays["x"], np.float32)
    if len(net.shapes[net.logits]) > 1:
        pytest.fail("no golden case has several axes of targets")
    targets = np.arange(len(x)) % net.classes
    for at in net.shapes:
        if at in net.hidden:
            continue
        apart = error(net, x, targets, at)
        assert apart is None or apart <= APART, at
        assert (apart is None) <= (not rides(net)), at


def compared(seed: int, name: str = "gradient") -> tuple[mr.Network, list[str]]:
    """A random network, and the tensors at which the session is too far."""
    case = Case.of(random_graph(seeded(seed), stages=EVERY_STAGE), seed)
    apart = {at: error(case.net, case.x.astype(np.float32), case.targets, at, name) for at in case.net.shapes}
    assert all(one is not None for one in apart.values()) or not rides(case.net)
    return case.net, [f"{at}: {one:.1e}" for at, one in apart.items() if one is not None and one > APART]


@pytest.mark.parametrize("seed", range(10))
def test_some_random_networks(seed: int) -> None:
    assert not compared(700 + seed)[1]
