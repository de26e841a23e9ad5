"""What a file may leave out or say twice, and what a path may be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.graph.draft import without_stand_in
from mipin_ref.graph.forward import Recorder, logits
from tests.graph.sketch import Sketch, load_whole


def plain(**options: int) -> ModelProto:
    sketch = Sketch(4, **options)
    hidden = sketch.node("Relu", sketch.dense("x", 4, 5), out="hidden")
    return sketch.model(sketch.node("Gemm", hidden, sketch.normal(5, 3), sketch.normal(3), out="z"))


# --- what onnxruntime loads is not refused for its looks --------------------------------------------------------------


def nameless_graph(model: ModelProto) -> None:
    model.graph.ClearField("name")


def output_without_type(model: ModelProto) -> None:
    model.graph.output[0].ClearField("type")


def output_without_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


def output_of_a_wrong_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7


def output_twice(model: ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def machine_learning_domain_alone(model: ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def long_name_of_the_domain(model: ModelProto) -> None:
    model.opset_import[0].domain = "ai.onnx"
    for node in model.graph.node:
        node.domain = "ai.onnx"


def domain_twice(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("", 17))


def domain_that_nobody_uses(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("nobody", 1))


def old_ir_without_inputs(model: ModelProto) -> None:
    model.ir_version = 3


def no_ir_version_to_speak_of(model: ModelProto) -> None:
    model.ir_version = 0


def weights_among_the_inputs(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def weight_that_nobody_reads(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "unread"))


def metadata_twice(model: ModelProto) -> None:
    for value in "ab":
        model.metadata_props.add(key="author", value=value)


def nodes_without_names(model: ModelProto) -> None:
    for node in model.graph.node:
        node.ClearField("name")


def batch_of_minus_one(model: ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1


def claimed_shape_of_nothing(model: ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("nothing", TensorProto.FLOAT, ["N", 9]))


def function_that_nobody_calls(model: ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("nobody", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))


@pytest.mark.parametrize(
    "change",
    [
        nameless_graph,
        output_without_type,
        output_without_shape,
        output_of_a_wrong_shape,
        output_twice,
        machine_learning_domain_alone,
        long_name_of_the_domain,
        domain_twice,
        domain_that_nobody_uses,
        old_ir_without_inputs,
        no_ir_version_to_speak_of,
        weights_among_the_inputs,
        weight_that_nobody_reads,
        metadata_twice,
        nodes_without_names,
        batch_of_minus_one,
        claimed_shape_of_nothing,
        function_that_nobody_calls,
    ],
)
def test_looks(change: Callable[[ModelProto], None], tmp_path: Path) -> None:
    model = plain()
    change(model)
    data = model.SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    expected = session.run(["z"], {"x": x})[0]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (path, data, model):
        net = mr.load(source)
        assert net.output_names == ("z",)
        np.testing.assert_allclose(logits(net, x), expected, rtol=1e-5, atol=1e-6)
    assert model.SerializeToString() == data


def test_the_last_import_of_a_domain_counts() -> None:
    """As in onnxruntime: Softmax of opset 11 spans all axes from the first, that of 17 the last alone."""
    sketch = Sketch(2, 3, opset=17)
    model = sketch.model(sketch.node("Softmax", sketch.node("Tanh", "x")))
    last, every = mr.load(model), None
    model.opset_import.append(helper.make_opsetid("", 11))
    every = mr.load(model)
    assert last.removed is not None
    assert every.removed is not None
    assert (last.removed.axis, every.removed.axis) == (1, None)


def test_no_import_at_all() -> None:
    model = plain()
    del model.opset_import[:]
    with pytest.raises(mr.MipinError, match="imports none"):
        mr.load(model)


def test_every_problem_behind_a_free_batch_is_named() -> None:
    for batch in ("N", -1, 0, 3):
        sketch = Sketch(2, 8, 8, batch=batch)
        out = sketch.node("Sin", sketch.conv("x", 2, 3), out="strange")
        out = sketch.node("Flatten", sketch.node("LRN", sketch.node("Relu", out), size=2, out="even"))
        with pytest.raises(mr.UnsupportedModel) as caught:
            load_whole(sketch.model(sketch.dense(out, 108, 3), check=False))
        assert [node.split(" (")[0] for node in caught.value.nodes] == [
            "Sin 'the_strange'",
            "LRN 'the_even'",
        ]


@pytest.mark.parametrize("factor", [1, 3])
def test_the_stand_in_for_the_batch_is_not_told(factor: int) -> None:
    sketch = Sketch(4)
    batch = sketch.node(
        "Mul", sketch.node("Slice", sketch.node("Shape", "x"), sketch.ints(0), sketch.ints(1)), sketch.ints(factor)
    )
    target = sketch.node("Concat", batch, sketch.ints(5), axis=0)
    with pytest.raises(mr.UnsupportedModel, match=r"\[N, 5\]|3·N, 5\]") as caught:
        load_whole(sketch.model(sketch.node("Reshape", "x", target), check=False))
    assert "00003" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("[1000003, 5]", "[N, 5]"),
        ("asks for 5,000,015 elements", "asks for 5·N elements"),
        ("1,000,003 rows", "N rows"),
        ("3,000,009, 4", "3·N, 4"),
        ("1,000,004 of 9,999,999", "1,000,004 of 9,999,999"),
        ("100,000,300 bytes", "100·N bytes"),
        ("12,345 of 1000", "12,345 of 1000"),
    ],
)
def test_the_stand_in_is_told_as_the_batch_in_any_spelling(told: str, expected: str) -> None:
    assert without_stand_in(told) == expected


# --- operators that onnxruntime does not have -------------------------------------------------------------------------


def test_a_type_that_onnxruntime_lacks() -> None:
    sketch = Sketch(5, opset=16, dtype=TensorProto.DOUBLE)
    model = sketch.model(sketch.dense(sketch.node("LeakyRelu", sketch.dense("x", 5, 6), out="leaky"), 6, 3))
    for check in (True, False):
        with pytest.raises(mr.UnsupportedModel, match=r"LeakyRelu.*leaky") as caught:
            logits(load_whole(model, check=check), np.zeros((1, 5)))
        assert "\n" not in str(caught.value)


def test_what_onnxruntime_refuses_while_it_runs() -> None:
    """A network that no file leads to: its weights do not fit its input."""
    net = replace(mr.load(plain()), input_shape=(9,))
    with pytest.raises(mr.UnsupportedModel, match="cannot run the network"):
        Recorder(net, [net.logits], threads=1)(np.zeros((2, 9), np.float32))


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["a" * 5000, "a\0b", "a\ud800b", "/dev/null", "/proc/self/mem", "a/" * 3000])
def test_paths_that_lead_nowhere(path: str) -> None:
    for given in (path, Path(path)):
        with pytest.raises(mr.MipinError) as caught:
            mr.load(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, ["model.onnx"], object(), 1.5])
def test_sources_that_are_no_model(source: object) -> None:
    with pytest.raises(mr.InvalidData, match="a model is given as"):
        mr.load(source)  # type: ignore[arg-type]


def test_a_path_that_does_not_say_where() -> None:
    """What nobody foresaw is still a MipinError."""

    class Odd(os.PathLike[str]):
        def __fspath__(self) -> str:
            return 3  # type: ignore[return-value]

    with pytest.raises(mr.CorruptFile, match="cannot be read: TypeError"):
        mr.load(Odd())  # type: ignore[arg-type]


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(plain().SerializeToString())
    path.chmod(0)
    if os.access(path, os.R_OK):  # for root nothing is closed: then as nobody
        # What loading imports is imported before: Python itself may lie where nobody reads.
        program = "import os, sys, mipin_ref as mr\nmr.load(sys.argv[1])\nos.setuid(65534)\ntry: mr.load(sys.argv[1])\n"
        program += "except mr.MipinError as error: print(error)"
        tmp_path.chmod(0o755)
        found = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
        assert "cannot be read" in found.stdout or "there is no file" in found.stdout, found
    else:
        with pytest.raises(mr.InvalidData, match="cannot be read"):
            mr.load(path)
