"""A Softmax in the middle: a gate where it multiplies content, else where the way ends, and what to take instead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.layers import Gate
from tests.graph.sketch import Sketch, load_whole
from tests.inverse.test_recurrent import assert_agrees

CHANNELS, SIZE = 3, 5
X = np.random.default_rng(6).standard_normal((20, 2, SIZE, SIZE)).astype(np.float32)


def channel_gate(sketch: Sketch) -> str:
    """A map times a softmax over its channels, as of squeeze and excitation with a softmax."""
    rows = sketch.node("Relu", sketch.conv("x", 2, CHANNELS), out="rows")
    scores = sketch.dense(sketch.node("ReduceMean", rows, axes=[2, 3], keepdims=0), CHANNELS, CHANNELS)
    weights = sketch.node("Softmax", scores, axis=-1, out="weights")
    return sketch.node("Mul", rows, sketch.node("Unsqueeze", weights, sketch.ints(2, 3)))


def split_attention(sketch: Sketch) -> str:
    """Two maps by a softmax over which of them, as in selective kernels and ResNeSt (Li et al. 2019)."""
    pair = [sketch.node("Relu", sketch.conv("x", 2, CHANNELS), out=f"map{i}") for i in range(2)]
    total = sketch.node("ReduceMean", sketch.node("Add", *pair), axes=[2, 3], keepdims=0)
    scores = sketch.node("Reshape", sketch.dense(total, CHANNELS, 2 * CHANNELS), sketch.ints(-1, 2, CHANNELS, 1, 1))
    weights = sketch.node("Softmax", scores, axis=1)
    stacked = sketch.node("Concat", *(sketch.node("Unsqueeze", one, sketch.ints(1)) for one in pair), axis=1)
    return sketch.node("ReduceSum", sketch.node("Mul", stacked, weights), sketch.ints(1), keepdims=0)


def mixture(sketch: Sketch) -> str:
    """Experts by the softmax of a gate (Jacobs et al. 1991), summed."""
    row = sketch.node("ReduceMean", sketch.node("Relu", sketch.conv("x", 2, CHANNELS)), axes=[2, 3], keepdims=0)
    weights = sketch.node("Softmax", sketch.dense(row, CHANNELS, 2), axis=-1)
    parts = []
    for number in range(2):
        cut = sketch.ints(number), sketch.ints(number + 1), sketch.ints(1)
        expert = sketch.node("Relu", sketch.dense(row, CHANNELS, CHANNELS), out=f"expert{number}")
        parts.append(sketch.node("Mul", sketch.node("Slice", weights, *cut), expert))
    return sketch.node("Add", *parts)


GATES: dict[str, tuple[Callable[[Sketch], str], int]] = {
    "over channels": (channel_gate, CHANNELS * (SIZE - 2) ** 2),
    "over maps": (split_attention, CHANNELS * (SIZE - 2) ** 2),
    "over experts": (mixture, CHANNELS),
}


@pytest.mark.parametrize("name", GATES)
def test_softmax_weights_are_gates(name: str) -> None:
    """The weights are state: signals come back to what they multiply, as brute force has it."""
    sketch, (build, count) = Sketch(2, SIZE, SIZE), GATES[name]
    out = build(sketch)
    net = load_whole(sketch.model(sketch.dense(sketch.node("Flatten", out), count, 2), check=False))
    gates = [layer for layer in net.layers if isinstance(layer, Gate)]
    assert gates
    assert all("softmax" not in layer.inputs[0] and "weights" not in layer.inputs[0] for layer in gates)
    assert_agrees(net, X, "numpy", {})


def soft_argmax(sketch: Sketch) -> tuple[str, int]:
    """The mean place of each channel's map under its softmax (Finn et al. 2016): places are constants."""
    rows = sketch.node("Reshape", sketch.conv("x", 2, CHANNELS), sketch.ints(0, CHANNELS, -1), out="rows")
    weights = sketch.node("Softmax", rows, axis=-1, out="weights")
    places = sketch.const(np.linspace(-1, 1, (SIZE - 2) ** 2))
    return sketch.node("ReduceSum", sketch.node("Mul", weights, places), sketch.ints(2), keepdims=0), CHANNELS


def fed_on(sketch: Sketch) -> tuple[str, int]:
    """Probabilities of a first head that a second one reads."""
    scores = sketch.dense(sketch.node("Flatten", "x"), 2 * SIZE * SIZE, 4)
    return sketch.node("Relu", sketch.dense(sketch.node("Softmax", scores, axis=-1, out="weights"), 4, 3)), 3


@pytest.mark.parametrize("build", [soft_argmax, fed_on])
def test_other_softmaxes_end_the_way_and_the_refusal_names_what_to_take(
    build: Callable[[Sketch], tuple[str, int]],
) -> None:
    sketch = Sketch(2, SIZE, SIZE)
    out, count = build(sketch)
    net = mr.load(sketch.model(sketch.dense(out, count, 2), check=False))
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.fit(net, X, 1)
    message = str(caught.value)
    assert "\n" not in message
    assert "option 'at' 'auto' explains what is behind them, from 'weights' on: Softmax 'the_weights' (" in message
    for at in ("auto", "weights"):
        assert mr.fit(net, X, 1, at=at).plan.explained == "weights"
