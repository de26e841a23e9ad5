"""Fusions of onnxruntime's optimiser, each against the plain operators, and whole files that it saved itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.graph.forward import logits
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

MICROSOFT = "com.microsoft"
ROUNDING = 2e-4
"""onnxruntime's fusions reorder float32 sums, about 1e-6 of the largest value, and fits amplify that a hundredfold."""


def perceptron() -> ModelProto:
    sketch = Sketch(6)
    hidden = sketch.node("Relu", sketch.dense("x", 6, 5))
    return sketch.model(sketch.dense(sketch.node("Sigmoid", sketch.dense(hidden, 5, 4)), 4, 3))


def convolutions() -> ModelProto:
    """Convolutions with activations, and one whose output is added to a shortcut."""
    sketch = Sketch(2, 7, 7, seed=1)
    one = sketch.node("Relu", sketch.conv("x", 2, 4, pads=[1, 1, 1, 1]))
    two = sketch.node("LeakyRelu", sketch.conv(one, 4, 4, pads=[1, 1, 1, 1]), alpha=0.2)
    three = sketch.node("Relu", sketch.node("Add", sketch.conv(two, 4, 4, pads=[1, 1, 1, 1]), one))
    six = sketch.node("Clip", sketch.conv(three, 4, 3), sketch.const(0.0), sketch.const(2.0))
    return sketch.model(sketch.dense(sketch.node("Flatten", sketch.node("GlobalAveragePool", six)), 3, 3))


def _gelu(sketch: Sketch, x: str) -> str:
    """As torch exports it below opset 20."""
    scaled = sketch.node("Div", x, sketch.const(np.sqrt(2.0)))
    grown = sketch.node("Add", sketch.node("Erf", scaled), sketch.const(1.0))
    return sketch.node("Mul", sketch.node("Mul", x, grown), sketch.const(0.5))


def _layer_norm(sketch: Sketch, x: str, features: int) -> str:
    """As torch exports it below opset 17."""
    centred = sketch.node("Sub", x, sketch.node("ReduceMean", x, axes=[-1]))
    square = sketch.node("ReduceMean", sketch.node("Pow", centred, sketch.const(2.0)), axes=[-1])
    root = sketch.node("Sqrt", sketch.node("Add", square, sketch.const(1e-5)))
    scaled = sketch.node("Mul", sketch.node("Div", centred, root), sketch.positive(features))
    return sketch.node("Add", scaled, sketch.normal(features))


def mixer() -> ModelProto:
    """Tokens through a norm, a product, a bias and GELU, a shortcut and a norm behind it."""
    sketch = Sketch(4, 6, opset=13, seed=2)
    one = _layer_norm(sketch, "x", 6)
    wide = _gelu(sketch, sketch.node("Add", sketch.node("MatMul", one, sketch.normal(6, 8)), sketch.normal(8)))
    back = sketch.node("Add", sketch.node("MatMul", wide, sketch.normal(8, 6)), sketch.normal(6))
    two = _layer_norm(sketch, sketch.node("Add", "x", back), 6)
    return sketch.model(sketch.dense(sketch.node("ReduceMean", two, axes=[1], keepdims=0), 6, 3))


def turned() -> ModelProto:
    """A Transpose in front of a product, and a number behind one."""
    sketch = Sketch(5, 4, seed=3)
    tokens = sketch.node("MatMul", sketch.node("Transpose", "x", perm=[0, 2, 1]), sketch.normal(5, 5))
    scaled = sketch.node(
        "Div", sketch.node("MatMul", sketch.node("Relu", tokens), sketch.normal(5, 3)), sketch.const(3.0)
    )
    return sketch.model(sketch.dense(sketch.node("Flatten", scaled), 12, 2))


NETWORKS: dict[str, tuple[Callable[[], ModelProto], set[str]]] = {
    "perceptron": (perceptron, {"FusedGemm"}),
    "convolutions": (convolutions, {"FusedConv"}),
    "mixer": (mixer, {"BiasGelu", "LayerNormalization", "SkipLayerNormalization"}),
    "turned": (turned, {"FusedMatMul"}),
}


