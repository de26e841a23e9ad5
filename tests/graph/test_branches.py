"""Random graphs of every operator: each tensor that the network keeps has onnxruntime's value of that name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graph.sketch import Sketch, assert_keeps_values
from tests.networks import Draw, Network, graphs, seeded, to_onnx

FUZZ: dict[str, Any] = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}

Shape = tuple[int, int, int]
Step = Callable[["Growing"], tuple[str, Shape]]


class Growing:
    """A graph of maps [C, H, W] that grows node by node from tensors drawn among those it has."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.sketch = Sketch(2, 4, 5, seed=draw(0, 999))
        self.shapes: dict[str, Shape] = {"x": (2, 4, 5)}

    def pick(self) -> tuple[str, Shape]:
        """A tensor, the newest most often: that makes deep graphs with branches."""
        names = list(self.shapes)
        name = names[max(self.draw(-len(names), len(names) - 1), 0) * -1 - 1]
        return name, self.shapes[name]

    def grow(self, step: Step) -> None:
        name, shape = step(self)
        self.shapes[name] = shape

    def finish(self, softmax: bool) -> str:
        """Flattened and dense: the newest tensor, beside the others that nobody read."""
        sketch = self.sketch
        read = {name for node in sketch.nodes for name in node.input}
        heads = []
        for name, (c, h, w) in self.shapes.items():
            if name not in read:
                heads.append(sketch.dense(sketch.node("Flatten", name), c * h * w, 3))
        out = heads[0] if len(heads) == 1 else sketch.node("Sum", *heads)
        return sketch.node("Softmax", out) if softmax else out


def conv(g: Growing) -> tuple[str, Shape]:
    source, (c, h, w) = g.pick()
    begin, end, outputs = g.draw(0, 1), g.draw(0, 1), g.draw(1, 3)
    k = (min(2, h + begin + end), min(2, w))
    out = g.sketch.conv(source, c, outputs, k, pads=[begin, 0, end, 0])
    return out, (outputs, h + begin + end - k[0] + 1, w - k[1] + 1)


def batch_norm(g: Growing) -> tuple[str, Shape]:
    source, shape = g.pick()
    return g.sketch.batch_norm(source, shape[0], shifted=bool(g.draw(0, 1))), shape


def constant(g: Growing) -> tuple[str, Shape]:
    source, (c, h, w) = g.pick()
    size = [(), (c, 1, 1), (c, 1, w), (1, h, 1)][g.draw(0, 3)]
    op = ["Mul", "Add", "Sub", "Div"][g.draw(0, 3)]
    inputs = [source, g.sketch.positive(*size)]
    return g.sketch.node(op, *inputs[:: -1 if op != "Div" and g.draw(0, 1) else 1]), (c, h, w)


def activation(g: Growing) -> tuple[str, Shape]:
    source, shape = g.pick()
    return g.sketch.node(["Relu", "Tanh", "Identity"][g.draw(0, 2)], source), shape


def pad(g: Growing) -> tuple[str, Shape]:
    source, (c, h, w) = g.pick()
    pads = [0, g.draw(0, 4) // 4, g.draw(0, 1), g.draw(0, 1), 0, 0, g.draw(0, 1), 0]
    value = [g.sketch.const(0.5)] if g.draw(0, 2) == 2 else []
    out = g.sketch.node("Pad", source, g.sketch.ints(*pads), *value)
    return out, (c + pads[1], h + pads[2] + pads[6], w + pads[3])


def turn(g: Growing) -> tuple[str, Shape]:
    source, shape = g.pick()
    inner = [(1, 2, 0), (2, 0, 1), (0, 2, 1)][g.draw(0, 2)]
    out = g.sketch.node("Transpose", source, perm=[0, *(i + 1 for i in inner)])
    return out, (shape[inner[0]], shape[inner[1]], shape[inner[2]])


def reshape(g: Growing) -> tuple[str, Shape]:
    source, (c, h, w) = g.pick()
    new = [(h, c, w), (c * h, w, 1), (1, c, h * w)][g.draw(0, 2)]
    return g.sketch.node("Reshape", source, g.sketch.ints(0, *new)), (new[0], new[1], new[2])


def pool(g: Growing) -> tuple[str, Shape]:
    source, (c, h, w) = g.pick()
    op = ["MaxPool", "AveragePool"][g.draw(0, 1)]
    options: dict[str, Any] = {"count_include_pad": g.draw(0, 1)} if op == "AveragePool" else {}
    k, end = min(2, h), g.draw(0, 1) if h > 1 else 0
    out = g.sketch.node(op, source, kernel_shape=[k, 1], pads=[0, 0, end, 0], **options)
    return out, (c, h + end - k + 1, w)


def mean(g: Growing) -> tuple[str, Shape]:
    source, (c, _, w) = g.pick()
    if g.draw(0, 1):
        return g.sketch.node("ReduceMean", source, axes=[1, -2], keepdims=1), (1, 1, w)
    return g.sketch.node("GlobalAveragePool", source), (c, 1, 1)


def join(g: Growing) -> tuple[str, Shape]:
    (a, shape), (b, other) = g.pick(), g.pick()
    if shape == other and g.draw(0, 1):
        constants = [g.sketch.positive(shape[0], 1, 1)] if g.draw(0, 3) == 3 else []
        return g.sketch.node("Sum", a, b, *constants), shape
    if shape[1:] == other[1:] and shape[0] + other[0] < 10:
        return g.sketch.node("Concat", a, b, axis=1), (shape[0] + other[0], *shape[1:])
    return g.sketch.node("Add", a, a), shape


def cut(g: Growing) -> tuple[str, Shape]:
    source, (c, h, w) = g.pick()
    if c > 1 and g.draw(0, 1):
        out = g.sketch.node("Split", source, g.sketch.ints(1, c - 1), axis=1, outputs=2)
        g.shapes[out] = (1, h, w)
        return f"{out}_1", (c - 1, h, w)
    out = g.sketch.node("Slice", source, g.sketch.ints(0), g.sketch.ints(max(h - 1, 1)), g.sketch.ints(2))
    return out, (c, max(h - 1, 1), w)


STEPS: list[Step] = [conv, batch_norm, constant, activation, pad, turn, reshape, pool, mean, join, cut]


@settings(max_examples=250, **FUZZ)
@given(data=st.data(), softmax=st.booleans())
def test_any_graph_keeps_its_values(data: st.DataObject, softmax: bool) -> None:
    growing = Growing(lambda low, high: data.draw(st.integers(low, high)))
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=10)):
        growing.grow(step)
    assert_keeps_values(growing.sketch.model(growing.finish(softmax)))


@pytest.mark.slow
@settings(max_examples=100, **FUZZ)
@given(network=graphs(foldable=True), fixed_batch=st.booleans())
def test_residual_and_dense_blocks(network: Network, fixed_batch: bool) -> None:
    model = to_onnx(network.ops, network.input_shape, fixed_batch=fixed_batch)
    net = assert_keeps_values(model, batch=1 if fixed_batch else None)
    reads = Counter(name for op in network.ops for name in op.inputs)
    assert net.branches == (max(reads.values()) > 1)


@pytest.mark.parametrize("seed", range(3))
def test_large_graph(seed: int) -> None:
    draw = seeded(seed)
    growing = Growing(draw)
    for _ in range(60):
        growing.grow(STEPS[draw(0, len(STEPS) - 1)])
    assert_keeps_values(growing.sketch.model(growing.finish(softmax=True)))
