"""Normalisations written out: every spelling that exporters have is one layer, and what is none stays none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from mipin_ref.layers import Affine, Norm
from tests.graph.sketch import Sketch, assert_keeps_values

SHAPE = (6, 4, 5)
EPSILON = 1e-3
"""Large, so that the values tell where it is missing or in another place."""


class Words:
    """The nodes of a spelling on `of`, over `axes`, in the form that the opset of the sketch has."""

    def __init__(self, sketch: Sketch, of: str, axes: tuple[int, ...], shape: tuple[int, ...] = SHAPE) -> None:
        self.sketch, self.of, self.axes = sketch, of, axes
        self.count = int(np.prod([shape[axis - 1] for axis in axes]))
        self.scale = [1] * len(shape)
        for axis in axes:
            self.scale[axis - 1] = shape[axis - 1]

    def number(self, value: float) -> str:
        return self.sketch.const(np.float32(value))

    def reduced(self, op: str, source: str, keepdims: int = 1) -> str:
        inputs = self.sketch.opset >= (13 if op == "ReduceSum" else 18)
        if inputs:
            return self.sketch.node(op, source, self.sketch.ints(*self.axes), keepdims=keepdims)
        return self.sketch.node(op, source, axes=list(self.axes), keepdims=keepdims)

    def mean(self) -> str:
        return self.reduced("ReduceMean", self.of)

    def square(self, source: str) -> str:
        return self.sketch.node("Pow", source, self.number(2.0))

    def lifted(self, source: str, by: float = EPSILON) -> str:
        return self.sketch.node("Add", source, self.number(by))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.sketch.node(op, *inputs, **attributes)

    def gamma(self) -> str:
        return self.sketch.positive(*self.scale)

    def beta(self) -> str:
        return self.sketch.normal(*self.scale)


def torch_layer_norm(w: Words) -> str:
    z = w.node("Sub", w.of, w.mean())
    root = w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.square(z))))
    return w.node("Add", w.node("Mul", w.node("Div", z, root), w.gamma()), w.beta())


def two_centres(w: Words) -> str:
    """The difference computed twice, as where an exporter does not share it."""
    z, again = w.node("Sub", w.of, w.mean()), w.node("Sub", w.of, w.mean())
    return w.node("Div", z, w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.square(again)))))


def by_reciprocal(w: Words) -> str:
    z = w.node("Sub", w.of, w.mean())
    root = w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.node("Mul", z, z))))
    return w.node("Mul", w.node("Mul", w.node("Reciprocal", root), z), w.gamma())


def by_power(w: Words) -> str:
    z = w.node("Sub", w.of, w.mean())
    return w.node("Mul", z, w.node("Pow", w.lifted(w.reduced("ReduceMean", w.square(z))), w.number(-0.5)))


def with_sums(w: Words) -> str:
    """Means as sums that are divided, or taken times a constant."""
    mean = w.node("Div", w.reduced("ReduceSum", w.of), w.number(w.count))
    z = w.node("Sub", w.of, mean)
    variance = w.node("Mul", w.number(1 / w.count), w.reduced("ReduceSum", w.node("Mul", z, z)))
    return w.node("Div", z, w.node("Sqrt", w.lifted(variance)))


def keras(w: Words) -> str:
    """tf.nn.batch_normalization: x · (rsqrt · gamma) + (beta - mean · (rsqrt · gamma))."""
    mean = w.mean()
    z = w.node("Sub", w.of, mean)
    root = w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.node("Mul", z, z))))
    inverse = w.node("Mul", w.node("Reciprocal", root), w.gamma())
    return w.node("Add", w.node("Mul", w.of, inverse), w.node("Sub", w.beta(), w.node("Mul", mean, inverse)))


def keras3(w: Words) -> str:
    """x · inverse + (-mean · inverse + beta)."""
    mean = w.mean()
    root = w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.square(w.node("Sub", w.of, mean)))))
    inverse = w.node("Mul", w.node("Div", w.number(1.0), root), w.gamma())
    rest = w.node("Add", w.node("Mul", w.node("Neg", mean), inverse), w.beta())
    return w.node("Add", w.node("Mul", w.of, inverse), rest)


def flax(w: Words) -> str:
    """The variance as mean of squares less square of the mean, not below zero; axes lost and brought back."""
    mean = w.node("Mul", w.reduced("ReduceSum", w.of, 0), w.number(1 / w.count))
    squares = w.node("Mul", w.reduced("ReduceSum", w.node("Mul", w.of, w.of), 0), w.number(1 / w.count))
    variance = w.node("Max", w.number(0.0), w.node("Sub", squares, w.node("Mul", mean, mean)))
    back = [1 if axis in w.axes else size for axis, size in enumerate(SHAPE, 1)]
    shape = w.sketch.ints(-1, *back)
    z = w.node("Sub", w.of, w.node("Reshape", mean, shape))
    root = w.node("Sqrt", w.lifted(w.node("Reshape", variance, shape)))
    return w.node("Add", w.node("Mul", z, w.node("Mul", w.node("Reciprocal", root), w.gamma())), w.beta())


def unbiased(w: Words) -> str:
    """(x - mean) / (standard deviation + epsilon), the squares' sum by n - 1."""
    z = w.node("Sub", w.of, w.mean())
    variance = w.node("Div", w.reduced("ReduceSum", w.square(z)), w.number(w.count - 1))
    return w.node("Div", z, w.lifted(w.node("Sqrt", variance)))


