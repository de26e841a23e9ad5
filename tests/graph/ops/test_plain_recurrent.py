"""What is read of RNN: every output, initial states, and what is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.graph.sketch import load_whole
from tests.networks.plain_recurrent import PLAIN, SIZE, STEPS, Options, plain_file, samples


@pytest.mark.parametrize("read", ["ends", "steps"])
@pytest.mark.parametrize("reverse", [(False,), (True,), (False, True)])
def test_every_output_of_both_directions(reverse: tuple[bool, ...], read: str) -> None:
    """The values are onnxruntime's, by load's own check; every step has a recurrent product but the first."""
    net = mr.load(plain_file(Options(reverse=reverse, read=read)))
    products = [layer for layer in net.layers if layer.kind == "TokenDense"]
    assert len(products) == 1 + len(reverse) * (STEPS - 1)
    assert products[0].out_shape == (STEPS, len(reverse) * SIZE)


def test_what_is_inside_has_no_name_of_the_file() -> None:
    """Tensors of single steps are part of the operator, and cannot be asked for."""
    net = mr.load(plain_file(PLAIN["tanh"]))
    assert {layer.output for layer in net.layers} - net.inner >= {"logits", "row"}
    assert {layer.output for layer in net.layers if "step" in layer.output} <= net.inner
    with pytest.raises(mr.InvalidData):
        mr.fit(net, samples(8), 0, at="h:step 0 state")


def test_one_step() -> None:
    made = plain_file(PLAIN["tanh"])
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    net = mr.load(made)
    assert [layer.kind for layer in net.layers if layer.kind == "TokenDense"] == ["TokenDense"]


def test_a_state_that_is_given_as_an_input() -> None:
    made = plain_file(PLAIN["tanh"])
    made.graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, "n", SIZE]))
    node = next(node for node in made.graph.node if node.op_type == "RNN")
    node.input.extend(["", "h0"])
    logits = [
        mr.load(made, given={"h0": np.full((1, 1, SIZE), value, np.float32)}).predict(samples(4))[1]
        for value in (0.0, 0.5)
    ]
    assert np.max(np.abs(logits[0] - logits[1])) > 1e-3


def with_input(place: int, value: np.ndarray) -> onnx.ModelProto:
    made = plain_file(PLAIN["tanh"])
    node = next(node for node in made.graph.node if node.op_type == "RNN")
    node.input.extend([""] * (place - len(node.input)) + ["given"])
    made.graph.initializer.append(numpy_helper.from_array(value, "given"))
    return made


REFUSED: dict[str, tuple[Any, str]] = {
    "layout": (lambda: plain_file(PLAIN["tanh"], layout=1), "its layout is 1, which onnxruntime does not run"),
    "clip": (lambda: plain_file(PLAIN["tanh"], clip=0.5), "it clips its sums"),
    "activation": (
        lambda: plain_file(PLAIN["tanh"], activations=["Affine"]),
        "its activations are Affine; followed are Tanh, Relu",
    ),
    "lengths": (lambda: with_input(4, np.full(1, STEPS + 1, np.int32)), "its lengths 'given' are constants"),
    "weights": (lambda: with_weights(np.zeros((1, SIZE, 7), np.float32)), "weights of shape"),
}


def with_weights(value: np.ndarray) -> onnx.ModelProto:
    made = plain_file(PLAIN["tanh"])
    (weight,) = [one for one in made.graph.initializer if one.name == "W"]
    weight.CopyFrom(numpy_helper.from_array(value, "W"))
    return made


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    made, reason = REFUSED[name]
    with pytest.raises(mr.UnsupportedModel, match=rf"RNN 'the_op' \({reason}"):
        load_whole(made())


def test_more_steps_than_are_written_out() -> None:
    made = plain_file(PLAIN["tanh, both ways, ends"])
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 600
    with pytest.raises(mr.UnsupportedModel, match="it takes 1,200 steps; 1,024 are written out at most"):
        load_whole(made)
