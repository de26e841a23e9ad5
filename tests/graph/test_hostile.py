"""Broken and hostile files end in a MipinError, quickly and in little memory."""

from __future__ import annotations

import os
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.graph.sketch import Sketch

HUGE = 1 << 40


@contextmanager
def in_little_memory(megabytes: int = 200) -> Iterator[None]:
    """Asserts that neither Python and NumPy nor the process as a whole take more than so much on top.

    The process's peak says nothing where an earlier test has had a higher one; tracemalloc starts anew.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        yield
        allocated = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert max(allocated, grown) < megabytes, f"{allocated:.0f} MB allocated, the process grew by {grown:.0f} MB"


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


# --- external data ----------------------------------------------------------------------------------------------------


def external(folder: Path, location: str, *, length: int | str | None = None, offset: int | str | None = None) -> Path:
    """A model whose one weight [4, 3] is said to lie in `location`."""
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": length}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def weights(path: Path, elements: int = 12) -> Path:
    path.write_bytes(np.ones(elements, np.float32).tobytes())
    return path


def test_external_data_that_is_in_order(tmp_path: Path) -> None:
    weights(tmp_path / "w.bin", 20)
    assert mr.load(external(tmp_path, "w.bin", offset=16, length=48)).layers


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    outside = weights(tmp_path / "outside.bin")
    for location in ("../outside.bin", str(outside), "sub/../../outside.bin"):
        with pytest.raises(mr.CorruptFile):
            mr.load(external(tmp_path / "model", location))


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_external_data_through_a_link(link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    path = external(tmp_path / "model", "w.bin")
    link(weights(tmp_path / "secret.bin"), tmp_path / "model" / "w.bin")
    with pytest.raises(mr.CorruptFile):
        mr.load(path)


@pytest.mark.parametrize(
    ("elements", "offset", "length"),
    [(11, None, None), (12, 4, None), (12, None, 400), (12, 400, None), (13, None, None), (12, -8, 48), (12, 0, -48)],
)
def test_external_data_of_the_wrong_length(
    elements: int, offset: int | None, length: int | None, tmp_path: Path
) -> None:
    path = external(tmp_path, "w.bin", offset=offset, length=length)
    weights(tmp_path / "w.bin", elements)
    with pytest.raises(mr.CorruptFile):
        mr.load(path)


@pytest.mark.parametrize(
    ("elements", "offset", "length", "message"),
    [
        (11, None, None, "takes 48 bytes, and 44 in 'w.bin'"),
        (12, None, 40, "takes 48 bytes, and 40 in 'w.bin'"),
        (12, 4, None, "takes 48 bytes, and 44 in 'w.bin'"),
        (12, -8, None, "said to take 56 bytes at -8 of 'w.bin', which has 48"),
        (12, 400, None, "at 400 of 'w.bin', which has 48"),
        (12, None, -48, "said to take -48 bytes at 0"),
        (12, "ten", None, "the offset of tensor '.+' is 'ten', and no number of bytes"),
        (12, None, "9" * 6000, "the length of tensor '.+' is '999"),
    ],
)
def test_external_data_say_what_is_wrong_with_which_file(
    elements: int, offset: int | str | None, length: int | str | None, message: str, tmp_path: Path
) -> None:
    path = external(tmp_path, "w.bin", offset=offset, length=length)
    weights(tmp_path / "w.bin", elements)
    with pytest.raises(mr.CorruptFile, match=f"external data of '.+model.onnx' cannot be read: .*{message}") as told:
        mr.load(path)
    assert len(str(told.value)) < 1000


def test_external_data_much_longer_than_its_tensor(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(1 << 30)  # a sparse file: it takes no room on the disk
    with in_little_memory(), pytest.raises(mr.CorruptFile, match="has shape"):
        mr.load(path)


def test_external_data_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(mr.CorruptFile):
        mr.load(external(tmp_path, "w.bin"))
    with pytest.raises(mr.CorruptFile):
        mr.load(external(tmp_path, ""))


def test_external_data_of_bytes() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3)))
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(mr.InvalidData, match="pass the path"):
        mr.load(model)


# --- sizes out of all proportion --------------------------------------------------------------------------------------


def with_bias(sketch: Sketch, bias: str) -> ModelProto:
    return sketch.model(sketch.node("Gemm", "x", sketch.normal(4, 3), bias))


def constant_of_shape() -> ModelProto:
    sketch = Sketch(4)
    return with_bias(sketch, sketch.node("ConstantOfShape", sketch.ints(HUGE)))


def expand() -> ModelProto:
    sketch = Sketch(4)
    return with_bias(sketch, sketch.node("Expand", sketch.normal(3), sketch.ints(HUGE, 3)))


def range_() -> ModelProto:
    sketch = Sketch(4)
    whole = sketch.node("Range", *(sketch.const(np.array(v)) for v in (0, HUGE, 1)))
    return with_bias(sketch, sketch.node("Cast", whole, to=TensorProto.FLOAT))


def outer_product() -> ModelProto:
    sketch = Sketch(4)
    column, row = sketch.const(np.ones((1 << 20, 1))), sketch.const(np.ones((1, 1 << 20)))
    return with_bias(sketch, sketch.node("MatMul", column, row))


def gathered() -> ModelProto:
    sketch = Sketch(4)
    return with_bias(
        sketch,
        sketch.node("Gather", sketch.const(np.ones((1, 1 << 20))), sketch.const(np.zeros(1 << 20, np.int32))),
    )


def reshape() -> ModelProto:
    sketch = Sketch(4)
    return sketch.model(sketch.node("Reshape", "x", sketch.ints(-1, HUGE)))


def conv_pads() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    return sketch.model(sketch.conv("x", 2, 2, pads=[HUGE, 0, HUGE, 0]), check=False)


def pad() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    padded = sketch.node("Pad", "x", sketch.ints(0, 0, HUGE, 0, 0, 0, HUGE, 0))
    return sketch.model(sketch.conv(padded, 2, 2, strides=[1 << 38, 1]), check=False)


def pool_window() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    options: dict[str, Any] = {"kernel_shape": [HUGE, 1], "pads": [HUGE - 1, 0, HUGE - 1, 0], "dilations": [HUGE, 1]}
    return sketch.model(sketch.node("MaxPool", "x", **options), check=False)


def pool_padding() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    options: dict[str, Any] = {"kernel_shape": [HUGE, 1], "pads": [HUGE - 1, 0, HUGE - 1, 0]}
    return sketch.model(sketch.node("MaxPool", "x", **options), check=False)


def average_window() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    options: dict[str, Any] = {"kernel_shape": [HUGE, 1], "pads": [HUGE - 1, 0, HUGE - 1, 0], "count_include_pad": 1}
    return sketch.model(sketch.node("AveragePool", "x", **options), check=False)


def doubled() -> ModelProto:
    sketch = Sketch(2, 5, 5)
    out = "x"
    for _ in range(40):
        out = sketch.node("Concat", out, out, axis=1)
    return sketch.model(out, check=False)


def parts() -> ModelProto:
    sketch = Sketch(8, opset=18)
    model = sketch.model(sketch.node("Split", "x", num_outputs=1, axis=1))
    next(a for a in model.graph.node[0].attribute if a.name == "num_outputs").i = 1 << 28
    return model


def claimed_initializer() -> ModelProto:
    sketch = Sketch(4)
    model = with_bias(sketch, sketch.normal(3))
    model.graph.initializer[1].ClearField("raw_data")
    model.graph.initializer[1].dims[:] = [HUGE]
    return model


def claimed_constant() -> ModelProto:
    sketch = Sketch(4)
    bias = sketch.node("Constant", value=TensorProto(data_type=TensorProto.FLOAT, dims=[HUGE]))
    return sketch.model(sketch.node("Gemm", "x", sketch.normal(4, 3), bias), check=False)


def input_size() -> ModelProto:
    return _relu(Sketch(HUGE, 4))


def _relu(sketch: Sketch) -> ModelProto:
    return sketch.model(sketch.node("Relu", "x"))


FOLDED = [constant_of_shape, expand, range_, outer_product, gathered]
ENORMOUS = [
    *FOLDED,
    reshape,
    conv_pads,
    pad,
    pool_window,
    pool_padding,
    average_window,
    doubled,
    parts,
    claimed_initializer,
    claimed_constant,
    input_size,
]


@pytest.mark.parametrize("make", ENORMOUS)
def test_enormous_sizes(make: Callable[[], ModelProto]) -> None:
    model = make()
    with in_little_memory(), pytest.raises(mr.MipinError) as caught:
        mr.load(model)
    assert "\n" not in str(caught.value)
    # Not left to the allocator, which refuses only what no machine has.
    assert make not in FOLDED or "asks for" in str(caught.value)


def test_many_constants_of_moderate_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where none is larger than what it is made of."""
    monkeypatch.setattr("mipin_ref.graph.limits.COMPUTED", 1 << 21)
    for joins in (False, True):
        sketch = Sketch(4)
        grown = sketch.node("ConstantOfShape", sketch.ints(1 << 16), out="grown")
        for number in range(20):
            name = f"grown{number}"
            grown = sketch.node("Concat", grown, out=name, axis=0) if joins else sketch.node("Neg", grown, out=name)
        bias = sketch.node("Mul", sketch.normal(3), sketch.node("ReduceSum", grown, keepdims=1))
        with pytest.raises(mr.UnsupportedModel, match=r"'the_grown\d+' \(asks for .* with all constants up to here"):
            mr.load(with_bias(sketch, bias))


