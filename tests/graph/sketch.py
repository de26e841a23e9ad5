"""ONNX graphs written by hand, node by node, and the check that each tensor the reader keeps keeps its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

import mipin_ref as mr
from mipin_ref.graph.explained import explained
from mipin_ref.graph.forward import Recorder

Array = npt.NDArray[Any]


class Sketch:
    """Collects nodes and initializers. Outputs are named after their operator ("conv1") unless `out` names them."""

    def __init__(
        self,
        *input_shape: int | str,
        batch: int | str = "N",
        opset: int = 17,
        ir: int = 8,
        dtype: int = TensorProto.FLOAT,
        seed: int = 0,
    ) -> None:
        self.inputs = [helper.make_tensor_value_info("x", dtype, [batch, *input_shape])]
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.opset, self.ir, self.dtype = opset, ir, dtype
        self.domains: set[str] = set()
        self.rng = np.random.default_rng(seed)

    def const(self, value: npt.ArrayLike, name: str = "") -> str:
        """An initializer; floats take the sketch's type."""
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(helper.tensor_dtype_to_np_dtype(self.dtype))
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def normal(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape) / 2)

    def positive(self, *shape: int) -> str:
        return self.const(0.5 + self.rng.random(shape))

    def node(self, op: str, *inputs: str, out: str = "", domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Append a node and return its first output; further outputs are called "<first>_1" and so on."""
        name = out or f"{op.lower()}{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"the_{name}", domain=domain, **attributes))
        if domain:
            self.domains.add(domain)
        return name

    def conv(self, source: str, channels: int, outputs: int, kernel: tuple[int, ...] = (3, 3), **options: Any) -> str:
        weight = self.normal(outputs, channels // options.get("group", 1), *kernel)
        return self.node("Conv", source, weight, self.normal(outputs), **options)

    def dense(self, source: str, features: int, outputs: int) -> str:
        return self.node("Gemm", source, self.normal(features, outputs), self.normal(outputs))

    def batch_norm(self, source: str, channels: int, *, shifted: bool = True, **options: Any) -> str:
        gamma, variance = self.positive(channels), self.positive(channels)
        beta, mean = (self.normal(channels) if shifted else self.const(np.zeros(channels)) for _ in range(2))
        return self.node("BatchNormalization", source, gamma, beta, mean, variance, **options)

    def model(self, *outputs: str, check: bool = True) -> ModelProto:
        """The model; its outputs have the type and shape that onnx infers, else two open axes of the input's type."""
        graph = helper.make_graph(self.nodes, "sketch", self.inputs, [], self.initializers)
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in sorted(self.domains))]
        model = helper.make_model(graph, opset_imports=imports, ir_version=self.ir)
        inferred = {value.name: value for value in shape_inference.infer_shapes(model).graph.value_info}
        for name in outputs:
            value = inferred.get(name)
            if value is None or not value.type.tensor_type.HasField("shape"):
                value = helper.make_tensor_value_info(name, self.dtype, ["rows", "columns"])
            model.graph.output.append(value)
        if check:
            onnx.checker.check_model(model)
        return model


def tensors_of(model: ModelProto, x: Array) -> dict[str, Array]:
    """onnxruntime's value of every node output of the file, unoptimised."""
    everything = ModelProto()
    everything.CopyFrom(model)
    del everything.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    everything.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(everything.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
    return dict(zip(names, session.run(names, {given.name: x.astype(kind)}), strict=True))


def assert_keeps_values(
    model: ModelProto, *, batch: int | None = None, tolerance: float = 1e-5, output: str | None = None
) -> mr.Network:
    """Load the model and compare every tensor that the network and the file both have, aliases included.

    batch: of the file where it fixes one. The network itself must take any batch. Tolerance: of the largest value.
    """
    net = mr.load(model, output=output)
    assert_consistent(net)
    x = np.random.default_rng(1).standard_normal((batch or 5, *net.input_shape)).astype(net.dtype)
    expected = tensors_of(model, x)
    actual = Recorder(net, list(net.shapes), threads=1)(x).values
    assert {name: value.shape[1:] for name, value in actual.items()} == net.shapes
    compared = 0
    for name in expected:
        kept = net.aliases.get(name, name)
        if kept not in net.shapes:
            continue
        assert kept not in net.folded
        error = _difference(actual[kept], np.asarray(expected[name]))
        assert error <= tolerance, f"{name} (kept as {kept}) differs by {error:.1e}"
        compared += 1
    assert compared, "no tensor of the file survived"
    free = Recorder(net, [net.logits], threads=1)(np.concatenate([x, x[:1], x])[: 2 * len(x)])
    assert free.values[net.logits].shape == (2 * len(x), *net.shapes[net.logits])
    return net


def assert_consistent(net: mr.Network) -> None:
    """Each tensor is made before it is read, with the shape it is read with, and leads to the logits."""
    known, read = {net.input: net.input_shape}, {net.logits}
    for layer in net.layers:
        assert [known[name] for name in layer.inputs] == list(layer.in_shapes), layer.name
        assert layer.output not in known
        known[layer.output] = layer.out_shape
        read.update(layer.inputs)
    assert net.logits in known
    assert set(known) <= read | {net.input}
    assert not net.folded.intersection(known)
    assert not net.folded.intersection(net.aliases)
    assert set(net.aliases.values()) <= set(known)


def _difference(actual: Array, expected: Array) -> float:
    """Relative to the largest value, over the places where the file may have its batch axis."""
    found = [np.inf]
    for axis in range(expected.ndim):
        moved = np.moveaxis(expected, axis, 0)
        if moved.shape == actual.shape:
            scale = max(float(np.abs(expected).max()), 1e-6)
            found.append(float(np.abs(actual.astype(np.float64) - moved.astype(np.float64)).max()) / scale)
    return min(found)


def load_whole(source: ModelProto | bytes | str, **options: Any) -> mr.Network:
    """The network, loaded, whose input inverses reach.

    Raises UnsupportedModel where nodes without an inverse lie between it and the logits, as `fit` does.
    """
    net = mr.load(source, **options)
    explained(net, None)
    return net
