"""`attribute` itself: what it takes and refuses, batches, targets, and the fields of its result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.backend import get_backend
from mipin_ref.layers import Conv
from mipin_ref.methods.rules import GRADIENT
from mipin_ref.methods.sweep import Sweep
from mipin_ref.methods.weights import weights_of
from mipin_ref.panel.registry import METHODS as EVERY
from tests.backends import NAMES, backend, relative_error
from tests.methods.recorded import Case, residual
from tests.networks import Network, random_graph, seeded, to_onnx
from tests.networks.attention import encoder
from tests.networks.norms import SHAPE

CASE = Case.of(residual(), 3, samples=7)
ATTENDING = Case.of(Network(tuple(encoder()), SHAPE), 3, samples=7)
METHODS = [name for name, method in EVERY.items() if method.fitting is None]
"""Those that need nothing fitted beforehand, which test_patterns.py and panel/test_mip_in.py are for."""


def case_of(method: str) -> Case:
    """A network that has what the method looks at."""
    return CASE if EVERY[method].suits(CASE.net) else ATTENDING


def attributed(method: str, x: Any = None, target: Any = None, **options: Any) -> mr.Attribution:
    case = case_of(method)
    return mr.attribute(
        case.net, case.x if x is None else x, case.targets if target is None else target, method, **options
    )


def test_the_names() -> None:
    assert len(set(METHODS)) == len(METHODS)
    assert {"gradient", "input-x-gradient", "smoothgrad", "integrated-gradients"} < set(METHODS)
    assert {"deconvnet", "guided-backprop", "deeplift", "grad-cam"} < set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_one_by_one_in_batches_and_together(method: str) -> None:
    """To the rounding of the forward pass, which is that of single precision where the shape of a batch changes it."""
    whole = attributed(method)
    assert len(whole) == 7
    assert whole.method == method
    for size in (1, 3):
        found = attributed(method, batch_size=size)
        assert relative_error(found.attribution, whole.attribution) < 1e-5
        np.testing.assert_allclose(found.output, whole.output, rtol=1e-5)
    case = case_of(method)
    alone = attributed(method, case.x[4:5], int(case.targets[4]))
    assert relative_error(alone.attribution, whole[4:5].attribution) < 1e-5
    assert alone.target == case.targets[4]
    assert isinstance(alone.target, int)
    part = whole[2:4]
    assert isinstance(part.target, np.ndarray)
    assert part.target.tolist() == case.targets[2:4].tolist()
    assert len(part.attribution) == len(part.value) == len(part.output) == 2
    assert (part.delta is None) == (whole.delta is None)


@pytest.mark.parametrize("method", METHODS)
def test_every_backend_and_one_target(method: str) -> None:
    expected = attributed(method, target=1)
    assert np.abs(expected.attribution).max() > 0
    for name in NAMES:
        found = attributed(method, target=np.int64(1), backend=backend(name))
        assert relative_error(found.attribution, expected.attribution) < 1e-10
        assert found.target == 1
    single = attributed(method, target=1, dtype="float32")
    assert single.attribution.dtype == np.float32
    assert relative_error(single.attribution, expected.attribution) < 1e-2


@pytest.mark.parametrize("method", METHODS)
def test_contribution(method: str) -> None:
    res = attributed(method)
    expected = res.attribution * res.value if res.multiplier else res.attribution
    np.testing.assert_array_equal(res.contribution, expected)


def test_a_method_without_a_source_signal() -> None:
    res = attributed("gradient")
    for name in ("source", "distractor"):
        with pytest.raises(mr.InvalidData, match="method 'gradient' has no source signal"):
            getattr(res, name)
    assert res[:2].signal is None


def test_apc_takes_one_class_and_a_source_signal() -> None:
    for target, message in ((CASE.targets, "not of class"), (1, "has no source signal")):
        with pytest.raises(mr.InvalidData, match=message):
            mr.metrics.apc(CASE.net, {1: attributed("gradient", target=target)})


def test_data_from_a_file_and_a_softmax_that_was_removed(tmp_path: Path) -> None:
    model = to_onnx(CASE.network.ops, CASE.network.input_shape)
    model.graph.node.append(onnx.helper.make_node("Softmax", [CASE.net.logits], ["shares"], axis=-1))
    model.graph.output[0].name = "shares"
    net = mr.load(model)
    np.save(tmp_path / "x.npy", CASE.x.astype(np.float32))
    found = mr.attribute(net, tmp_path / "x.npy", CASE.targets, "gradient")
    np.testing.assert_array_equal(found.attribution, attributed("gradient", CASE.x.astype(np.float32)).attribution)
    end = mr.attribute(net, CASE.x, CASE.targets, "gradient", at="shares")
    assert end.tensor == net.logits
    np.testing.assert_array_equal(end.attribution, np.eye(net.classes)[CASE.targets])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradeint"}, "there is no method 'gradeint'; did you mean 'gradient'"),
        ({"method": "zzz"}, "there are mip-in, gradient, input-x-gradient"),
        ({"method": 3}, "there is no method 3"),
        ({"samples": 3}, "method 'gradient' has no option 'samples'; it has none"),
        ({"method": "smoothgrad", "steps": 3}, "no option 'steps'; its options are samples, noise, seed"),
        ({"method": "smoothgrad", "samples": 0}, "samples must be an integer of at least 1, not 0"),
        ({"method": "smoothgrad", "samples": True}, "samples must be an integer"),
        ({"method": "smoothgrad", "noise": -0.1}, "noise must be a finite number of at least 0"),
        ({"method": "smoothgrad", "noise": "x"}, "noise must be a finite number"),
        ({"method": "smoothgrad", "seed": "a"}, "seed must be an integer of at least 0"),
        ({"method": "integrated-gradients", "steps": 2.5}, "steps must be an integer"),
        ({"method": "integrated-gradients", "baseline": np.ones(3)}, "baseline has shape"),
        ({"method": "deeplift", "baseline": "black"}, "baseline must be a number or one sample"),
        ({"method": "deeplift", "baseline": np.nan}, "baseline holds NaN"),
        ({"at": "nowhere"}, "tensor 'nowhere' is not on the way"),
        ({"target": 99}, "target 99 is out of range"),
        ({"target": [0, 1]}, "target must be one class or one for each of the 7 samples"),
        ({"target": [0, 1, 2, 0, 1, 2, 77]}, "target 77 is out of range"),
        ({"target": [0.5] * 7}, "targets must be integer"),
        ({"target": [-1] * 7}, "target -1 is out of range"),
        ({"target": "three"}, "target must be an integer"),
        ({"target": None}, "target must be an integer"),
        ({"dtype": "float16"}, "dtype must be"),
        ({"backend": "jax"}, "backend must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"memory": "1MB"}, "below the 64 MB"),
        ({"x": np.full_like(CASE.x, np.nan)}, "hold NaN or Inf"),
        ({"x": CASE.x[:, :, :1]}, "the network takes"),
        ({"x": CASE.x.astype(int)}, "no agreed scale"),
        ({"x": CASE.x[:0]}, "no samples"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    given = {"x": CASE.x, "target": 0, "method": "gradient", **options}
    with pytest.raises(mr.InvalidData, match=message):
        mr.attribute(CASE.net, **given)


def test_memory_bounds_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less memory, fewer samples at a time, the same result."""
    module = sys.modules["mipin_ref.memory"]
    seen: list[int] = []
    call = Sweep.__call__

    def counted(self: Sweep, x: Any, *args: Any, **options: Any) -> Any:
        seen.append(len(x))
        return call(self, x, *args, **options)

    monkeypatch.setattr(Sweep, "__call__", counted)
    whole = attributed("gradient")
    assert seen == [7]
    each = Sweep(CASE.net, get_backend(), CASE.net.input, lambda layer: GRADIENT[type(layer)])
    monkeypatch.setattr(module, "BATCH_SHARE", 3.5 * each.sample_bytes / 2e9)
    seen.clear()
    assert relative_error(attributed("gradient").attribution, whole.attribution) < 1e-5
    assert seen == [3, 3, 1]


def test_weights_stay_for_the_network_explained_last() -> None:
    device = get_backend()
    attributed("gradient")
    layer = next(layer for layer in CASE.net.layers if isinstance(layer, Conv))
    kept = weights_of(CASE.net, device)
    assert kept.of(layer, "", lambda _: np.ones(1)).shape == layer.weight.shape
    assert weights_of(CASE.net, get_backend("numpy", "float32")) is not kept
    other = Case.of(random_graph(seeded(4)), 4)
    mr.attribute(other.net, other.x, 0, "gradient")
    assert weights_of(CASE.net, device) is not kept


def test_recorded_values_go_to_the_device_once_and_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["mipin_ref.methods.sweep"]
    made: list[Any] = []

    class Counted(module._Held):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.asked: list[str] = []
            made.append(self)

        def value(self, name: str) -> Any:
            if name not in self._values:
                self.asked.append(name)
            return super().value(name)

    monkeypatch.setattr(module, "_Held", Counted)
    attributed("deeplift")
    (held,) = made
    assert len(held.asked) == len(set(held.asked)) > 3
    assert not held._values
