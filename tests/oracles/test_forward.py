"""The oracle's forward pass and switches against onnxruntime."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.networks import Network, chains, graphs, onnx_values, random_graph, sample_inputs, seeded, to_onnx
from tests.oracles.forward import ACTIVATIONS, apply_op, forward, pool_switches
from tests.oracles.spec import Activation, Array, AveragePool, Conv, MaxPool, Op, tensor_shapes

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_same_forward(network: Network, seed: int) -> None:
    x = sample_inputs(network.input_shape, 4, seed)
    ours, theirs = forward(network.ops, x), onnx_values(network.ops, x)
    assert ours.keys() == theirs.keys()
    for name, shape in tensor_shapes(network.ops, network.input_shape).items():
        assert ours[name].shape == (4, *shape)
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5, err_msg=name)


@FEW
@given(chains(), st.integers(0, 99))
def test_chains_equal_onnxruntime(network: Network, seed: int) -> None:
    assert_same_forward(network, seed)


@FEW
@given(graphs(), st.integers(0, 99))
def test_graphs_equal_onnxruntime(network: Network, seed: int) -> None:
    assert_same_forward(network, seed)


WITH_ALPHA = ("LeakyRelu", "Elu", "ThresholdedRelu", "HardSigmoid")


@pytest.mark.parametrize(
    ("kind", "alpha"), [*((kind, None) for kind in sorted(ACTIVATIONS)), *((kind, 0.3) for kind in WITH_ALPHA)]
)
def test_activations_equal_onnxruntime(kind: str, alpha: float | None) -> None:
    op = Activation(("x",), "y", kind, alpha=alpha, low=-0.7, high=1.2)
    x = np.linspace(-8, 8, 65).reshape(1, 65)
    np.testing.assert_allclose(forward([op], x)["y"], onnx_values([op], x)["y"], rtol=1e-5, atol=1e-6)


def onnx_output(op: Op, x: Array) -> Array:
    """At opset 22, where onnx's shape inference and onnxruntime agree on ceil_mode."""
    session = ort.InferenceSession(
        to_onnx([op], x.shape[1:], opset=22).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x.astype(np.float32)})[0], dtype=np.float64)


POOL_GEOMETRIES = list(itertools.product(range(2, 7), (1, 2, 3), (1, 2, 3), (0, 1), (0, 1), (False, True)))


def test_pools_equal_onnxruntime() -> None:
    """Sizes with ceil_mode (a window behind the input is dropped), padding, overhang, count_include_pad."""
    rng = np.random.default_rng(0)
    for length, kernel, stride, begin, end, ceil_mode in POOL_GEOMETRIES:
        if max(begin, end) >= kernel or kernel > length + begin + end:
            continue
        x = rng.standard_normal((2, 2, length))
        pool = MaxPool(("x",), "y", (kernel,), (stride,), (begin, end), (), ceil_mode)
        mean = AveragePool(("x",), "y", (kernel,), (stride,), (begin, end), ceil_mode)
        for op in (pool, mean, replace(mean, count_include_pad=True)):
            np.testing.assert_allclose(apply_op(op, [x]), onnx_output(op, x), rtol=1e-6, atol=1e-6, err_msg=str(op))


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_switches_equal_onnxruntime_with_ties(ceil_mode: bool) -> None:
    x = np.random.default_rng(1).integers(0, 3, (3, 2, 6, 5)).astype(np.float64)
    op = MaxPool(("x",), "y", (3, 2), (2, 1), (1, 0, 1, 1), (), ceil_mode)
    node = helper.make_node(
        "MaxPool",
        ["x"],
        ["y", "indices"],
        kernel_shape=op.kernel,
        strides=op.strides,
        pads=op.pads,
        ceil_mode=int(ceil_mode),
    )
    graph = helper.make_graph(
        [node],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("indices", TensorProto.INT64, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    indices = np.asarray(session.run(None, {"x": x.astype(np.float32)})[0])
    np.testing.assert_array_equal(pool_switches(op, x), indices % 30)  # ONNX counts over N·C·H·W


@pytest.mark.parametrize("opset", [14, 17, 21, 22])
@pytest.mark.parametrize("fixed_batch", [False, True])
def test_the_exported_file_keeps_names_and_output(opset: int, fixed_batch: bool) -> None:
    for seed in range(5):
        ops, shape = random_graph(seeded(seed))
        model = to_onnx(ops, shape, opset=opset, fixed_batch=fixed_batch)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        x = sample_inputs(shape, 1, seed)
        (y,) = session.run([ops[-1].output], {"input": x.astype(np.float32)})
        np.testing.assert_allclose(forward(ops, x)[ops[-1].output], y, rtol=1e-4, atol=1e-5)


def test_a_window_in_the_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="wholly in the padding"):
        pool_switches(MaxPool(("x",), "y", (2,), (1,), (1, 1), (2,)), np.ones((1, 1, 1)))


def test_a_flipped_kernel_would_show() -> None:
    rng = np.random.default_rng(2)
    op = Conv(("x",), "y", rng.standard_normal((2, 3, 3, 2)), None, (2, 1), (1, 0, 0, 1))
    x = rng.standard_normal((2, 3, 5, 5))
    right = onnx_output(op, x)
    np.testing.assert_allclose(apply_op(op, [x]), right, rtol=1e-5, atol=1e-5)
    assert np.abs(apply_op(replace(op, weight=op.weight[:, :, ::-1, ::-1]), [x]) - right).max() > 0.1
    assert np.abs(apply_op(replace(op, pads=(0, 1, 1, 0)), [x]) - right).max() > 0.1
