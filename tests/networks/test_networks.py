"""The random graphs hold what they are meant to hold, within their limits, and are what their ONNX files say."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.networks import MAX_ELEMENTS, Network, graphs, onnx_values, random_graph, sample_inputs, seeded, to_onnx
from tests.networks.folding import first_foldable
from tests.networks.stages import MAX_JOINS, MAX_READERS
from tests.networks.topology import OPS, WHOLE, Graph
from tests.oracles.forward import forward
from tests.oracles.spec import (
    Activation,
    Add,
    AveragePool,
    ChannelAffine,
    Conv,
    Dense,
    Op,
    Pad,
    Reshape,
    Slice,
    Transpose,
)


def test_every_topology_is_reached() -> None:
    found = dict.fromkeys([*OPS, *WHOLE], 0)
    for seed in range(600):
        graph = Graph(random_graph(seeded(seed)))
        for name, has in OPS.items():
            found[name] += any(has(graph, op) for op in graph.alive)
        for name, whole in WHOLE.items():
            found[name] += whole(graph)
    assert not {name: count for name, count in found.items() if count < 4}


def test_limits_hold() -> None:
    for seed in range(600):
        graph = Graph(network := random_graph(seeded(seed)))
        assert all(math.prod(shape) <= MAX_ELEMENTS for shape in graph.shapes.values())
        reads = [name for op in network.ops for name in op.inputs]
        assert max(map(reads.count, reads)) <= MAX_READERS == 3
        assert max(graph.joins.values()) <= MAX_JOINS == 6
        assert graph.shapes[network.ops[-1].output] in {(3,), (4,)}
        assert not any(isinstance(op, Reshape) and op.shape == graph.read(op) for op in network.ops)
        assert not any(isinstance(op, Slice) and graph.shapes[op.output] == graph.read(op) for op in network.ops)
        assert not any(isinstance(op, Pad) and graph.shapes[op.output] == graph.read(op) for op in network.ops)


def dissolves(graph: Graph, first: Op, second: Op) -> bool:
    """Whether one of two neighbours can take up the other."""
    takes = Conv | Dense | ChannelAffine
    return len(graph.behind(first)) == 1 and (
        (isinstance(first, ChannelAffine) and isinstance(second, takes))
        or (isinstance(second, ChannelAffine) and isinstance(first, takes))
        or (isinstance(first, Pad) and first.value == 0 and isinstance(second, Conv))
    )


def test_no_affine_or_pad_can_be_dissolved() -> None:
    """By neighbours alone, which is narrower than first_foldable; with foldable=True there are some."""
    met = Counter[bool]()
    for seed in range(600):
        for foldable in (False, True):
            graph = Graph(random_graph(seeded(seed), foldable=foldable))
            for op in graph.alive:
                before = graph.before(op)
                met[foldable] += before is not None and dissolves(graph, before, op)
            assert foldable or first_foldable(graph.ops) is None
    assert met[False] == 0
    assert met[True] > 20


def affine(source: str, output: str) -> ChannelAffine:
    return ChannelAffine((source,), output, np.ones(2), np.ones(2))


CONV = Conv(("a",), "y", np.ones((1, 2, 1)))


@pytest.mark.parametrize(
    ("ops", "between"),
    [
        ([affine("x", "a"), CONV], "a"),
        ([affine("x", "t"), Activation(("t",), "a", "Dropout"), CONV], "t"),
        ([affine("x", "t"), Activation(("t",), "a", "Relu"), CONV], None),
        ([affine("x", "a"), CONV, Add(("a", "y"), "z")], None),
        ([affine("x", "a"), Activation(("a",), "dead", "Relu"), CONV], "a"),
        ([affine("x", "t"), affine("t", "z")], "t"),
        ([Dense(("x",), "t", np.ones((3, 2))), affine("t", "z")], "t"),
        ([Dense(("x",), "t", np.ones((3, 2))), Reshape(("t",), "u", (2, 1)), affine("u", "z")], "u"),
        ([Dense(("x",), "t", np.ones((3, 2))), affine("t", "u"), Add(("t", "u"), "z")], None),
        ([Pad(("x",), "a", (0, 1), (0, 0)), CONV], "a"),
        ([Pad(("x",), "t", (0, 1), (0, 0)), Transpose(("t",), "a", (0, 2, 1)), CONV], "t"),
        ([Pad(("x",), "a", (0, 1), (0, 0), 0.5), CONV], None),
        ([Pad(("x",), "a", (0, 1), (0, 0)), AveragePool(("a",), "z", (3,))], "a"),
        ([Pad(("x",), "a", (0, 1), (0, 0)), AveragePool(("a",), "z", (3,), pads=(1, 0), count_include_pad=True)], "a"),
        ([Pad(("x",), "a", (0, 1), (0, 0)), AveragePool(("a",), "z", (3,), pads=(1, 0))], None),
        ([Pad(("x",), "a", (0, 1), (0, 0)), AveragePool(("a",), "z", (3,), ceil_mode=True)], None),
        ([Pad(("x",), "a", (0, 1), (0, 0), 0.5), AveragePool(("a",), "z", (3,))], None),
        ([Pad(("x",), "t", (1,), (0,)), Dense(("t",), "z", np.ones((3, 2)))], None),
    ],
)
def test_what_can_be_dissolved(ops: list[Op], between: str | None) -> None:
    assert first_foldable(ops) == between


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(graphs(), st.booleans(), st.integers(14, 22), st.integers(0, 99))
def test_the_files_values_are_the_forward_pass(network: Network, split: bool, opset: int, seed: int) -> None:
    x = sample_inputs(network.input_shape, 4, seed)
    ours, theirs = forward(network.ops, x), onnx_values(network.ops, x, split=split, opset=opset)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=1e-5, atol=1e-5 * (1 + np.abs(value).max()), err_msg=name)


def test_files_hold_slices_or_splits() -> None:
    written: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for seed in range(100):
        network = random_graph(seeded(seed))
        for split, kinds in written.items():
            graph = to_onnx(network.ops, network.input_shape, split=split).graph
            kinds.update(node.op_type for node in graph.node)
    assert written[False]["Split"] == 0
    assert min(written[True][kind] for kind in ("Slice", "Split", "Mul", "BatchNormalization")) > 2
