"""Nodes in any order: onnxruntime finds one by itself, and files are read as those in order are."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from tests.graph.sketch import Sketch

X = np.random.default_rng(0).standard_normal((30, 2, 5, 5)).astype(np.float32)


def network(seed: int | None) -> ModelProto:
    """A small network, one of whose nodes captures a tensor in a branch, its nodes shuffled where a seed is given."""
    sketch = Sketch(2, 5, 5)
    mixed = sketch.conv("x", 2, 3, out="mixed")
    value = helper.make_tensor_value_info("negated", TensorProto.FLOAT, None)
    branches = {
        name: helper.make_graph([helper.make_node(op, ["mixed"], ["negated"])], name, [], [value])
        for name, op in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    asked = sketch.node("Cast", sketch.const(np.float32(1)), to=TensorProto.BOOL)
    added = sketch.node("Add", sketch.node("If", asked, **branches), sketch.node("Relu", mixed))
    model = sketch.model(sketch.dense(sketch.node("Flatten", added), 27, 3), check=False)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(model.graph.node))
        nodes = [model.graph.node[place] for place in order]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize("seed", range(5))
def test_a_file_whose_nodes_are_shuffled_is_read_as_it_was(seed: int) -> None:
    plain, shuffled = mr.load(network(None)), mr.load(network(seed))
    assert [layer.output for layer in shuffled.layers] == [layer.output for layer in plain.layers]
    one, other = (mr.fit(net, X, 1).attribute(X) for net in (plain, shuffled))
    np.testing.assert_array_equal(one.source, other.source)
    np.testing.assert_array_equal(one.attribution, other.attribution)


def test_nodes_that_read_each_other_are_refused() -> None:
    sketch = Sketch(4)
    sketch.nodes.append(helper.make_node("Add", ["x", "behind"], ["before"], name="first"))
    sketch.nodes.append(helper.make_node("Relu", ["before"], ["behind"], name="second"))
    with pytest.raises(mr.CorruptFile, match="not a valid ONNX model"):
        mr.load(sketch.model(sketch.dense("behind", 4, 3), check=False))


def test_channels_in_blocks_are_refused_by_what_to_do(tmp_path: object) -> None:
    """What onnxruntime saves with all optimisations: tensors behind the blocks are explained all the same."""
    sketch = Sketch(16, 6, 6)
    fired = sketch.node("Relu", sketch.conv("x", 16, 16))
    rows = sketch.node("Flatten", sketch.node("GlobalAveragePool", fired))
    model = sketch.model(sketch.dense(sketch.node("Tanh", rows, out="last"), 16, 3))
    options = ort.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/all.onnx"
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    net = mr.load(options.optimized_model_filepath)
    problems = [str(problem) for problem in net.blocked["x"]]
    assert any("save the file with onnxruntime's optimisation 'extended' or less" in problem for problem in problems)
    x = np.random.default_rng(0).standard_normal((30, 16, 6, 6)).astype(np.float32)
    assert np.abs(mr.fit(net, x, 1, at="last").attribute(x).attribution).max() > 0
