"""The sweep back in a session of onnxruntime against NumPy, both in float32, of the same recordings."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.backend import Backend, get_backend
from mipin_ref.graph import runs
from mipin_ref.graph.document import Back, Document
from mipin_ref.graph.optimised import Optimised
from mipin_ref.graph.rewrites.facing import faced
from mipin_ref.layers import GRU, KINDS, LSTM, Activation, Attention, Layer, MaxPool, Scores, SoftmaxWeights
from mipin_ref.layers.functions import FUNCTIONS
from mipin_ref.layers.traced import Namespace, TracedBackend
from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.gradient import Gradient
from mipin_ref.methods.products import DERIVATIVES
from mipin_ref.methods.ride import SweepRide
from mipin_ref.methods.rules import Rule
from mipin_ref.methods.sweep import Sweep
from mipin_ref.panel.registry import METHODS
from tests.backends import backend, on_every_backend, relative_error
from tests.golden.arrays import NAMES, PATHS, read
from tests.methods.recorded import Case, residual
from tests.networks import random_graph, seeded
from tests.networks.state_stages import EVERY_STAGE
from tests.oracles.autograd import gradients

module = sys.modules["mipin_ref.methods.sweep"]
Array = npt.NDArray[Any]

APART = 2.2e-6
"""Largest difference as a share of the largest entry of the tensor: 18 eps of float32. Both take the same values and
switches; products are summed in another order, layer by layer, and functions differ in the last place.
"""
SINGLE, DOUBLE = get_backend("numpy", "float32"), get_backend("numpy", "float64")


def method_of(name: str) -> BackwardMethod:
    kind = METHODS[name]
    assert issubclass(kind, BackwardMethod)
    return kind(kind.checked({}))


def sweep(net: mr.Network, at: str, *, ride: bool, name: str = "gradient", on: Backend = SINGLE) -> Sweep:
    method = method_of(name)
    return Sweep(net, on, at, lambda layer: method.rule(net, layer), held=method.held, ride=ride)


def error(net: mr.Network, x: Array, targets: Array, at: str, name: str = "gradient") -> float:
    """How far the session is from NumPy, beyond what NumPy's single precision is from double precision itself: a slope
    where a function saturates has few digits.
    """
    one, other = (sweep(net, at, ride=ride, name=name) for ride in (True, False))
    assert one.ride() is not None
    assert other.ride() is None
    ridden, walked = (each(x, targets) for each in (one, other))
    assert np.array_equal(ridden.value, walked.value)
    assert np.array_equal(ridden.logits, walked.logits)
    assert ridden.signal.shape == walked.signal.shape
    assert ridden.signal.dtype == walked.signal.dtype == np.float32
    double = sweep(net, at, ride=False, name=name, on=DOUBLE)(x, targets).signal
    own, apart = (float(np.max(np.abs(walked.signal - found))) for found in (double, ridden.signal))
    return max(0.0, apart - own) / max(float(np.max(np.abs(double))), 1e-30)


UNWRITTEN = {Attention, SoftmaxWeights, Scores, LSTM, GRU}
"""Kinds whose rules are not written as ONNX."""


@pytest.mark.parametrize("name", NAMES)
def test_golden_cases(name: str) -> None:
    case = read(name)
    net = mr.load(PATHS[name].parent / "model.onnx", output=case.manifest["model"]["output"])
    x = np.asarray(case.arrays["x"], np.float32)
    net, targets = faced(net, np.arange(len(x)) % net.classes)
    if UNWRITTEN & {type(layer) for layer in net.layers}:
        assert sweep(net, case.manifest["explained"], ride=True).ride() is None  # it is NumPy's
        return
    far = {at: error(net, x, targets, at) for at in net.shapes if at not in net.hidden}
    assert not [at for at, apart in far.items() if apart > APART]


def drawn(seed: int) -> tuple[Case, Array]:
    case = Case.of(random_graph(seeded(seed), stages=EVERY_STAGE), seed)
    return case, case.x.astype(np.float32)


def far(seed: int, name: str = "gradient") -> list[str]:
    """The tensors of a random network at which the session is too far."""
    case, x = drawn(seed)
    apart = {at: error(case.net, x, case.targets, at, name) for at in case.net.shapes}
    return [f"{at}: {one:.1e}" for at, one in apart.items() if one > APART]


@pytest.mark.parametrize("seed", range(10))
def test_some_random_networks(seed: int) -> None:
    assert not far(700 + seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 100, 25))
def test_more_random_networks(start: int) -> None:
    for seed in range(start, start + 25):
        case, x = drawn(seed)
        assert error(case.net, x, case.targets, case.net.input) <= APART, seed


@pytest.mark.slow
def test_sessions_go_through_every_kind() -> None:
    every, seen = {*KINDS} - UNWRITTEN, set[type]()
    for seed in range(300):
        case, x = drawn(seed)
        if not {type(layer) for layer in case.net.layers} <= seen:
            assert error(case.net, x, case.targets, case.net.input) <= APART, seed
            seen.update(type(layer) for layer in case.net.layers)
        if seen == every:
            return
    assert seen == every


@pytest.mark.parametrize("name", ["deconvnet", "guided-backprop"])
def test_rules_that_change_a_derivative_are_written_as_they_compute(name: str) -> None:
    case = Case.of(residual(), 0)
    x = case.x.astype(np.float32)
    assert error(case.net, x, case.targets, case.net.input, name) <= APART
    ours, plain = (sweep(case.net, case.net.input, ride=True, name=one)(x, case.targets) for one in (name, "gradient"))
    assert np.max(np.abs(ours.signal - plain.signal)) > 1e-3


SLOPES = [pytest.param(function, options, id=f"{function} {options}") for function, options in (
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("ThresholdedRelu", {"alpha": 0.5}),
    ("Elu", {"alpha": 0.7}),
    ("Selu", {}),
    ("Celu", {"alpha": 2.0}),
    ("Tanh", {}),
    ("Softsign", {}),
    ("HardSwish", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("Mish", {}),
    ("Swish", {"alpha": 1.5}),
    ("Sigmoid", {}),
    ("HardSigmoid", {}),
    ("Softplus", {}),
    ("Clip", {"min": -1.0, "max": 2.0}),
    ("Erf", {}),
    ("Exp", {}),
    ("Abs", {}),
    ("Sign", {}),
    ("Pow", {"exponent": 3.0}),
)]  # fmt: skip
TIES = np.array([0.0, -0.0, 0.5, -1.0, 2.0, 1e-40, -1e-40, 3.0, -3.0, -2.5, 2.5, 20.0, -20.0, -0.5, 1.0, -2.0])
"""Where slopes jump, and where functions saturate."""


@pytest.mark.parametrize(("function", "options"), SLOPES)
def test_the_slope_of_every_function_is_that_of_the_table(function: str, options: dict[str, Any]) -> None:
    """4 eps of float32 and a few of the largest: exponentials of two libraries differ in the last places."""
    layer = Activation(
        name="f", inputs=("x",), output="y", in_shapes=((16,),), out_shape=(16,), function=function, options=options
    )
    x = TIES.astype(np.float32)[None]
    document = Document(np.dtype(np.float32))
    document.input("x", document.dtype, ("N", 16))

    def none(*_: Any) -> str:
        raise AssertionError("a slope needs values alone")

    slope = layer.pair(
        Namespace(), TracedBackend.of(Back(document, "f", lambda name: name, none, none)).value("x", (16,))
    )
    document.append("Identity", [slope[1].name], "slope")
    document.output("slope", ("N", 16))
    (found,) = Optimised(document, {}, 1)(["slope"], {"x": x}, last=False)
    wanted = layer.pair(np, x)[1]
    np.testing.assert_allclose(np.broadcast_to(found, wanted.shape), wanted, rtol=5e-7, atol=5e-7)
    steps = wanted == np.round(wanted)
    if FUNCTIONS[function].passes_between(options) is not None:
        assert np.all(steps)
        assert np.array_equal(found, wanted)


def test_the_slope_cases_are_all_functions() -> None:
    alone = {"PRelu", "Log", "Sqrt", "Reciprocal"}
    assert {one.values[0] for one in SLOPES} | alone == set(FUNCTIONS)


def test_the_gradient_equals_autograd() -> None:
    case, x = drawn(3)
    expected = gradients(case.network.ops, case.values(x), case.targets)
    for at in case.net.shapes:
        assert sweep(case.net, at, ride=True).ride() is not None
        res = mr.attribute(case.net, x, case.targets, "gradient", at=at, dtype="float32")
        assert relative_error(res.attribution, expected[at]) < 1e-5, at


@on_every_backend
def test_only_single_precision_on_the_host_rides(name: str) -> None:
    case, _ = drawn(3)
    for dtype in ("float32", "float64"):
        rides = name == "numpy" and dtype == "float32"
        assert (sweep(case.net, case.net.input, ride=True, on=backend(name, dtype)).ride() is not None) == rides


class Unwritten:
    """A rule that says nothing of how it is written."""

    def __init__(self, rule: Rule) -> None:
        self.reads, self.back = rule.reads, rule.back


def test_a_rule_that_is_not_written_leaves_the_sweep_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(residual(), 0)
    x = case.x.astype(np.float32)
    expected = sweep(case.net, case.net.input, ride=False)(x, case.targets).signal
    rules: dict[type[Layer], Rule] = {**DERIVATIVES, MaxPool: Unwritten(DERIVATIVES[MaxPool])}
    monkeypatch.setattr(Gradient, "rules", rules)
    assert sweep(case.net, case.net.input, ride=True).ride() is None
    assert np.array_equal(mr.attribute(case.net, x, case.targets, "gradient", dtype="float32").attribution, expected)


@pytest.mark.parametrize("name", ["lrp-epsilon", "lrp-alpha-beta", "deep-taylor", "excitation-backprop"])
def test_relevance_is_shared_out_in_numpy(name: str) -> None:
    net = mr.load("models_onnx/mnist_cnn/model.onnx")
    assert sweep(net, net.input, ride=True, name=name).ride() is None


@pytest.mark.parametrize("name", ["input-x-gradient", "smoothgrad", "integrated-gradients", "grad-cam"])
def test_methods_of_the_gradient_ride(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(residual(), 0)
    x, rode = case.x.astype(np.float32), []
    call = SweepRide.__call__

    def counted(self: SweepRide, *given: Any) -> Any:
        rode.append(1)
        return call(self, *given)

    monkeypatch.setattr(SweepRide, "__call__", counted)
    options: dict[str, Any] = (
        {"samples": 4} if name == "smoothgrad" else {"steps": 6} if name == "integrated-gradients" else {}
    )
    at = "l" if name == "grad-cam" else case.net.input
    single, double = (
        mr.attribute(case.net, x, case.targets, name, at=at, dtype=kind, **options) for kind in ("float32", "float64")
    )
    assert rode
    assert relative_error(single.attribution, double.attribution) < 1e-5


def test_the_session_stays_open_for_the_next_call_and_goes_with_its_network() -> None:
    there = len(module._rides)
    case = Case.of(residual(), 1)
    one, other = (sweep(case.net, case.net.input, ride=True) for _ in range(2))
    assert one.ride() is other.ride()
    assert len(module._rides) == there + 1
    assert sweep(case.net, "l", ride=True).ride() is not one.ride()
    del case, one, other
    gc.collect()
    assert len(module._rides) == there


def test_a_batch_in_several_runs_has_each_sample_s_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RUN_BYTES", 1)
    case = Case.of(residual(), 0, samples=40)
    ride = sweep(case.net, case.net.input, ride=True).ride()
    assert ride is not None
    assert ride.samples < 20
    assert error(case.net, case.x.astype(np.float32), case.targets, case.net.input) <= APART


def test_a_large_batch_lets_go_of_its_workspace_and_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(residual(), 0)
    x, one = case.x.astype(np.float32), sweep(case.net, case.net.input, ride=True)
    first, ride = one(x, case.targets).signal, one.ride()
    assert ride is not None
    held = ride.bytes
    monkeypatch.setattr(sys.modules["mipin_ref.methods.ride"], "KEPT_BYTES", 1)
    assert np.array_equal(one(x, case.targets).signal, first)
    assert ride.bytes < held