def instance_of_rank_one(w: Words) -> str:
    """Through nodes that hand on, between all of the others."""
    z = w.node("Identity", w.node("Sub", w.of, w.node("Cast", w.mean(), to=TensorProto.FLOAT)))
    square = w.node("Identity", w.square(z))
    root = w.node("Identity", w.node("Sqrt", w.node("Identity", w.lifted(w.reduced("ReduceMean", square)))))
    return w.node("Div", z, root)


def rms(w: Words) -> str:
    root = w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.square(w.of))))
    return w.node("Mul", w.node("Mul", w.of, w.node("Reciprocal", root)), w.gamma())


def rms_divided(w: Words) -> str:
    return w.node("Div", w.of, w.node("Sqrt", w.lifted(w.reduced("ReduceMean", w.node("Mul", w.of, w.of)))))


def l2(w: Words) -> str:
    """torch.nn.functional.normalize: by the norm, which is 1e-12 at least, expanded."""
    norm = w.node("Clip", w.reduced("ReduceL2", w.of), w.number(2.0))
    return w.node("Div", w.of, w.node("Expand", norm, w.node("Shape", w.of)))


def l2_keras(w: Words) -> str:
    """tf.math.l2_normalize: x · rsqrt(max(sum of squares, epsilon))."""
    squares = w.reduced("ReduceSum", w.node("Mul", w.of, w.of))
    return w.node("Mul", w.of, w.node("Reciprocal", w.node("Sqrt", w.node("Max", squares, w.number(4.0)))))


def l2_plain(w: Words) -> str:
    return w.node("Div", w.of, w.lifted(w.node("Sqrt", w.reduced("ReduceSumSquare", w.of))))


def l1(w: Words) -> str:
    return w.node("Div", w.of, w.node("Max", w.reduced("ReduceL1", w.of), w.number(4.0)))


def l1_sum(w: Words) -> str:
    return w.node("Div", w.of, w.lifted(w.reduced("ReduceSum", w.node("Abs", w.of))))


CENTRED = (
    *(torch_layer_norm, two_centres, by_reciprocal, by_power, with_sums, keras, keras3, flax, unbiased),
    instance_of_rank_one,
)
SPELLINGS = (*CENTRED, rms, rms_divided, l2, l2_keras, l2_plain, l1, l1_sum)


def network(spelling: Callable[[Words], str], axes: tuple[int, ...], opset: int) -> mr.Network:
    sketch = Sketch(*SHAPE, opset=opset, ir=10)
    source = sketch.conv("x", 6, 6, (1, 1), out="source")
    out = sketch.node("Relu", spelling(Words(sketch, source, axes)))
    flat = sketch.node("Flatten", out)
    return assert_keeps_values(sketch.model(sketch.dense(flat, int(np.prod(SHAPE)), 3), check=False))


