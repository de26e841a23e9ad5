"""If on what the inputs' values decide: the branch that is taken, in place of the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.layers import Activation
from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]
FLOAT = TensorProto.FLOAT


def branch(nodes: list[NodeProto], outputs: list[str], **weights: Array) -> GraphProto:
    values = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return helper.make_graph(nodes, "branch", [], values, tensors)


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)


def weights(*shape: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def flagged(sketch: Sketch, *names: str) -> None:
    for name in names:
        sketch.inputs.append(helper.make_tensor_value_info(name, TensorProto.BOOL, []))


def run(model: ModelProto, x: Array, **flags: bool) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {"x": x, **{name: np.array(value) for name, value in flags.items()}})
    return np.asarray(made)


def assert_taken(model: ModelProto, **flags: bool) -> mr.Network:
    """The network computes what the file does with these flags, and inverses reach its input."""
    net = mr.load(model, given=flags)
    x = np.random.default_rng(2).standard_normal((9, *net.input_shape)).astype(np.float32)
    np.testing.assert_allclose(net.predict(x)[1], run(model, x, **flags), rtol=1e-4, atol=1e-5)
    assert not net.problems
    assert mr.fit(net, x, target=1).attribute(x).value.shape == x.shape
    assert not any("1000003" in name for name in net.shapes)
    return net


def two_ways() -> ModelProto:
    """Both branches call their tensors alike; weights inside and outside of them."""
    sketch = Sketch(5)
    flagged(sketch, "flag")
    shared = sketch.normal(5, 4)
    ways = [
        branch(
            [node("MatMul", ["x", shared], ["inner"]), node("Add", ["inner", "bias"], ["made"]), last],
            ["out"],
            bias=weights(4, seed=seed),
        )
        for seed, last in ((1, node("Relu", ["made"], ["out"])), (2, node("Tanh", ["made"], ["out"])))
    ]
    out = sketch.node("If", "flag", then_branch=ways[0], else_branch=ways[1], out="chosen")
    return sketch.model(sketch.dense(out, 4, 3))


@pytest.mark.parametrize(("flag", "function"), [(True, "Relu"), (False, "Tanh")])
def test_the_branch_that_is_taken(flag: bool, function: str) -> None:
    net = assert_taken(two_ways(), flag=flag)
    assert [layer.function for layer in net.layers if isinstance(layer, Activation)] == [function]
    assert "chosen" in net.shapes


def test_the_branches_differ_in_their_hash() -> None:
    nets = [mr.load(two_ways(), given={"flag": flag}) for flag in (True, False)]
    assert nets[0].sha256 != nets[1].sha256


def test_an_if_on_a_constant_of_the_file() -> None:
    model = two_ways()
    place = next(i for i, value in enumerate(model.graph.input) if value.name == "flag")
    del model.graph.input[place]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    net = mr.load(model)
    x = weights(6, 5)
    np.testing.assert_allclose(net.predict(x)[1], run(two_ways(), x, flag=True), rtol=1e-5, atol=1e-6)


def test_without_the_value_it_is_asked_for() -> None:
    with pytest.raises(mr.UnsupportedModel, match="bind all but the one to explain"):
        mr.load(two_ways())


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_nested(outer: bool, inner: bool) -> None:
    """An If inside an If, on a flag of its own, which captures tensors of both graphs around it and hides one."""
    sketch = Sketch(5)
    flagged(sketch, "outer", "inner")
    sketch.node("Relu", sketch.node("MatMul", "x", sketch.normal(5, 5)), out="base")

    def leaf(seed: int) -> GraphProto:
        nodes = [node("MatMul", ["step", "weight"], ["product"]), node("Add", ["product", "base"], ["result"])]
        return branch(nodes, ["result"], weight=weights(5, 5, seed=seed))

    def middle(seed: int) -> GraphProto:
        nodes = [
            node("Mul", ["base", "weight"], ["step"]),
            node("If", ["inner"], ["result2"], then_branch=leaf(seed), else_branch=leaf(seed + 1)),
        ]
        return branch(nodes, ["result2"], weight=weights(1, 5, seed=seed + 2))

    out = sketch.node("If", "outer", then_branch=middle(10), else_branch=middle(20), out="chosen")
    assert_taken(sketch.model(sketch.dense(sketch.node("Relu", out), 5, 3)), outer=outer, inner=inner)


def test_a_branch_that_hands_on_a_tensor_from_outside() -> None:
    sketch = Sketch(5)
    flagged(sketch, "flag")
    base = sketch.node("Relu", sketch.node("MatMul", "x", sketch.normal(5, 4)), out="base")
    ways = branch([node("Identity", [base], ["same"])], ["same"]), branch([node("Tanh", [base], ["same"])], ["same"])
    out = sketch.node("If", "flag", then_branch=ways[0], else_branch=ways[1], out="chosen")
    model = sketch.model(sketch.dense(out, 4, 3))
    for flag in (True, False):
        assert_taken(model, flag=flag)


@pytest.mark.parametrize("flag", [True, False])
def test_several_outputs(flag: bool) -> None:
    sketch = Sketch(5)
    flagged(sketch, "flag")
    base = sketch.node("Relu", sketch.node("MatMul", "x", sketch.normal(5, 4)), out="base")
    alike = branch([node("Tanh", [base], ["one"]), node("Relu", [base], ["two"])], ["one", "two"])
    apart = branch([node("Tanh", [base], ["one"]), node("Sigmoid", [base], ["two"])], ["two", "one"])
    left = sketch.node("If", "flag", then_branch=alike, else_branch=apart, outputs=2, out="chosen")
    out = sketch.node("Concat", left, f"{left}_1", axis=1)
    assert_taken(sketch.model(sketch.dense(out, 8, 3)), flag=flag)


@pytest.mark.parametrize("flag", [True, False])
def test_a_weight_that_a_branch_hands_on(flag: bool) -> None:
    sketch = Sketch(5)
    flagged(sketch, "flag")
    ways = [
        branch([node("Identity", ["w"], ["weight"])], ["weight"], w=weights(5, 4, seed=1)),
        branch([node("Constant", [], ["weight"], value=numpy_helper.from_array(weights(5, 4, seed=2)))], ["weight"]),
    ]
    weight = sketch.node("If", "flag", then_branch=ways[0], else_branch=ways[1], out="weight_chosen")
    out = sketch.node("Relu", sketch.node("MatMul", "x", weight))
    assert_taken(sketch.model(sketch.dense(out, 4, 3)), flag=flag)


def test_two_ifs_whose_branches_call_their_tensors_alike() -> None:
    sketch = Sketch(5)
    flagged(sketch, "first", "second")
    out = "x"
    for number, flag in enumerate(("first", "second")):
        ways = [
            branch(
                [node("MatMul", [out, "w"], ["made"]), node(op, ["made"], ["o"])],
                ["o"],
                w=weights(5, 5, seed=10 * number + seed),
            )
            for op, seed in (("Relu", 1), ("Tanh", 2))
        ]
        out = sketch.node("If", flag, then_branch=ways[0], else_branch=ways[1], out=f"chosen{number}")
    model = sketch.model(sketch.dense(out, 5, 3))
    for first, second in ((True, True), (True, False), (False, True)):
        assert_taken(model, first=first, second=second)


def test_an_if_that_is_not_decided_is_a_node_without_an_inverse() -> None:
    sketch = Sketch(5)
    flag = sketch.node("Cast", sketch.node("ReduceMax", "x", axes=[0, 1], keepdims=0), to=TensorProto.BOOL)
    ways = [branch([node(op, ["x"], ["o"])], ["o"]) for op in ("Relu", "Tanh")]
    out = sketch.node("If", flag, then_branch=ways[0], else_branch=ways[1], out="chosen")
    net = mr.load(sketch.model(sketch.dense(out, 5, 3)))
    assert net.sources == {"chosen": (5,)}
    assert "the_chosen" in str([str(problem) for problem in net.blocked["x"]])


def test_an_input_that_only_the_branch_not_taken_reads() -> None:
    sketch = Sketch(5)
    flagged(sketch, "flag")
    sketch.inputs.append(helper.make_tensor_value_info("spare", FLOAT, ["N", 5]))
    ways = [branch([node("Relu", [source], ["o"])], ["o"]) for source in ("x", "spare")]
    out = sketch.node("If", "flag", then_branch=ways[0], else_branch=ways[1], out="chosen")
    model = sketch.model(sketch.dense(out, 5, 3))
    net = mr.load(model, given={"flag": True, "spare": np.zeros((1, 5), np.float32)})
    assert net.input == "x"
    assert not net.sources
    with pytest.raises(mr.UnsupportedModel, match="does not depend"):
        mr.load(model, given={"flag": False, "spare": np.zeros((1, 5), np.float32)})
