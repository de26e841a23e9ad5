"""The recorder runs what the wanted tensors need and hands out those, checked."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from mipin_ref.graph import forward
from mipin_ref.graph.emit import emit, switches_of
from mipin_ref.graph.forward import Recorder, logits, record_bytes
from mipin_ref.layers import switched
from tests.graph.sketch import Sketch, assert_keeps_values


@pytest.fixture
def net() -> mr.Network:
    sketch = Sketch(2, 6, 6)
    fired = sketch.node("Relu", sketch.conv("x", 2, 3, out="mixed"), out="fired")
    pooled = sketch.node("MaxPool", fired, kernel_shape=[2, 2], strides=[2, 2], out="pooled")
    hidden = sketch.dense(sketch.node("Flatten", pooled, out="flat"), 12, 5)
    return mr.load(sketch.model(sketch.dense(hidden, 5, 3)))


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 2, 6, 6)).astype(np.float32)


def test_emitted_model_ends_at_the_last_wanted_tensor(net: mr.Network) -> None:
    model = emit(net, ["fired", "mixed"])
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu"]
    assert [value.name for value in model.graph.output] == ["fired", "mixed"]
    assert len(model.graph.initializer) == 2


def test_emitted_model_holds_every_branch_to_the_wanted_tensor() -> None:
    sketch = Sketch(2, 6, 6)
    moved = sketch.conv("x", 2, 2, (1, 1), out="moved")
    left, right = sketch.node("Relu", "x", out="relu"), sketch.node("Tanh", moved, out="tanh")
    join = sketch.node("Add", left, right, out="join")
    branching = mr.load(sketch.model(sketch.node("Concat", join, sketch.node("Elu", "x"), axis=1)))
    model = emit(branching, ["join"])
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Tanh", "Sum"]
    x = images(3)
    record = Recorder(branching, ["join", "tanh"])(x)
    np.testing.assert_allclose(record.values["join"], np.maximum(x, 0) + record.values["tanh"], rtol=1e-5, atol=1e-6)


def test_what_stands_in_front_may_be_given() -> None:
    """Then it is not made of x, and the layers start from it."""
    sketch = Sketch(2, 6, 6)
    running = sketch.node("CumSum", "x", sketch.const(np.array(2)), out="running")
    flat = sketch.node("Flatten", sketch.node("Relu", running, out="fired"), out="flat")
    net = mr.load(sketch.model(sketch.dense(flat, 72, 3)))
    x, other = images(3), images(6)[3:]
    np.testing.assert_allclose(Recorder(net, ["running"])(x).values["running"], np.cumsum(x, 2), rtol=1e-5, atol=1e-5)
    given = Recorder(net, ["running", "fired"])(x, sources={"running": other})
    np.testing.assert_array_equal(given.values["running"], other)
    np.testing.assert_array_equal(given.values["fired"], np.maximum(other, 0))


def test_tensors_that_are_called_like_our_weights() -> None:
    sketch = Sketch(4)
    hidden = sketch.node("Relu", sketch.dense("x", 4, 4), out="layer0:weight")
    scaled = sketch.node("Mul", hidden, sketch.normal(4), out="layer_0:scaled")
    out = sketch.node("Add", scaled, sketch.node("Relu", scaled))
    net = assert_keeps_values(sketch.model(out))
    assert {"layer0:weight", "layer_0:scaled"} <= set(net.shapes)


def test_emitted_switches(net: mr.Network) -> None:
    model = emit(net, [], ["pooled"])
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "MaxPool"]
    assert [value.name for value in model.graph.output] == [switches_of("pooled")]
    record = Recorder(net, ["fired", "pooled"], ["pooled"])(images(4))
    np.testing.assert_array_equal(record.values["fired"].ravel()[record.switches["pooled"]], record.values["pooled"])


def test_record_holds_what_was_asked_for(net: mr.Network) -> None:
    record = Recorder(net, ["pooled", "x", "pooled"])(images(4))
    assert set(record.values) == {"pooled", "x"}
    assert record.switches == {}


@pytest.mark.parametrize("quick", [False, True])
def test_what_fired_is_told_without_the_values(net: mr.Network, quick: bool) -> None:
    x = images(4)
    x[:, :, 0] = 0
    asked = [("x", False), ("x", True), ("fired", False), ("mixed", True), ("pooled", False)]
    told = Recorder(net, [net.logits], (), asked, quick=quick)(x)
    values = Recorder(net, ["x", "fired", "mixed", "pooled"])(x).values
    assert set(told.values) == {net.logits}
    for tensor, positive in asked:
        expected = values[tensor] > 0 if positive else values[tensor] != 0
        found = told.fired[tensor, positive]
        assert found.dtype == np.bool_
        assert 0 < np.mean(expected) < 1
        np.testing.assert_array_equal(found, expected)


def test_only_what_fired_needs_no_value() -> None:
    """The session then starts from what is flagged, and the input itself needs none."""
    sketch = Sketch(2, 6, 6)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", "x", out="flat"), 72, 3)))
    x = np.maximum(images(3), 0)
    np.testing.assert_array_equal(Recorder(net, [], (), [("x", False)])(x).fired["x", False], x != 0)
    np.testing.assert_array_equal(
        Recorder(net, [], (), [("flat", False)])(x).fired["flat", False], x.reshape(3, -1) != 0
    )


def test_input_alone_needs_no_session(net: mr.Network) -> None:
    x = images(2)
    np.testing.assert_array_equal(Recorder(net, ["x"])(x).values["x"], x)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_data_that_are_not_finite(net: mr.Network, bad: float) -> None:
    x = images(3)
    x[1, 0, 2, 2] = bad
    with pytest.raises(mr.InvalidData, match=r"the data, samples 40\.\.42, hold NaN or Inf"):
        Recorder(net, ["pooled"])(x, 40)


@pytest.mark.filterwarnings("error")
def test_data_beyond_the_network_s_dtype(net: mr.Network) -> None:
    """One line, and no warning of NumPy's beside it on the terminal."""
    with pytest.raises(mr.InvalidData, match=r"the data, samples 0\.\.1, hold NaN or Inf"):
        Recorder(net, ["pooled"])(np.full((2, 2, 6, 6), 1e300))
    with pytest.raises(mr.InvalidData, match="hold NaN or Inf"):
        mr.metrics.deletion(net, np.full((2, 2, 6, 6), 1e300), np.arange(72.0).reshape(2, 6, 6), 0)