def optimised(
    model: ModelProto, folder: Path, level: Any = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
) -> ModelProto:
    """What onnxruntime saves of a file."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_that_onnxruntime_saved_means_the_same(name: str, tmp_path: Path) -> None:
    make, fusions = NETWORKS[name]
    model = make()
    fused = optimised(model, tmp_path)
    assert {node.op_type for node in fused.graph.node} & fusions
    plain, net = load_whole(model), load_whole(fused)
    x = np.random.default_rng(0).standard_normal((60, *plain.input_shape)).astype(np.float32)
    expected, result = (mr.fit(one, x, target=1).attribute(x[:20]) for one in (plain, net))
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        assert float(np.max(np.abs(mine - theirs))) <= ROUNDING * float(np.max(np.abs(theirs)))


def _same(sketch: Sketch, fused: str, plain: str) -> None:
    """Both outputs of one sketch, loaded apart, have equal logits and layers of the same kinds."""
    model = sketch.model(fused, plain, check=False)
    one, other = (assert_keeps_values(model, output=name) for name in (fused, plain))
    x = np.random.default_rng(3).standard_normal((4, *one.input_shape)).astype(np.float32)
    assert np.allclose(_logits(one, x), _logits(other, x), rtol=1e-5, atol=1e-5)
    assert [layer.kind for layer in one.layers] == [layer.kind for layer in other.layers]


def _logits(net: mr.Network, x: np.ndarray) -> np.ndarray:
    return logits(net, x)


@pytest.mark.parametrize(
    ("activation", "numbers", "options"),
    [
        ("Relu", [], {}),
        ("Sigmoid", [], {}),
        ("Tanh", [], {}),
        ("LeakyRelu", [0.3], {"alpha": 0.3}),
        ("HardSigmoid", [0.3, 0.4], {"alpha": 0.3, "beta": 0.4}),
    ],
)
def test_a_convolution_and_its_activation(activation: str, numbers: list[float], options: dict[str, Any]) -> None:
    sketch = Sketch(2, 5, 5)
    weight, bias = sketch.normal(3, 2, 3, 3), sketch.normal(3)
    told: dict[str, Any] = {"activation_params": numbers} if numbers else {}
    fused = sketch.node("FusedConv", "x", weight, bias, domain=MICROSOFT, activation=activation, **told)
    plain = sketch.node(activation, sketch.node("Conv", "x", weight, bias), **options)
    ends = [sketch.node("Flatten", one) for one in (fused, plain)]
    last = sketch.normal(27, 2)
    _same(sketch, *(sketch.node("MatMul", one, last) for one in ends))


def test_a_clipped_convolution() -> None:
    sketch = Sketch(2, 5, 5)
    weight, bias = sketch.normal(3, 2, 3, 3), sketch.normal(3)
    fused = sketch.node(
        "FusedConv", "x", weight, bias, domain=MICROSOFT, activation="Clip", activation_params=[0.0, 1.0]
    )
    plain = sketch.node("Clip", sketch.node("Conv", "x", weight, bias), sketch.const(0.0), sketch.const(1.0))
    last = sketch.normal(27, 2)
    _same(sketch, *(sketch.node("MatMul", sketch.node("Flatten", one), last) for one in (fused, plain)))


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("op", ["FusedMatMul", "TransposeMatMul"])
def test_a_product_with_a_number(op: str, trans_b: int) -> None:
    sketch = Sketch(4, 5)
    weight = np.random.default_rng(0).standard_normal((5, 3))
    fused = sketch.node(
        op, "x", sketch.const(weight.T if trans_b else weight), domain=MICROSOFT, alpha=0.5, transB=trans_b
    )
    plain = sketch.node("MatMul", "x", sketch.const(weight / 2))
    last = sketch.normal(12, 2)
    _same(sketch, *(sketch.node("MatMul", sketch.node("Flatten", one), last) for one in (fused, plain)))


def test_gelus() -> None:
    sketch = Sketch(5, opset=20, ir=9)
    bias, hidden = sketch.normal(4), sketch.dense("x", 5, 4)
    shifted = sketch.node("Add", hidden, bias)
    last = sketch.normal(4, 2)
    pairs = [
        (sketch.node("Gelu", hidden, domain=MICROSOFT), sketch.node("Gelu", hidden)),
        (sketch.node("BiasGelu", hidden, bias, domain=MICROSOFT), sketch.node("Gelu", shifted)),
        (sketch.node("FastGelu", hidden, domain=MICROSOFT), sketch.node("Gelu", hidden, approximate="tanh")),
        (sketch.node("FastGelu", hidden, bias, domain=MICROSOFT), sketch.node("Gelu", shifted, approximate="tanh")),
        (
            sketch.node("QuickGelu", hidden, domain=MICROSOFT, alpha=1.5),
            sketch.node("Mul", hidden, sketch.node("Sigmoid", sketch.node("Mul", hidden, sketch.const(1.5)))),
        ),
    ]
    for fused, plain in pairs:
        model = sketch.model(*(sketch.node("MatMul", one, last) for one in (fused, plain)), check=False)
        one, other = (load_whole(model, output=value.name) for value in model.graph.output)
        x = np.random.default_rng(3).standard_normal((4, 5)).astype(np.float32)
        # FastGelu is an approximation of tanh's own.
        assert np.allclose(_logits(one, x), _logits(other, x), atol=1e-5)
        del sketch.nodes[-2:]


def test_a_bias_whose_dropout_is_over() -> None:
    """onnxruntime has BiasDropout on other devices alone, so that the file itself cannot be run here."""
    sketch = Sketch(5)
    bias, other, last = sketch.normal(4), sketch.dense("x", 5, 4), sketch.normal(4, 2)
    hidden = sketch.dense("x", 5, 4)
    fused = sketch.node("BiasDropout", hidden, bias, other, domain=MICROSOFT)
    plain = sketch.node("Add", sketch.node("Add", hidden, bias), other)
    model = sketch.model(*(sketch.node("MatMul", one, last) for one in (fused, plain)), check=False)
    one, two = (mr.load(model, output=value.name, check=False) for value in model.graph.output)
    x = np.random.default_rng(3).standard_normal((4, 5)).astype(np.float32)
    assert np.allclose(_logits(one, x), _logits(two, x), rtol=1e-6)


def test_what_is_not_known_of_a_fusion_is_told() -> None:
    def told(change: Callable[[ModelProto], None]) -> str:
        sketch = Sketch(2, 5, 5)
        fused = sketch.node(
            "FusedConv", "x", sketch.normal(3, 2, 5, 5), sketch.normal(3), domain=MICROSOFT, activation="Relu"
        )
        model = sketch.model(sketch.node("Flatten", fused), check=False)
        change(model)
        with pytest.raises(mr.UnsupportedModel) as error:
            load_whole(model)
        return str(error.value)

    def activation(model: ModelProto) -> None:
        model.graph.node[0].attribute[0].s = b"Snake"

    def attribute(model: ModelProto) -> None:
        model.graph.node[0].attribute.append(onnx.helper.make_attribute("smooth", 1))

    def version(model: ModelProto) -> None:
        next(one for one in model.opset_import if one.domain == MICROSOFT).version = 7

    assert "activation 'Snake' is not known of this fusion" in told(activation)
    assert "attribute 'smooth' is not known of this fusion" in told(attribute)
    assert "version 7 of com.microsoft is not known" in told(version)
