"""Files of a few kilobytes that ask for all the memory or time there is: refused, or loaded at the price of a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.layers import Conv
from tests.graph.limited import load_limited
from tests.graph.sketch import Sketch

# --- local functions --------------------------------------------------------------------------------------------------


def with_functions(bodies: dict[str, list[tuple[str, ...]]], last: str) -> ModelProto:
    """bodies: function -> (operator, input, output) of its nodes; one that is a key is a call."""
    sketch = Sketch(4)
    model = sketch.model(sketch.dense(sketch.node(last, "x", domain="local"), 4, 2), check=False)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for name, nodes in bodies.items():
        body = [
            helper.make_node(op, [given], [made], domain="local" if op in bodies else "") for op, given, made in nodes
        ]
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], body, opsets))
    return model


def doubling(levels: int) -> ModelProto:
    """Each function calls the one before twice."""
    bodies: dict[str, list[tuple[str, ...]]] = {"F0": [("Relu", "a", "b")]}
    for level in range(1, levels + 1):
        bodies[f"F{level}"] = [(f"F{level - 1}", "a", "m"), (f"F{level - 1}", "m", "b")]
    return with_functions(bodies, f"F{levels}")


def chained(length: int) -> ModelProto:
    """Each function calls the one before once."""
    bodies: dict[str, list[tuple[str, ...]]] = {"F0": [("Relu", "a", "b")]}
    bodies |= {f"F{n}": [(f"F{n - 1}", "a", "b")] for n in range(1, length + 1)}
    return with_functions(bodies, f"F{length}")


def in_circles() -> ModelProto:
    return with_functions({"F0": [("F1", "a", "b")], "F1": [("F0", "a", "b")]}, "F0")


def with_a_large_constant() -> ModelProto:
    """A megabyte, 2^12 times."""
    model = doubling(12)
    weight = numpy_helper.from_array(np.ones((512, 512), np.float32), "w")
    model.functions[0].node.insert(0, helper.make_node("Constant", [], ["unused"], value=weight))
    return model


def test_functions_that_honestly_nest() -> None:
    assert len(mr.load(doubling(5)).layers) == 2**5 + 1
    assert len(mr.load(chained(40)).layers) == 2


# --- constants --------------------------------------------------------------------------------------------------------


def added(sketch: Sketch, constant: str) -> ModelProto:
    """x [N, 4] plus the sum of a constant."""
    return sketch.model(sketch.node("Add", "x", sketch.node("ReduceSum", constant, keepdims=0)), check=False)


def filled(sketch: Sketch, *shape: int, dtype: type = np.float32) -> str:
    value = numpy_helper.from_array(np.ones(1, dtype))
    return sketch.node("ConstantOfShape", sketch.ints(*shape), value=value)


def products() -> ModelProto:
    sketch = Sketch(4)
    a, b = filled(sketch, 4096, 1 << 13), filled(sketch, 1 << 13, 4096)
    for number in range(12):
        product = sketch.node("MatMul", a, b, out=f"product{number}")
    return added(sketch, product)


def whole_number_product() -> ModelProto:
    sketch = Sketch(4)
    a = filled(sketch, 2048, 2048, dtype=np.int64)
    return added(sketch, sketch.node("Cast", sketch.node("MatMul", a, a), to=TensorProto.FLOAT))


def concat_doubled() -> ModelProto:
    sketch = Sketch(4)
    constant = sketch.normal(64)
    for number in range(21):
        constant = sketch.node("Concat", constant, constant, axis=0, out=f"twice{number}")
    return added(sketch, constant)


def many_of_one_size() -> ModelProto:
    sketch = Sketch(4)
    constant = filled(sketch, 1 << 22)
    constants = [sketch.node("Neg", constant, out=f"neg{number}") for number in range(300)]
    return added(
        sketch,
        sketch.node("Concat", *(sketch.node("Slice", c, sketch.ints(0), sketch.ints(1)) for c in constants), axis=0),
    )


def one_sum_of_many() -> ModelProto:
    sketch = Sketch(4)
    return added(sketch, sketch.node("Sum", *[filled(sketch, 1 << 24)] * 5000))


def as_text() -> ModelProto:
    sketch = Sketch(4)
    text = sketch.node("Cast", filled(sketch, 1 << 24), to=TensorProto.STRING)
    return added(sketch, sketch.node("Cast", text, to=TensorProto.FLOAT))


def as_doubles() -> ModelProto:
    sketch = Sketch(4)
    doubles = sketch.node("Cast", filled(sketch, 1 << 27, dtype=np.int8), to=TensorProto.DOUBLE)
    return added(sketch, sketch.node("Cast", doubles, to=TensorProto.FLOAT))


def shifted_often() -> ModelProto:
    """One constant of the file's, that every layer would hold for itself."""
    sketch = Sketch(1 << 20)
    shift, out = filled(sketch, 1 << 20), "x"
    for number in range(200):
        out = sketch.node("Relu", sketch.node("Add", out, shift, out=f"add{number}"), out=f"relu{number}")
    return sketch.model(out, check=False)