def test_activation_that_overflows(net: mr.Network) -> None:
    with pytest.raises(mr.InvalidData, match=r"activation 'mixed', samples 7\.\.8, hold NaN or Inf"):
        Recorder(net, ["mixed"])(np.full((2, 2, 6, 6), 3e38, np.float32) * np.sign(images(2)), 7)


@pytest.mark.parametrize("shape", [(3, 2, 6), (3, 6, 6, 2), (2, 6, 6), (3, 1, 6, 6), ()])
def test_wrong_shape(net: mr.Network, shape: tuple[int, ...]) -> None:
    with pytest.raises(mr.InvalidData, match=r"the network takes \[N, 2, 6, 6\]"):
        Recorder(net, ["pooled"])(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.complex64])
def test_wrong_dtype(net: mr.Network, dtype: type) -> None:
    with pytest.raises(mr.InvalidData, match="floating point"):
        Recorder(net, ["pooled"])(np.zeros((3, 2, 6, 6), dtype))


def test_no_array(net: mr.Network) -> None:
    with pytest.raises(mr.InvalidData, match="arrays, not list"):
        Recorder(net, ["pooled"])([[1.0]])  # type: ignore[arg-type]


def test_no_sample(net: mr.Network) -> None:
    with pytest.raises(mr.InvalidData, match="no sample"):
        logits(net, np.zeros((0, 2, 6, 6), np.float32))


def test_logits_are_the_same_batch_by_batch(net: mr.Network) -> None:
    x = images(10)
    np.testing.assert_allclose(logits(net, x, batch_size=3), logits(net, x), rtol=1e-5, atol=1e-6)


