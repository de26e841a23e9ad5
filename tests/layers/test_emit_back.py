"""The way back of every kind as ONNX, each layer alone, with what was recorded given as inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

import mipin_ref as mr
from mipin_ref.graph.document import Back, Document
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.rewrites.divisors import restoring
from mipin_ref.layers import (
    KINDS,
    HostArray,
    Layer,
    Norm,
    Scores,
    Shared,
    SoftmaxWeights,
    Stateful,
    Switched,
    Unweighted,
    as_kind,
)
from tests.backends import backend
from tests.layers.test_kinds import recorded
from tests.networks.attention import EVERY as NORMED
from tests.networks.gated import GATED
from tests.networks.recurrent import RECURRENT

STATE = (SoftmaxWeights, Scores)
"""Kinds that nothing comes back through."""

EACH = 25
"""Layers of a kind that are asked."""
EPS = float(np.finfo(np.float32).eps)


def some() -> list[tuple[mr.Network, Layer, dict[str, HostArray]]]:
    counts: Counter[type] = Counter()
    found = []
    for one in (*range(100), *GATED, *NORMED, *RECURRENT):
        net, values = recorded(one)
        # Normalisations that take signals back times their divisor are of another network (option `norm`).
        turned = [layer for layer in restoring(net).layers if isinstance(layer, Norm)]
        for layer in (*net.layers, *turned):
            counts[type(layer)] += 1
            if counts[type(layer)] <= EACH or layer in turned:
                found.append((net, layer, values))
    return found


def written(layer: Layer, slot: int, block: HostArray | None, values: dict[str, HostArray], signal: HostArray) -> Any:
    """The signals [2n, *in_shapes[slot]] as onnxruntime computes them, in single precision."""
    document = Document(np.dtype(np.float32))
    feed: dict[str, HostArray] = {"signal": signal}
    document.input("signal", np.dtype(np.float32), ("M", *layer.out_shape))
    states: dict[str, str] = {}

    def value(name: str) -> str:
        if name not in feed:
            feed[name] = values[name].astype(np.float32)
            document.input(name, np.dtype(np.float32), ("N", *feed[name].shape[1:]))
        return name

    def state() -> str:
        if not states:
            states[layer.output] = as_kind(layer, Stateful).emit_state(writer, slot)
        return states[layer.output]

    def blocks(form: Callable[[HostArray], HostArray]) -> str:
        assert block is not None
        return document.weight("block", form(block))

    writer = Back(document, "back", value, state, blocks)
    made = layer.emit_back(writer, "signal", slot)
    document.append("Identity", [made], "made")
    document.output("made", ("M", *layer.in_shapes[slot]))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(document.finished({}, ""), options, providers=["CPUExecutionProvider"])
    return session.run(["made"], feed)[0]


@pytest.mark.parametrize("kind", STATE)
def test_what_is_met_in_state_alone_has_no_way_back(kind: type[Layer]) -> None:
    """Nobody asks it, as no path leads through it; it refuses by name."""
    layer = next(one for _, one, _ in some() if type(one) is kind)
    assert not layer.paths
    told = f"{kind.__name__}.* has no way back: it is met in state alone"
    with pytest.raises(mr.UnsupportedModel, match=told):
        written(layer, 0, None, {}, np.zeros((2, *layer.out_shape), np.float32))
    with pytest.raises(mr.UnsupportedModel, match=told):
        as_kind(layer, Unweighted).pull_back(backend("numpy"), np.zeros((1, *layer.out_shape)), 0, {})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in STATE])
def test_signals_come_back_as_the_kind_says(kind: type[Layer]) -> None:
    """As `adjoint` with the block of weights, or as `pull_back`, of two signals at once."""
    device, rng, asked = backend("numpy"), np.random.default_rng(0), 0
    for net, layer, values in some():
        if type(layer) is not kind:
            continue
        assert layer.no_way_back is None
        signal = rng.standard_normal((6, *layer.out_shape)).astype(np.float32)
        if isinstance(layer, Shared):
            block = rng.standard_normal(layer.block_shape(column=False)).astype(np.float32)
            wanted = layer.adjoint(device, signal, block)
            found = written(layer, 0, block, values, signal)
            largest = max(1.0, float(np.abs(wanted).max()))
            # Sums of as many products as a weight has entries for one of its inputs, in another order.
            assert np.max(np.abs(found - wanted)) <= 4 * block.size * EPS * largest, layer
            asked += 1
            continue
        states = {}
        if isinstance(layer, Switched):
            record = Recorder(net, [layer.input], [layer.output])(values[net.input])
            states[layer.output] = layer.taps(record.switches[layer.output])
        elif isinstance(layer, Stateful) and layer.reads:
            states[layer.output] = layer.state({one: values[one[1]] for one in layer.reads})
        states = {name: np.concatenate([value, value]) for name, value in states.items()}
        for slot in layer.paths:
            wanted = as_kind(layer, Unweighted).pull_back(device, signal, slot, states)
            found = written(layer, slot, None, values, signal)
            largest = max(1.0, float(np.abs(wanted).max()))
            # A few products and means of a few dozen values.
            assert np.max(np.abs(found - wanted)) <= 64 * EPS * largest, layer
            asked += 1
    assert asked