def for_every_sample() -> ModelProto:
    """[N, 1000] ones, for a batch of any size."""
    sketch = Sketch(4)
    batch = sketch.node("Slice", sketch.node("Shape", "x"), sketch.ints(0), sketch.ints(1))
    shape = sketch.node("Concat", batch, sketch.ints(1000), axis=0)
    return sketch.model(sketch.node("Concat", "x", sketch.node("Expand", sketch.normal(1), shape), axis=1), check=False)


def sparse_weight() -> ModelProto:
    model = added(sketch := Sketch(4), sketch.normal(4))
    values, indices = np.ones(1, np.float32), np.zeros(1, np.int64)
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(values, "unused"), numpy_helper.from_array(indices, "at"), [1 << 30]
        )
    )
    return model


def sparse_constant() -> ModelProto:
    sketch = Sketch(4)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "values"),
        numpy_helper.from_array(np.zeros(1, np.int64), "at"),
        [1 << 30],
    )
    return added(sketch, sketch.node("Constant", sparse_value=sparse))


# --- activations and time ---------------------------------------------------------------------------------------------


def wide_pads() -> ModelProto:
    sketch = Sketch(1, 8, 8)
    return sketch.model(sketch.node("GlobalAveragePool", sketch.conv("x", 1, 1, pads=[8000] * 4)), check=False)


def wide_pads_and_strides() -> ModelProto:
    """The output is small: what is padded is not."""
    sketch = Sketch(1, 8, 8)
    return sketch.model(sketch.conv("x", 1, 1, pads=[100_000] * 4, strides=[10_000] * 2), check=False)


def long_edge() -> ModelProto:
    """Taps that meet a million times beyond the input."""
    sketch = Sketch(1, 8)
    return sketch.model(sketch.conv("x", 1, 1, (2048,), pads=[1 << 19, 1 << 19]), check=False)


def pool(op: str, size: int, kernel: int, **options: Any) -> ModelProto:
    sketch = Sketch(1, size, size)
    return sketch.model(sketch.node(op, "x", kernel_shape=[kernel, kernel], **options), check=False)


def average_everywhere() -> ModelProto:
    return pool("AveragePool", 1300, 1290)


def maximum_everywhere() -> ModelProto:
    return pool("MaxPool", 1300, 1290)


def strided(strides: int = 10**12, size: int = 6) -> ModelProto:
    sketch = Sketch(2, size, size)
    out = sketch.node("Relu", sketch.conv("x", 2, 3, strides=[strides] * 2))
    return sketch.model(sketch.dense(sketch.node("Flatten", out), 3, 3))


def wide_norm() -> ModelProto:
    sketch = Sketch(1 << 20, 1, 1)
    return sketch.model(sketch.node("LRN", "x", size=(1 << 21) + 1), check=False)


def large_input() -> ModelProto:
    sketch = Sketch(3, 1 << 14, 1 << 14)
    return sketch.model(sketch.node("GlobalAveragePool", "x"), check=False)


def many_activations() -> ModelProto:
    sketch = Sketch(3, 2048, 2048)
    out = "x"
    for number in range(200):
        out = sketch.node("Relu", out, out=f"relu{number}")
    return sketch.model(sketch.node("GlobalAveragePool", out), check=False)


def all_at_once() -> ModelProto:
    """Forty branches, joined at the end: none can be let go of before."""
    sketch = Sketch(1, 4096, 4096)
    out = [sketch.node("Sigmoid", "x", out=f"branch{number}") for number in range(40)]
    return sketch.model(sketch.node("GlobalAveragePool", sketch.node("Sum", *out)), check=False)


def one_weight_for_many_layers() -> ModelProto:
    sketch = Sketch(64, 256, 256)
    weight, out = sketch.normal(64, 64, 3, 3), "x"
    for number in range(100):
        out = sketch.node("Conv", out, weight, pads=[1, 1, 1, 1], out=f"conv{number}")
    return sketch.model(sketch.node("GlobalAveragePool", out), check=False)


def written_out_in_float64() -> ModelProto:
    """onnxruntime writes the input of such a convolution out once for every tap."""
    sketch = Sketch(64, 512, 512, dtype=TensorProto.DOUBLE)
    return sketch.model(sketch.node("GlobalAveragePool", sketch.conv("x", 64, 1, (5, 5))), check=False)