@pytest.mark.parametrize("axes", [(1,), (3,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_one_layer(spelling: Callable[[Words], str], axes: tuple[int, ...]) -> None:
    net = network(spelling, axes, 13)
    assert [layer.kind for layer in net.layers] == ["Conv", "Norm", "Activation", "Reshape", "Dense"]
    (norm,) = (layer for layer in net.layers if isinstance(layer, Norm))
    assert (norm.input, norm.over, norm.centred) == ("source", axes, spelling in CENTRED)


@pytest.mark.parametrize("spelling", [keras, keras3, torch_layer_norm])
def test_means_of_tokens_as_pooling(spelling: Callable[[Words], str]) -> None:
    """tf2onnx writes the mean over the last of three axes as a GlobalAveragePool: [N, T, 1]."""
    sketch = Sketch(6, 5)
    words = Words(sketch, sketch.node("MatMul", "x", sketch.normal(5, 4), out="source"), (2,), (6, 4))
    words.reduced = lambda op, source, keepdims=1: sketch.node("GlobalAveragePool", source)  # type: ignore[method-assign]
    out = sketch.node("Flatten", sketch.node("Relu", spelling(words)))
    net = assert_keeps_values(sketch.model(sketch.dense(out, 24, 3), check=False))
    assert [layer.kind for layer in net.layers] == ["TokenDense", "Norm", "Activation", "Reshape", "Dense"]
    (norm,) = (layer for layer in net.layers if isinstance(layer, Norm))
    assert (norm.input, norm.over, norm.channels, norm.centred) == ("source", (2,), 2, True)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 18, 21, 23])
@pytest.mark.parametrize("spelling", [torch_layer_norm, with_sums, keras, rms, l2_keras])
def test_at_every_opset(spelling: Callable[[Words], str], opset: int) -> None:
    assert sum(isinstance(layer, Norm) for layer in network(spelling, (3,), opset).layers) == 1


def test_scale_and_shift_right_behind_belong_to_it() -> None:
    norms = [one for one in network(torch_layer_norm, (3,), 13).layers if isinstance(one, Norm)]
    assert [norm.scale.shape for norm in norms] == [(1, 1, 5)]
    assert np.ptp(norms[0].scale) > 0
    assert np.ptp(norms[0].shift) > 0


@pytest.mark.parametrize(("axes", "axis"), [((1,), 1), ((3,), 3), ((2, 3), 1)])
def test_channels_are_on_the_axis_of_a_layer_norm(axes: tuple[int, ...], axis: int) -> None:
    (norm,) = (layer for layer in network(rms_divided, axes, 13).layers if isinstance(layer, Norm))
    assert norm.channels == axis


def test_a_scale_along_another_axis_tells_where_the_channels_are() -> None:
    """An InstanceNorm over one axis: its parameters are one a channel."""
    sketch = Sketch(6, 5)
    z = two_centres(Words(sketch, "x", (2,), (6, 5)))
    out = sketch.node("Relu", sketch.node("Mul", z, sketch.positive(6, 1)))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", out), 30, 2)))
    (norm,) = (layer for layer in net.layers if isinstance(layer, Norm))
    assert norm.channels == 1


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_groups_between_two_reshapes(groups: int) -> None:
    """torch's GroupNorm: Reshape InstanceNormalization Reshape Mul Add."""
    sketch = Sketch(*SHAPE)
    grouped = sketch.node("Reshape", sketch.conv("x", 6, 6, (1, 1), out="source"), sketch.ints(0, groups, -1))
    ones, zeros = sketch.const(np.ones(groups)), sketch.const(np.zeros(groups))
    normed = sketch.node("InstanceNormalization", grouped, ones, zeros, epsilon=EPSILON)
    back = sketch.node("Reshape", normed, sketch.ints(0, 6, 4, 5))
    scaled = sketch.node("Mul", back, sketch.positive(6, 1, 1))
    out = sketch.node("Relu", sketch.node("Add", scaled, sketch.normal(6, 1, 1), out="end"))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", out), 120, 3)))
    assert [layer.kind for layer in net.layers] == ["Conv", "Norm", "Activation", "Reshape", "Dense"]
    norm = net.layers[1]
    assert isinstance(norm, Norm)
    assert (norm.input, norm.output, norm.channels, norm.scale.shape) == ("source", "end", 1, (6, 1, 1))
    assert norm.split == (groups, 120 // groups)


def test_groups_of_channels_that_are_last() -> None:
    """flax's GroupNorm: [N, H, W, G, C / G], mean and variance over H, W and C / G."""
    sketch = Sketch(4, 5, 6)
    words = Words(sketch, sketch.node("Reshape", "x", sketch.ints(-1, 4, 5, 3, 2)), (1, 2, 4), (4, 5, 3, 2))
    back = sketch.node("Reshape", two_centres(words), sketch.ints(-1, 4, 5, 6))
    out = sketch.node("Relu", sketch.node("Mul", back, sketch.positive(6)))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", out), 120, 3)))
    assert [layer.kind for layer in net.layers] == ["Norm", "Activation", "Reshape", "Dense"]
    norm = net.layers[0]
    assert isinstance(norm, Norm)
    assert (norm.channels, norm.scale.shape) == (3, (1, 1, 6))


def test_groups_that_another_layer_reads_stay_apart() -> None:
    sketch = Sketch(6, 4, 5)
    grouped = sketch.node("Reshape", "x", sketch.ints(0, 2, -1))
    ones, zeros = sketch.const(np.ones(2)), sketch.const(np.zeros(2))
    normed = sketch.node("InstanceNormalization", grouped, ones, zeros)
    back = sketch.node("Reshape", normed, sketch.ints(0, 6, 4, 5))
    both = sketch.node("Add", sketch.node("Flatten", back), sketch.node("Flatten", normed))
    net = assert_keeps_values(sketch.model(sketch.dense(both, 120, 3)))
    (norm,) = (layer for layer in net.layers if isinstance(layer, Norm))
    assert norm.in_shape == (2, 60)


def test_what_the_file_needs_besides_stays() -> None:
    """The centred tensor has another reader: what makes it are layers too, but the divisor is none."""
    sketch = Sketch(6, 4, 5)
    words = Words(sketch, "x", (3,))
    z = sketch.node("Sub", "x", words.mean(), out="centred")
    root = sketch.node("Sqrt", words.lifted(words.reduced("ReduceMean", words.square(z))), out="root")
    both = sketch.node("Add", sketch.node("Div", z, root), z)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", both), 120, 3)), check=False)
    assert [layer.kind for layer in net.layers] == ["Reduce", "Difference", "Norm", "Add", "Reshape", "Dense"]
    assert "root" not in net.shapes
    assert not net.blocked


@pytest.mark.parametrize("wrong", ["epsilon", "axes", "factor", "centre"])
def test_a_normalisation_that_is_not_recognised_is_told_as_one(wrong: str) -> None:
    """In one sentence, not a refusal for each of its nodes."""
    sketch = Sketch(*SHAPE)
    words = Words(sketch, sketch.conv("x", 6, 6, (1, 1)), (3,))
    z = sketch.node("Sub", words.of, words.mean())
    square = words.square(z)
    variance = words.reduced("ReduceMean", square)
    if wrong == "axes":
        variance = sketch.node("ReduceMean", square, axes=[2], keepdims=1)
    if wrong == "centre":
        # Less another mean than the one whose squares are averaged.
        variance = sketch.node("ReduceMean", square, axes=[2], keepdims=1)
        z = sketch.node("Sub", words.of, sketch.node("ReduceMean", words.of, axes=[2], keepdims=1))
    if wrong == "factor":
        variance = sketch.node("Add", variance, words.reduced("ReduceMean", square))
    lifted = sketch.node("Add", variance, sketch.normal(6, 1, 1)) if wrong == "epsilon" else words.lifted(variance)
    out = sketch.node("Div", z, sketch.node("Sqrt", lifted), out="end")
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", out), 120, 3)), check=False)
    (problem,) = {problem for problems in net.blocked.values() for problem in problems}
    assert str(problem).startswith("Div 'the_end' (it divides by a root of a mean or sum of squares, as a LayerNorm")
    assert [layer.kind for layer in net.layers] == ["Reshape", "Dense"]


def test_nodes_of_a_normalisation_are_none_that_is_refused() -> None:
    """Where nothing behind them has an inverse, the message names what has none."""
    sketch = Sketch(*SHAPE)
    normed = torch_layer_norm(Words(sketch, sketch.conv("x", 6, 6, (1, 1)), (3,)))
    out = sketch.node("Cos", sketch.dense(sketch.node("Flatten", normed), 120, 3), out="odd")
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(sketch.model(out), check=False)
    assert [node.split(" (")[0] for node in caught.value.nodes] == ["Cos 'the_odd'"]


@pytest.mark.parametrize("spelling", [torch_layer_norm, rms])
def test_over_the_samples_of_a_batch(spelling: Callable[[Words], str]) -> None:
    sketch = Sketch(*SHAPE)
    words = Words(sketch, sketch.conv("x", 6, 6, (1, 1)), (1,))
    words.axes = (0, 2, 3)
    out = sketch.node("Flatten", spelling(words))
    net = mr.load(sketch.model(sketch.dense(out, 120, 3), check=False), check=False)
    (problem,) = {problem for problems in net.blocked.values() for problem in problems}
    assert "it normalises over the samples of a batch: export in evaluation mode" in str(problem)


def test_a_product_with_a_divisor_of_another_tensor_is_no_normalisation() -> None:
    sketch = Sketch(*SHAPE)
    source = sketch.conv("x", 6, 6, (1, 1))
    words = Words(sketch, source, (3,))
    root = sketch.node("Sqrt", words.lifted(words.reduced("ReduceMean", words.square(source))))
    other = sketch.node("Div", sketch.node("Relu", "x"), root, out="other")
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", other), 120, 3)), check=False)
    assert not any(isinstance(layer, Norm) for layer in net.layers)


def test_a_constant_in_front_stays_a_layer() -> None:
    """What is taken times a constant before it is normalised is another tensor."""
    sketch = Sketch(*SHAPE)
    scaled = sketch.node("Mul", "x", sketch.positive(6, 4, 5), out="scaled")
    out = sketch.node("Relu", two_centres(Words(sketch, scaled, (3,))))
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Flatten", out), 120, 3)))
    assert isinstance(net.layers[0], Affine)
    assert isinstance(net.layers[1], Norm)
