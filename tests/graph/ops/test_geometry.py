"""Windows of every shape: convolution and pooling in one to three dimensions, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.layers import AveragePool, Conv, MaxPool
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole, tensors_of

SIZES = {1: (9,), 2: (8, 7), 3: (5, 6, 4)}


def conv_only(rank: int, **options: Any) -> mr.Network:
    sketch = Sketch(4, *SIZES[rank])
    out = sketch.conv("x", 4, 6, (3,) * rank, **options)
    return assert_keeps_values(sketch.model(out))


def pool_only(rank: int, **options: Any) -> mr.Network:
    sketch = Sketch(3, *SIZES[rank])
    mixed = sketch.conv("x", 3, 3, (1,) * rank)
    return assert_keeps_values(sketch.model(sketch.node("MaxPool", mixed, **options)))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv_ranks_and_groups(rank: int, groups: int) -> None:
    sketch = Sketch(4, *SIZES[rank])
    out = sketch.conv("x", 4, 8, (2,) * rank, group=groups, pads=[1, *[0] * (2 * rank - 1)])
    net = assert_keeps_values(sketch.model(out))
    assert isinstance(net.layers[0], Conv)
    assert net.layers[0].groups == groups


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_auto_pad(rank: int, auto_pad: str, stride: int) -> None:
    conv_only(rank, auto_pad=auto_pad, strides=[stride] * rank)


def test_conv_valid_with_dilation() -> None:
    conv_only(2, auto_pad="VALID", dilations=[2, 3])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_same_with_dilation(auto_pad: str, stride: int) -> None:
    """onnxruntime runs no such file, so that the check refuses it; the witness is the kernel with its zeros written."""
    options: dict[str, Any] = {"auto_pad": auto_pad, "strides": [stride] * 2, "out": "map"}
    dilated, written = Sketch(2, 8, 7), Sketch(2, 8, 7)
    kernel, bias = dilated.rng.standard_normal((3, 2, 3, 3)), dilated.rng.standard_normal(3)
    model = dilated.model(
        dilated.node("Conv", "x", dilated.const(kernel), dilated.const(bias), dilations=[2, 2], **options)
    )
    with pytest.raises(mr.UnsupportedModel, match="onnxruntime cannot run the file"):
        load_whole(model)
    net = mr.load(model, check=False)
    spread = np.zeros((3, 2, 5, 5))
    spread[:, :, ::2, ::2] = kernel
    witness = written.model(written.node("Conv", "x", written.const(spread), written.const(bias), **options))
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 7)).astype(np.float32)
    np.testing.assert_allclose(Recorder(net, ["map"])(x).values["map"], tensors_of(witness, x)["map"], atol=1e-5)


def test_conv_without_bias_has_a_zero_bias() -> None:
    sketch = Sketch(2, 4, 4)
    net = assert_keeps_values(sketch.model(sketch.node("Conv", "x", sketch.normal(3, 2, 2, 2))))
    assert isinstance(net.layers[0], Conv)
    assert not net.layers[0].bias.any()


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("ceil", [0, 1])
def test_pool_auto_pad(rank: int, auto_pad: str, stride: int, ceil: int) -> None:
    pool_only(rank, kernel_shape=[3] * rank, auto_pad=auto_pad, strides=[stride] * rank, ceil_mode=ceil)


def test_pool_valid_with_dilation() -> None:
    pool_only(2, kernel_shape=[2, 3], auto_pad="VALID", dilations=[2, 2])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_pool_same_with_dilation_is_refused(auto_pad: str) -> None:
    with pytest.raises(mr.UnsupportedModel, match=r"the_maxpool1.*disagree"):
        pool_only(2, kernel_shape=[2, 3], auto_pad=auto_pad, dilations=[2, 2])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_overlapping_dilated_pool(rank: int) -> None:
    net = pool_only(rank, kernel_shape=[2] * rank, strides=[1] * rank, dilations=[2] * rank, pads=[1] * (2 * rank))
    assert isinstance(net.layers[1], MaxPool)
    assert net.layers[1].window.overlapping


@pytest.mark.parametrize("size", range(4, 12))
@pytest.mark.parametrize(("kernel", "stride", "end"), [(2, 2, 0), (3, 2, 1), (2, 3, 1), (3, 3, 2), (2, 2, 1)])
def test_ceil_mode(size: int, kernel: int, stride: int, end: int) -> None:
    """Among them maps on which the last window would begin in the end padding, where onnxruntime drops it."""
    # At opset 22 onnx's shape inference, which onnxruntime runs, drops that window too.
    sketch = Sketch(2, size, opset=22, ir=10)
    out = sketch.node("MaxPool", "x", kernel_shape=[kernel], strides=[stride], pads=[0, end], ceil_mode=1)
    assert_keeps_values(sketch.model(out))


def test_ceil_mode_drops_a_window_that_begins_in_the_padding() -> None:
    sketch = Sketch(1, 5, opset=22, ir=10)
    out = sketch.node("MaxPool", "x", kernel_shape=[2], strides=[3], pads=[0, 1], ceil_mode=1)
    net = assert_keeps_values(sketch.model(out))
    # ceil((5 + 1 - 2) / 3) + 1 = 3 windows would begin at 0, 3 and 6; the input ends at 4.
    assert net.layers[0].out_shape == (1, 2)


def test_window_that_sees_only_padding_is_refused() -> None:
    sketch = Sketch(1, 1, 1)
    out = sketch.node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1])
    with pytest.raises(mr.UnsupportedModel, match="nothing but padding"):
        load_whole(sketch.model(out))


def test_pool_padding_as_wide_as_the_window_is_refused() -> None:
    sketch = Sketch(1, 6, 6)
    out = sketch.node("MaxPool", "x", kernel_shape=[2, 2], pads=[2, 2, 0, 0], out="wide")
    with pytest.raises(mr.UnsupportedModel, match="the_wide"):
        load_whole(sketch.model(out))


# --- average pooling --------------------------------------------------------------------------------------------------


def average(*shape: int, opset: int = 17, **options: Any) -> AveragePool:
    sketch = Sketch(*shape, opset=opset, ir=8)
    layer = assert_keeps_values(sketch.model(sketch.node("AveragePool", "x", **options))).layers[0]
    assert isinstance(layer, AveragePool)
    return layer


@pytest.mark.parametrize("opset", [9, 11, 19, 20])
@pytest.mark.parametrize("count_include_pad", [None, 0, 1])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_average_pool_counts_its_padding_or_not(opset: int, count_include_pad: int | None, rank: int) -> None:
    options = {} if count_include_pad is None else {"count_include_pad": count_include_pad}
    pads = [1, *[0] * (rank - 1), *[1] * rank]
    layer = average(2, *SIZES[rank], opset=opset, kernel_shape=[2] * rank, pads=pads, strides=[2] * rank, **options)
    assert layer.count_include_pad == bool(count_include_pad)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_average_pool_auto_pad(auto_pad: str, stride: int, count_include_pad: int, ceil: int) -> None:
    options = {"count_include_pad": count_include_pad, "ceil_mode": ceil}
    average(2, 8, 7, kernel_shape=[3, 2], auto_pad=auto_pad, strides=[stride] * 2, **options)


@pytest.mark.parametrize("size", range(4, 10))
@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 2, (1, 1)), (2, 3, (0, 1)), (3, 3, (0, 2)), (2, 2, (1, 1))])
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pool_in_ceil_mode(
    size: int, kernel: int, stride: int, pads: tuple[int, int], count_include_pad: int
) -> None:
    # At opset 22 onnx's shape inference, which onnxruntime runs, drops a window that begins in the padding.
    sketch = Sketch(2, size, opset=22, ir=10)
    options: dict[str, Any] = {"ceil_mode": 1, "count_include_pad": count_include_pad}
    out = sketch.node("AveragePool", "x", kernel_shape=[kernel], strides=[stride], pads=list(pads), **options)
    assert_keeps_values(sketch.model(out))


@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pool_with_dilation(count_include_pad: int) -> None:
    options = {"dilations": [2, 3], "count_include_pad": count_include_pad}
    layer = average(2, 8, 9, opset=19, kernel_shape=[2, 3], pads=[1, 2, 0, 1], **options)
    assert layer.window.dilations == (2, 3)


def test_average_pool_over_the_whole_map() -> None:
    assert average(3, 4, 5, kernel_shape=[4, 5]).out_shape == (3, 1, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, "nothing but padding"),
        ({"kernel_shape": [2, 2], "pads": [2, 0, 0, 0], "dilations": [3, 3]}, "as wide as its kernel"),
        ({"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "dilations": [2, 2]}, "disagree"),
        ({"kernel_shape": [2]}, "does not fit an input of rank 4"),
        ({"kernel_shape": [9, 9]}, "empty size"),
    ],
)
def test_average_pools_that_are_refused(options: dict[str, Any], reason: str) -> None:
    sketch = Sketch(1, 6, 6, opset=19)
    with pytest.raises(mr.UnsupportedModel, match=f"AveragePool 'the_mean'.*{reason}"):
        load_whole(sketch.model(sketch.node("AveragePool", "x", out="mean", **options), check=False))