def test_many_constants_that_fit() -> None:
    sketch = Sketch(4)
    bias = sketch.node("ConstantOfShape", sketch.ints(3))
    for _ in range(20):
        bias = sketch.node("Add", bias, sketch.normal(3))
    assert mr.load(with_bias(sketch, bias)).layers


# --- graphs that contradict themselves --------------------------------------------------------------------------------


def test_negative_dimensions() -> None:
    sketch = Sketch(4)
    model = sketch.model(sketch.node("MatMul", "x", sketch.normal(4, 3)))
    model.graph.initializer[0].dims[:] = [-4, -3]
    with pytest.raises(mr.MipinError):
        mr.load(model)


def test_unsorted_cyclic_and_duplicate() -> None:
    unsorted, cyclic, twice = healthy(), healthy(), healthy()
    nodes = list(unsorted.graph.node)
    del unsorted.graph.node[:]
    unsorted.graph.node.extend(reversed(nodes))
    cyclic.graph.node[0].input[0] = cyclic.graph.node[-1].output[0]
    twice.graph.node[1].output[0] = twice.graph.node[0].output[0]
    for model in (unsorted, cyclic, twice):
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
        mr.load(model)


def test_name_that_is_no_text() -> None:
    data = healthy().SerializeToString().replace(b"the_conv0", b"the_\xff\xfe_v0")
    with pytest.raises(mr.CorruptFile, match="not UTF-8"):
        mr.load(data)


def test_attributes_of_another_kind() -> None:
    model = healthy()
    model.graph.node[0].attribute.append(helper.make_attribute("strides", "wide"))
    with pytest.raises(mr.MipinError):
        mr.load(model)