def baked_batch() -> ModelProto:
    """A batch that no other size can stand for, of some gigabytes."""
    sketch = Sketch(64, 32, 32, batch=1 << 14)
    out = sketch.node("Transpose", sketch.node("Relu", "x"), perm=[0, 2, 3, 1])
    return sketch.model(sketch.node("Reshape", out, sketch.ints(1 << 14, 1 << 16)), check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: doubling(28), "expand to 2.7e"),
        (lambda: chained(1000), "more than 64 deep"),
        (in_circles, "calls itself"),
        (with_a_large_constant, "expand to"),
        (products, "ask for .* multiplications"),
        (whole_number_product, "ask for .* multiplications"),
        (concat_doubled, "asks for .* bytes"),
        (many_of_one_size, "asks for .* bytes"),
        (one_sum_of_many, "ask for .* multiplications"),
        (as_text, "casts numbers to text"),
        (as_doubles, "asks for .* bytes"),
        (shifted_often, "layers up to here ask for"),
        (for_every_sample, "loaded 2 layers"),
        (sparse_weight, "loaded"),
        (sparse_constant, "its value is sparse"),
        (wide_pads, "256,192,036 elements a sample"),
        (wide_pads_and_strides, "once it is padded"),
        (long_edge, "too much work"),
        (average_everywhere, "1,664,100 locations"),
        (maximum_everywhere, "1,664,100 locations"),
        (wide_norm, "operations"),
        (large_input, "805,306,368 elements a sample"),
        (many_activations, "elements a sample"),
        (all_at_once, "elements a sample|on one sample takes .* bytes"),
        (one_weight_for_many_layers, "operations"),
        (written_out_in_float64, "on one sample takes .* bytes"),
        (baked_batch, "fixes its batch at 16,384, which is too much"),
        (strided, "loaded"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_budget(make: Callable[[], ModelProto], reason: str, tmp_path: Path) -> None:
    model = make()
    assert model.ByteSize() < 2 << 20
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    found = load_limited(path)
    assert "1000003" not in found.message
    assert re.search(reason, found.message), found.message


# --- what looks large and is not --------------------------------------------------------------------------------------


def test_a_stride_beyond_the_map_is_fitted_at_once() -> None:
    x = np.random.default_rng(0).standard_normal((20, 2, 6, 6)).astype(np.float32)
    far, near = (mr.load(strided(strides)) for strides in (10**12, 6))
    assert far.layers[0].out_shape == near.layers[0].out_shape == (3, 1, 1)
    results = [mr.fit(net, x, 1).attribute(x) for net in (far, near)]
    np.testing.assert_array_equal(results[0].source, results[1].source)
    np.testing.assert_array_equal(results[0].attribution, results[1].attribution)


def test_a_stride_that_fits_is_left_alone() -> None:
    (window,) = (layer.window for layer in mr.load(strided(9, size=3)).layers if isinstance(layer, Conv))
    assert window.strides == (9, 9)


def test_a_mean_over_a_large_map_is_a_global_one() -> None:
    net = mr.load(pool("AveragePool", 1199, 1199))
    assert net.layers[0].kind == "GlobalAveragePool"
    x = np.random.default_rng(0).standard_normal((2, 1, 1199, 1199)).astype(np.float32)
    assert mr.attribute(net, x, 0, "gradient").attribution.shape == x.shape


@pytest.mark.parametrize("batch", [-1, 0, 1, 256, 1 << 40])
def test_whatever_batch_the_file_fixes(batch: int) -> None:
    sketch = Sketch(2, 5, 5, batch=batch)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", sketch.conv("x", 2, 2)), 18, 3), check=False))
    assert net.input_shape == (2, 5, 5)


def test_a_network_of_honest_size() -> None:
    """VGG19's largest maps, and a dense layer as large as its first."""
    sketch = Sketch(3, 224, 224)
    out = sketch.node("Relu", sketch.conv("x", 3, 64, pads=[1] * 4))
    out = sketch.node("MaxPool", sketch.conv(out, 64, 64, pads=[1] * 4), kernel_shape=[32, 32], strides=[32, 32])
    weight = filled(sketch, 64 * 7 * 7, 4096)
    assert mr.load(sketch.model(sketch.node("MatMul", sketch.node("Flatten", out), weight))).classes == 4096


@pytest.mark.slow
def test_a_network_whose_weights_are_all_computed() -> None:
    """The VGG19 that comes with onnx: a few kilobytes, and 575 MB of weights."""
    found = load_limited(Path(onnx.__file__).parent / "backend/test/data/light/light_vgg19.onnx")
    assert found.message.startswith("loaded")


@pytest.mark.slow
def test_thousands_of_layers(tmp_path: Path) -> None:
    """Every second is a scale that folds into the one before."""
    sketch = Sketch(4, 6, 6)
    weight, scale, out = sketch.normal(4, 4, 1, 1), sketch.const(np.full((4, 1, 1), 0.5)), "x"
    for number in range(3000):
        out = sketch.node("Mul", sketch.node("Conv", out, weight, out=f"conv{number}"), scale, out=f"mul{number}")
    path = tmp_path / "model.onnx"
    path.write_bytes(sketch.model(sketch.node("Flatten", out), check=False).SerializeToString())
    assert load_limited(path).message == "loaded 3001 layers"
