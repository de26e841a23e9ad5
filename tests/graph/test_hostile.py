"""Broken and hostile files end in a MipinError, quickly and in little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import mipin_ref as mr
from tests.graph.sketch import Sketch, load_whole


def healthy() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    out = sketch.dense(sketch.node("Flatten", sketch.conv("x", 2, 2)), 18, 3)
    return sketch.model(out)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello, this is no model\n", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000), b"\xff" * 64],
    ids=["empty", "text", "png", "zeros", "ones"],
)
def test_not_onnx(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        with pytest.raises(mr.MipinError, match=r"not an? (valid )?ONNX model"):
            mr.load(source)


def test_truncated() -> None:
    data = healthy().SerializeToString()
    loaded = 0
    for cut in range(0, len(data), 3):
        try:
            mr.load(data[:cut])
            loaded += 1
        except mr.MipinError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert loaded == 0


def test_flipped_bytes() -> None:
    """Any outcome but another kind of exception: a flipped weight is still a model."""
    data = bytearray(healthy().SerializeToString())
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(data), 300):
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(0, 8))
        try:
            mr.load(bytes(changed))
        except mr.MipinError as error:
            assert str(error)  # noqa: PT017


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="folder"):
        mr.load(tmp_path)
    with pytest.raises(mr.InvalidData, match="there is no file"):
        mr.load(tmp_path / "missing.onnx")


# --- graphs that contradict themselves --------------------------------------------------------------------------------


def test_negative_dimensions() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3)))
    model.graph.initializer[0].dims[:] = [-4, -3]
    with pytest.raises(mr.MipinError):
        mr.load(model)


def test_cyclic_and_duplicate() -> None:
    cyclic, twice = healthy(), healthy()
    cyclic.graph.node[0].input[0] = cyclic.graph.node[-1].output[0]
    twice.graph.node[1].output[0] = twice.graph.node[0].output[0]
    for model in (cyclic, twice):
        with pytest.raises(mr.CorruptFile, match="not a valid ONNX model"):
            mr.load(model)


def test_name_that_no_node_makes() -> None:
    model = healthy()
    model.graph.node[0].input[1] = "nowhere"
    with pytest.raises(mr.CorruptFile):
        mr.load(model)


def test_function_that_calls_itself() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("Ouroboros", "x", domain="local"), check=False)
    body = [helper.make_node("Ouroboros", ["a"], ["b"], domain="local")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model.functions.append(helper.make_function("local", "Ouroboros", ["a"], ["b"], body, opsets))
    with pytest.raises(mr.MipinError):
        mr.load(model)


@pytest.mark.parametrize(
    ("op", "constants"),
    [
        ("Unsqueeze", [np.zeros(2, np.int64)]),
        ("Pad", [np.zeros(3, np.int64)]),
        ("BatchNormalization", [np.ones(7, np.float32)] * 4),
        ("Reshape", [np.full(2, np.nan, np.float32)]),
        ("Reshape", [np.full(2, np.inf, np.float32)]),
        ("Clip", [np.array(["low"])]),
        ("MatMul", [np.ones((), np.float32)]),
        ("Conv", [np.ones((3, 2), np.float32)]),
        ("Add", [np.ones((9, 2, 2, 4, 4), np.float32)]),
        ("PRelu", [np.array([1, 2])]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operands_that_do_not_fit(op: str, constants: list[np.ndarray]) -> None:
    """The checker passes these: only reading finds out."""
    model = healthy()
    del model.graph.node[:], model.graph.initializer[:]
    names = [f"c{i}" for i in range(len(constants))]
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for v, n in zip(constants, names, strict=True))
    model.graph.node.append(helper.make_node(op, ["x", *names], [model.graph.output[0].name], name="the_odd"))
    onnx.checker.check_model(model)
    with pytest.raises(mr.UnsupportedModel, match="the_odd"):
        load_whole(model)


def test_name_that_is_no_text() -> None:
    data = healthy().SerializeToString().replace(b"the_conv0", b"the_\xff\xfe_v0")
    with pytest.raises(mr.CorruptFile, match="not UTF-8"):
        mr.load(data)


def test_attributes_of_another_kind() -> None:
    model = healthy()
    model.graph.node[0].attribute.append(helper.make_attribute("strides", "wide"))
    with pytest.raises(mr.MipinError):
        mr.load(model)
