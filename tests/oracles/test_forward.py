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
from tests.oracles.spec import (
    LRN,
    Activation,
    Array,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    MaxPool,
    Op,
    Pad,
    Shape,
    Slice,
    tensor_shapes,
)

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_same_forward(network: Network, seed: int, split: bool = False) -> None:
    x = sample_inputs(network.input_shape, 4, seed)
    ours, theirs = forward(network.ops, x), onnx_values(network.ops, x, split=split)
    assert ours.keys() == theirs.keys()
    for name, shape in tensor_shapes(network.ops, network.input_shape).items():
        assert ours[name].shape == (4, *shape)
        scale = 1 + np.abs(ours[name]).max()
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name)


@FEW
@given(chains(), st.integers(0, 99))
def test_chains_equal_onnxruntime(network: Network, seed: int) -> None:
    assert_same_forward(network, seed)


@FEW
@given(graphs(), st.integers(0, 99), st.booleans())
def test_graphs_equal_onnxruntime(network: Network, seed: int, split: bool) -> None:
    assert_same_forward(network, seed, split)


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
        ops: list[Op] = [pool, mean, replace(mean, count_include_pad=True)]
        if 2 * kernel - 1 <= length + begin + end:
            ops += [replace(mean, dilations=(2,)), replace(mean, dilations=(2,), count_include_pad=True)]
        for op in ops:
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


@pytest.mark.parametrize(
    ("begin", "end"), [((0, 1, 0), (3, 3, 4)), ((1, 0, 0), (2, 4, 5)), ((0, 0, 2), (3, 4, 3)), ((2, 1, 1), (3, 2, 2))]
)
def test_slices_equal_onnxruntime(begin: Shape, end: Shape) -> None:
    x = np.random.default_rng(2).standard_normal((2, 3, 4, 5)).astype(np.float32).astype(np.float64)
    op = Slice(("x",), "y", begin, end)
    np.testing.assert_array_equal(apply_op(op, [x]), onnx_output(op, x))
    assert apply_op(op, [x]).shape == (2, *(e - b for b, e in zip(begin, end, strict=True)))


@pytest.mark.parametrize("value", [0.0, -1.5])
@pytest.mark.parametrize(("begin", "end"), [((0, 1, 0), (0, 2, 3)), ((2, 0, 0), (1, 0, 0)), ((0, 0, 1), (0, 0, 0))])
def test_pads_equal_onnxruntime(begin: Shape, end: Shape, value: float) -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 5)).astype(np.float32).astype(np.float64)
    op = Pad(("x",), "y", begin, end, value)
    np.testing.assert_array_equal(apply_op(op, [x]), onnx_output(op, x))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_response_normalisation_equals_onnxruntime(size: int) -> None:
    """onnxruntime has it for images and odd sizes alone."""
    x = 3 * np.random.default_rng(4).standard_normal((2, 6, 3, 2))
    op = LRN(("x",), "y", size, alpha=0.3, beta=0.6, bias=1.7)
    np.testing.assert_allclose(apply_op(op, [x]), onnx_output(op, x), rtol=1e-5, atol=1e-6)
    default = LRN(("x",), "y", size)
    np.testing.assert_allclose(apply_op(default, [x]), onnx_output(default, x), rtol=1e-5, atol=1e-6)


CONSTANTS: list[tuple[Shape, Shape]] = [
    ((3,), (3,)),
    ((3, 1, 1), (3, 1, 1)),
    ((), ()),
    ((3, 4, 3), (3,)),
    ((3,), (1, 4, 3)),
    ((4, 3), (1, 1, 3)),
]


@pytest.mark.parametrize(("scale", "shift"), CONSTANTS)
def test_affines_equal_onnxruntime(scale: Shape, shift: Shape) -> None:
    """One axis means the channels, here of the map's last length too; all others broadcast as NumPy does."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 3, 4, 3))
    op = ChannelAffine(("x",), "y", np.asarray(rng.standard_normal(scale)), np.asarray(rng.standard_normal(shift)))
    y = apply_op(op, [x])
    np.testing.assert_allclose(y, onnx_output(op, x), rtol=1e-5, atol=1e-6)
    a, b = (v.reshape(3, 1, 1) if v.ndim == 1 else v for v in (op.scale, op.shift))
    np.testing.assert_allclose(y, a * x + b, rtol=1e-14)


def test_a_split_stands_for_slices_that_tile() -> None:
    def part(output: str, begin: int, end: int, low: int = 0) -> Slice:
        return Slice(("x",), output, (low, begin), (3, end))

    def kinds(*parts: Slice) -> list[str]:
        ops: list[Op] = [*parts, Concat(tuple(p.output for p in parts), "y", 2)]
        x = sample_inputs((3, 6), 2, 6)
        whole, cut = onnx_values(ops, x), onnx_values(ops, x, split=True)
        assert all(np.array_equal(whole[name], cut[name]) for name in whole)
        np.testing.assert_array_equal(whole["y"], forward(ops, x)["y"])
        return [node.op_type for node in to_onnx(ops, (3, 6), split=True).graph.node[:-1]]

    assert kinds(part("a", 0, 2), part("b", 2, 6)) == ["Split"]
    assert kinds(part("c", 4, 6), part("a", 0, 1), part("b", 1, 4)) == ["Split"]
    assert kinds(part("a", 0, 2), part("b", 3, 6)) == ["Slice", "Slice"]
    assert kinds(part("a", 0, 3), part("b", 2, 6)) == ["Slice", "Slice"]
    assert kinds(part("a", 0, 2), part("b", 2, 5)) == ["Slice", "Slice"]
    assert kinds(part("a", 0, 2, 1), part("b", 2, 6, 1)) == ["Slice", "Slice"]
    assert kinds(part("a", 0, 6)) == ["Slice"]


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Slice(("x",), "y", (0, 3), (1, 2)), "Slice 'y'"),
        (Slice(("x",), "y", (0,), (1,)), "Slice 'y'"),
        (LRN(("x",), "y", 2), "size 2 is even"),
        (ChannelAffine(("x",), "y", np.ones(3), np.ones(2)), r"shape \(3,\) does not fit"),
        (ChannelAffine(("x",), "y", np.ones((2, 1, 3)), np.ones(2)), "does not fit"),
    ],
)
def test_shapes_that_do_not_fit(op: Op, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tensor_shapes([op], (2, 3))


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
