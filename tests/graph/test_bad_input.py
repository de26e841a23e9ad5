"""What a user may get wrong about a file, each told in one sentence that names the option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from tests.graph.sketch import Sketch


def open_sizes() -> ModelProto:
    """A network of images of any size for the file, of 8×8 for its last layer."""
    sketch = Sketch(2, "height", "width")
    features = sketch.node("Flatten", sketch.node("Relu", sketch.conv("x", 2, 3)))
    return sketch.model(sketch.dense(features, 108, 4))


def two_inputs() -> ModelProto:
    sketch = Sketch(4)
    sketch.inputs.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 4]))
    return sketch.model(sketch.dense(sketch.node("Add", "x", "other"), 4, 3))


def two_gates() -> ModelProto:
    sketch = Sketch(4)
    parts = [sketch.node("Sigmoid", sketch.dense("x", 4, 4)) for _ in range(2)]
    return sketch.model(sketch.dense(sketch.node("Mul", *parts), 4, 3))


def cells() -> ModelProto:
    sketch = Sketch(2, 6, 6)
    return sketch.model(sketch.conv("x", 2, 3))


def waves() -> ModelProto:
    sketch = Sketch(4)
    return sketch.model(sketch.node("Sin", sketch.dense("x", 4, 3)))


def fitted(model: ModelProto, target: Any, **options: Any) -> Callable[[], object]:
    def run() -> object:
        net = mr.load(model, **options)
        x = np.random.default_rng(0).standard_normal((9, *net.input_shape)).astype(np.float32)
        return mr.fit(net, x, target=target)

    return run


def given(value: Any) -> Callable[[], object]:
    return lambda: mr.load(two_inputs(), given={"other": value})


def sized(*sizes: int) -> Callable[[], object]:
    return lambda: mr.load(open_sizes(), input_shape={"x": sizes})


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "too large": (sized(2, 9, 9), r"cannot take samples of 2×9×9, which option 'input_shape' asks for .* 147 features"),
    "too small": (sized(2, 2, 2), "cannot take samples of 2×2×2, which option 'input_shape' asks for .* empty size"),
    "fixed": (sized(3, 8, 8), "the file fixes it at 2"),
    "too few sizes": (sized(2, 8), "has 2 sizes; a sample of 'x' .* has 3"),
    "given shape": (given(np.zeros((1, 5), np.float32)), r"given 'other' has shape \[1, 5\]"),
    "given type": (given(np.zeros((1, 4), complex)), "given 'other' is complex128; the network reads float32"),
    "given text": (given("words"), "given 'other' is <U5; the network reads float32"),
    "given NaN": (given(np.full((1, 4), np.nan, np.float32)), "given 'other' holds NaN or Inf"),
    "two gates": (
        fitted(two_gates(), 0),
        "it multiplies 'sigmoid1' and 'sigmoid3', and nothing tells which .* the gate",
    ),
    "target beyond": (fitted(cells(), (3, 0, 0)), r"target \(3, 0, 0\) is out of range"),
    "target below": (fitted(cells(), (0, -1, 0)), r"target \(0, -1, 0\) is out of range"),
    "target too short": (fitted(cells(), (0, 0)), "has 2 indices; output 'conv0' .* needs 3"),
    "nothing behind": (lambda: mr.load(waves()), "nothing in front of the output has an inverse"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_it_is_told_in_a_sentence(wrong: str) -> None:
    call, said = WRONG[wrong]
    with pytest.raises(mr.MipinError, match=said) as told:
        call()
    assert "\n" not in str(told.value)
    assert "1000003" not in str(told.value).replace(",", "")


@pytest.mark.parametrize(
    ("operator", "hint"),
    [
        ("Erfc", "export GELU in its approximation by tanh, or with the torch backend of Keras"),
        (
            "StatefulPartitionedCall",
            "export with the torch backend of Keras, where it stands for a convolution in groups",
        ),
        ("Gelu", "export at opset 20 or newer"),
        ("Bitcast", "export a layer that the exporter converts"),
    ],
)
def test_an_operator_that_an_exporter_left(operator: str, hint: str) -> None:
    """As tf2onnx does with what it cannot convert; onnxruntime runs no such file either."""
    sketch = Sketch(4)
    left = sketch.node(operator, sketch.dense("x", 4, 4))
    with pytest.raises(mr.CorruptFile) as caught:
        mr.load(sketch.model(sketch.dense(left, 4, 3), check=False))
    told = f"ONNX has no operator {operator!r} at opset 17, and the exporter left it in the file: {hint}"
    assert str(caught.value) == f"the ModelProto is not a valid ONNX model: {told}"