def test_weights_beyond_what_a_model_holds(net: mr.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = sum(layer.parameters for layer in net.layers) * 4
    monkeypatch.setattr("mipin_ref.graph.emit.MAX_BYTES", needed - 1)
    with pytest.raises(mr.UnsupportedModel, match=f"has {needed:,} bytes of weights"):
        emit(net, [net.logits])
    emit(net, ["fired"])
    monkeypatch.setattr("mipin_ref.graph.emit.MAX_BYTES", needed)
    emit(net, [net.logits])


def test_large_weights_are_read_where_they_lie(net: mr.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    x, wanted = images(3), ["fired", "mixed", net.logits]
    monkeypatch.setattr("mipin_ref.graph.emit.LARGE", 1 << 60)
    inside = Recorder(net, wanted)(x)
    monkeypatch.setattr("mipin_ref.graph.emit.LARGE", 1)
    # Then the model itself holds next to nothing.
    monkeypatch.setattr("mipin_ref.graph.emit.MAX_BYTES", 1)
    beside: dict[str, Any] = {}
    model = emit(net, wanted, beside=beside)
    assert sum(value.size for value in beside.values()) >= sum(layer.parameters for layer in net.layers)
    assert not any(tensor.raw_data for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    recorder = Recorder(net, wanted)
    del beside
    gc.collect()
    for name in wanted:
        np.testing.assert_array_equal(recorder(x).values[name], inside.values[name])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Weak references to the sessions that are opened."""
    found: list[Any] = []
    session: Callable[..., Any] = forward.session

    def noted(*arguments: Any, **named: Any) -> Any:
        made = session(*arguments, **named)
        found.append(weakref.ref(made))
        return made

    monkeypatch.setattr(forward, "session", noted)
    return found


def alive(opened: list[Any]) -> list[bool]:
    gc.collect()
    return [one() is not None for one in opened]


def test_a_kept_session_serves_the_next_recorder(net: mr.Network, opened: list[Any]) -> None:
    x, fresh = images(3), {wanted: Recorder(net, [wanted], ["pooled"])(images(3)) for wanted in ("pooled", "fired")}
    for wanted in ("pooled", "fired", "pooled", "fired"):
        kept = Recorder(net, [wanted], ["pooled"], keep=True)(x)
        np.testing.assert_array_equal(kept.values[wanted], fresh[wanted].values[wanted])
        np.testing.assert_array_equal(kept.switches["pooled"], fresh[wanted].switches["pooled"])
    assert len(opened) == 2 + 2
    Recorder(net, ["pooled"], keep=True)
    Recorder(net, ["pooled"], ["pooled"], threads=1, keep=True)
    assert len(opened) == 2 + 2 + 2


@pytest.mark.slow
def test_only_a_network_s_last_sessions_are_kept_and_only_while_it_lives(opened: list[Any]) -> None:
    sketch = Sketch(4)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Relu", sketch.dense("x", 4, 3), out="fired"), 3, 2)))
    opened.clear()
    Recorder(net, ["fired"])
    assert alive(opened) == [False]
    opened.clear()
    for threads in (4, 1, 2):
        Recorder(net, ["fired"], threads=threads, keep=True)
    assert alive(opened) == [False, True, True]
    Recorder(net, ["fired"], threads=1, keep=True)
    Recorder(net, ["fired"], threads=3, keep=True)
    assert alive(opened) == [False, True, False, True]
    del net
    assert alive(opened) == [False] * 4


def test_bytes_of_a_record_are_those_of_its_arrays(net: mr.Network) -> None:
    names, pools = ["x", "fired", net.logits], switched(net.layers)
    record = Recorder(net, names, list(pools))(images(5))
    taps = [pool.taps(record.switches[name]) for name, pool in pools.items()]
    arrays = [*record.values.values(), *record.switches.values(), *taps]
    assert len(arrays) == 5
    assert 5 * record_bytes(net, names, list(pools.values())) == sum(a.nbytes for a in arrays)
