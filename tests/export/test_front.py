"""Explainers of files of which a part is run as it is in front of the layers, written into them node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.merged import front_of
from tests.export import openvino, running
from tests.export.running import Array, assert_exact, assert_like, expected
from tests.graph import test_apart as apart
from tests.graph.quantising import NETWORKS, dynamic, samples, static
from tests.graph.sketch import Sketch
from tests.graph.test_inputs import joined, states
from tests.graph.test_masks import attending
from tests.graph.test_masks import samples as masked_samples
from tests.graph.test_several_inputs import network as of_two
from tests.graph.test_several_inputs import samples as samples_of_two

RNG = np.random.default_rng(8)


def explained(folder: Path, model: ModelProto, x: Any, at: str = "auto", **given: Any) -> tuple[mr.Inverse, Path]:
    """An inverse of class 1, and its explainer."""
    inverse = mr.fit(mr.load(model, **given), x, 1, at=at)
    made = mr.export(inverse, folder / "e.onnx")
    onnx.checker.check_model(made.path, full_check=True)
    assert made.exact.error <= running.EXACT
    return inverse, made.path


def told(path: Path, x: Mapping[str, Array], size: int, *, optimised: bool = False) -> dict[str, Array]:
    """The outputs, of runs of so many samples; the last stands for those that are missing."""
    count = len(next(iter(x.values())))
    parts = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        parts.append(running.outputs(path, {name: one[rows] for name, one in x.items()}, optimised=optimised))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def assert_agrees(inverse: mr.Inverse, path: Path, x: Any, counts: tuple[int, ...] = (5, 1)) -> None:
    """counts: of samples in a run, where any number may be in one."""
    front = front_of(inverse.net)
    assert front is not None
    named = x if isinstance(x, dict) else {inverse.net.input: x}
    read = {one.name for one in onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()}
    assert read == {*named}
    wanted = expected(inverse, x)
    for size in counts if front.apart is None else (front.apart,):
        assert_exact(told(path, named, size), wanted)
        assert_like(told(path, named, size, optimised=True), wanted)


STATES: dict[str, Array] = {"the same axis": states(1, 4), "another axis": states(2, 1, 4)}


@pytest.mark.parametrize("place", STATES)
def test_a_value_that_every_sample_has(place: str, tmp_path: Path) -> None:
    """As the layers read it, it is repeated for as many samples as come."""
    dims: tuple[int | str, ...] = ("N", 4) if STATES[place].ndim == 2 else (2, "N", 4)
    x = RNG.standard_normal((40, 5), np.float32)
    inverse, path = explained(tmp_path, joined(*dims), x, given={"state": STATES[place]})
    assert_agrees(inverse, path, x[:5])


def counted(axis: int) -> ModelProto:
    """A running sum of both inputs, which has no inverse. axis: of the samples in the other one."""
    sketch = Sketch(5)
    sketch.inputs.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, ("N", 5) if axis == 0 else (5, "N")))
    state = "state" if axis == 0 else sketch.node("Transpose", "state", perm=[1, 0])
    sums = sketch.node("CumSum", sketch.node("Add", "x", state), sketch.const(np.array(1)))
    return sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(sums, 5, 6)), 6, 3))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_value_that_the_first_nodes_read(axis: int, tmp_path: Path) -> None:
    x, state = RNG.standard_normal((40, 5), np.float32), RNG.standard_normal(5).astype(np.float32)
    inverse, path = explained(tmp_path, counted(axis), x, given={"state": np.expand_dims(state, axis)})
    assert_agrees(inverse, path, x[:5])


def test_samples_between_the_axes_of_a_tensor(tmp_path: Path) -> None:
    """Sums along time of [T, N, C]."""
    sketch = Sketch(4, 6)
    sums = sketch.node("CumSum", sketch.node("Transpose", "x", perm=[1, 0, 2]), sketch.const(np.array(2)))
    back = sketch.node("Transpose", sketch.node("Relu", sums), perm=[1, 0, 2])
    model = sketch.model(sketch.dense(sketch.node("Flatten", back), 24, 3))
    x = RNG.standard_normal((40, 4, 6), np.float32)
    inverse, path = explained(tmp_path, model, x)
    front = front_of(inverse.net)
    assert front is not None
    assert [*front.tensors.values()] == [Layout(1)]
    assert_agrees(inverse, path, x[:5])


ROWS = {"slower": (1, 4), "faster": (4, 1)}
"""How samples vary among rows that steps are folded into -> rows of each sample, slower and faster than it."""


@pytest.mark.parametrize("samples_vary", ROWS)
def test_samples_among_the_rows_of_a_tensor(samples_vary: str, tmp_path: Path) -> None:
    """A quantised product of [N · T, C], or of [T · N, C], is read as the file has it."""
    sketch, slower = Sketch(4, 6, seed=7), samples_vary == "slower"
    rows = "x" if slower else sketch.node("Transpose", "x", perm=[1, 0, 2])
    made = sketch.node("MatMul", sketch.node("Reshape", rows, sketch.ints(-1, 6)), sketch.normal(6, 5))
    made = sketch.node("Reshape", sketch.node("Relu", made), sketch.ints(*((-1, 4, 5) if slower else (4, -1, 5))))
    first = made if slower else sketch.node("Transpose", made, perm=[1, 0, 2])
    model = sketch.model(sketch.dense(sketch.node("Flatten", first), 20, 3))
    inverse, path = explained(tmp_path, static(model, tmp_path, "pairs"), samples(model, 9))
    front = front_of(inverse.net)
    assert front is not None
    assert Layout(0, ROWS[samples_vary]) in front.tensors.values()
    assert_agrees(inverse, path, samples(model, 4)[:5])


def test_an_input_whose_samples_are_not_its_first_axis(tmp_path: Path) -> None:
    sketch = Sketch(5, batch=3)
    sketch.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, "batch", 5))]
    sums = sketch.node("CumSum", "x", sketch.const(np.array(2)))
    first = sketch.node("Transpose", sums, perm=[1, 0, 2])
    model = sketch.model(sketch.dense(sketch.node("Flatten", first), 20, 3))
    x = RNG.standard_normal((40, 4, 5), np.float32)
    inverse, path = explained(tmp_path, model, x)
    assert inverse.net.input_shape == (4, 5)
    assert_agrees(inverse, path, x[:5])


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (apart.centred, 1),
        (apart.quantised, 1),
        (lambda: apart.fixed(flat=True), 1),
        (apart.folded, 1),
        (apart.pairs, 2),
    ],
    ids=["mean over the batch", "quantised", "reshaped to one", "folded into one", "two"],
)
def test_as_many_samples_as_the_first_nodes_take(make: Callable[[], ModelProto], size: int, tmp_path: Path) -> None:
    """The file's inputs and outputs say so."""
    model = make()
    dims = [one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    x = RNG.standard_normal((40, *dims), np.float32)
    inverse, path = explained(tmp_path, model, x)
    runtime = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {one.shape[0] for one in (*runtime.get_inputs(), *runtime.get_outputs())} == {size}
    assert_agrees(inverse, path, x[:5])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_a_file_that_computes_with_integers(name: str, kind: str, tmp_path: Path) -> None:
    """The values are those that the file computes, to the last bit; the input is what it is rounded to."""
    model = NETWORKS[name]()
    file = static(model, tmp_path, "pairs") if kind == "static" else dynamic(model, tmp_path)
    x = samples(model, 9)
    inverse, path = explained(tmp_path, file, x)
    assert inverse.net.file is not None
    front = inverse.net.file
    size = front.apart or 5
    found = told(path, {"x": x[:5]}, size)
    assert np.array_equal(found["logits"], inverse.net.predict(x[:5])[1].astype(np.float32))
    assert_agrees(inverse, path, x[:5])


def test_graphs_of_the_first_nodes(tmp_path: Path) -> None:
    """An If whose branches read inputs and weights from outside, have inner names alike and an If of their own."""

    def branch(name: str, operator: str, read: str) -> onnx.GraphProto:
        leaves = {
            f"{way}_branch": helper.make_graph(
                [
                    helper.make_node("Mul", ["inner", "half"], ["leaf"]),
                    helper.make_node(leaf, ["leaf"], ["end"]),
                ],
                way,
                [],
                [helper.make_tensor_value_info("end", TensorProto.FLOAT, None)],
            )
            for way, leaf in (("then", "Sin"), ("else", "Cos"))
        }
        nodes = [
            helper.make_node(operator, [read], ["inner"]),
            helper.make_node("If", ["low"], ["out"], **leaves),
        ]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)])

    sketch = Sketch(5, batch=1, opset=13)
    sketch.const(np.array(0.5), "half")
    sketch.inputs.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, (1, 5)))
    sums = sketch.node("CumSum", "x", sketch.const(np.array(1)))
    total = sketch.node("ReduceSum", sums, keepdims=0)
    sketch.node("Less", total, sketch.const(np.array(0.0)), out="low")
    branches = {"then_branch": branch("a", "Neg", "state"), "else_branch": branch("b", "Abs", sums)}
    chosen = sketch.node("If", "low", **branches, out="chosen")
    hidden = sketch.node("Relu", sketch.dense(sketch.node("Reshape", chosen, sketch.ints(1, 5)), 5, 6))
    x = RNG.standard_normal((40, 5), np.float32)
    state = {"state": RNG.standard_normal((1, 5), np.float32)}
    inverse, path = explained(tmp_path, sketch.model(sketch.dense(hidden, 6, 3)), x, given=state)
    low = x[:5].cumsum(axis=1).sum(axis=1) < 0
    assert low.any()
    assert not low.all()
    assert {one.op_type for one in onnx.load(path).graph.node} >= {"If"}
    assert_agrees(inverse, path, x[:5])


@pytest.mark.parametrize("kind", ["added", "gated", "ids"])
def test_several_inputs_of_each_sample(kind: str, tmp_path: Path) -> None:
    """The explainer reads them under the file's names, in the file's types."""
    x = samples_of_two(kind=kind)
    inverse, path = explained(tmp_path, of_two(kind), x, input="x")
    assert_agrees(inverse, path, {name: value[:5] for name, value in x.items()})
    again = mr.export(inverse, tmp_path / "given.onnx", check={name: value[:3] for name, value in x.items()})
    assert again.exact.samples == 3


def test_a_mask_that_leaves_tokens_out_by_minus_infinity(tmp_path: Path) -> None:
    """What the softmax makes of it is zero, and so is what comes back from there."""
    x = masked_samples()
    inverse, path = explained(tmp_path, attending(-np.inf), x, input="x")
    some = {name: value[:5] for name, value in x.items()}
    assert (some["mask"] == 0).any()
    assert_agrees(inverse, path, some)


def test_operators_of_another_domain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What onnxruntime's tools write: sums and pools of integers are operators of its own."""
    model = NETWORKS["residual"]()
    x = samples(model, 9)
    inverse = mr.fit(mr.load(static(model, tmp_path, "operators")), x, 1)
    inverse.save(tmp_path / "one.mipin")
    asked = ["export", str(tmp_path / "int8.onnx"), "--inverse", str(tmp_path / "one.mipin")]
    assert main([*asked, "-o", str(tmp_path / "c.onnx")]) == 0
    assert "it runs where the model does: com.microsoft.QLinearAdd, " in capsys.readouterr().out
    made = mr.export(inverse, tmp_path / "e.onnx")
    assert {"com.microsoft.QLinearAdd", "com.microsoft.QLinearGlobalAveragePool"} <= {*made.foreign}
    imported = {one.domain: one.version for one in onnx.load(made.path).opset_import}
    assert imported == {"": made.opset, "com.microsoft": 1}
    assert_agrees(inverse, made.path, x[:5])


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_raw_pixels_for_a_file_that_computes_with_integers(kind: str, tmp_path: Path) -> None:
    """They are prepared first, then rounded as the file does; one picture at a time where a range is of all of them."""
    model = NETWORKS["residual"]()
    file = static(model, tmp_path, "pairs") if kind == "static" else dynamic(model, tmp_path)
    pixels = RNG.integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
    x = (pixels.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    inverse = mr.fit(mr.load(file), x, 1)
    made = mr.export(inverse, tmp_path / "e.onnx", preprocess="unit")
    assert made.inputs == {"pixels": (1 if kind == "dynamic" else "N", 6, 6, 3)}
    found = told(made.path, {"pixels": pixels[:5]}, 1 if kind == "dynamic" else 5)
    assert_exact(found, expected(inverse, x[:5]))


@pytest.mark.parametrize("kind", ["a state", "a running sum", "another axis", "one sample at a time"])
def test_another_runtime(kind: str, tmp_path: Path) -> None:
    """OpenVINO computes what the first nodes make, and repeats what every sample has."""
    x = RNG.standard_normal((40, 5), np.float32)
    model, given = {
        "a state": (joined(2, "N", 4), {"state": STATES["another axis"]}),
        "a running sum": (counted(0), {"state": states(1, 5)}),
        "another axis": (counted(1), {"state": states(5, 1)}),
        "one sample at a time": (apart.quantised(), None),
    }[kind]
    inverse, path = explained(tmp_path, model, x, given=given)
    front = front_of(inverse.net)
    assert front is not None
    size = front.apart or 5
    assert_like(openvino.run(path, x[:size]), expected(inverse, x[:size]))
