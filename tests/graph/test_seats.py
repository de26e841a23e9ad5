"""Files with a batch of one, which exporters move and drop by a Reshape or a Squeeze: read as their free twins are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto, helper

import mipin_ref as mr
from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal
from mipin_ref.graph.limits import Spent
from mipin_ref.graph.node import Node, node_of
from mipin_ref.graph.seats import seated
from mipin_ref.graph.squeezed import rows_kept
from mipin_ref.layers import Reshape
from tests.graph.sketch import Sketch, assert_consistent, load_whole, tensors_of
from tests.graph.test_apart import one_by_one

Array = npt.NDArray[Any]

STEPS, WIDTH, SIZE = 4, 3, 5
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
ROUNDINGS = 64
"""In eps of float32: both networks are the same layers; but names decide nothing of how onnxruntime sums."""


class Twins(Sketch):
    """A network of a free batch, or of one of one, in which moves of the batch are a Reshape."""

    def __init__(self, *shape: int, fixed: bool, **options: Any) -> None:
        super().__init__(*shape, batch=1 if fixed else "N", **options)
        self.fixed = fixed

    def steps_first(self, source: str, *shape: int, out: str = "") -> str:
        """[N, T, ...] as [T, N, ...]; shape: [T, ...]."""
        if self.fixed:
            return self.node("Reshape", source, self.ints(shape[0], 1, *shape[1:]), out=out)
        return self.node("Transpose", source, perm=[1, 0, *range(2, len(shape) + 1)], out=out)

    def samples_first(self, source: str, *shape: int) -> str:
        """[T, N, ...] as [N, T, ...]; shape: [T, ...], of which the first is left open."""
        if self.fixed:
            return self.node("Reshape", source, self.ints(1, -1, *shape[1:]))
        return self.node("Transpose", source, perm=[1, 0, *range(2, len(shape) + 1)])

    def recurrent(self, op: str, source: str, out: str) -> str:
        weights = [self.normal(1, BLOCKS[op] * SIZE, n) for n in (WIDTH, SIZE)]
        made = self.node(op, source, *weights, hidden_size=SIZE, out=out)
        return self.node("Squeeze", made, self.ints(1))

    def last(self, source: str) -> str:
        cut = self.node("Slice", source, self.ints(-1), self.ints(2**31 - 1), self.ints(0))
        return self.node("Squeeze", cut, self.ints(0))


def recurrent(op: str, *, fixed: bool) -> ModelProto:
    sketch = Twins(STEPS, WIDTH, fixed=fixed)
    rows = sketch.recurrent(op, sketch.steps_first("x", STEPS, WIDTH), "every")
    return sketch.model(sketch.dense(sketch.last(rows), SIZE, 3))


def put_back(*, fixed: bool) -> ModelProto:
    """States of all steps, as those of each sample, of which one row is made."""
    sketch = Twins(STEPS, WIDTH, fixed=fixed)
    rows = sketch.recurrent("GRU", sketch.steps_first("x", STEPS, WIDTH), "every")
    together = sketch.samples_first(rows, STEPS, SIZE)
    both = sketch.node("Relu", together)
    return sketch.model(sketch.dense(sketch.node("Reshape", both, sketch.ints(-1, STEPS * SIZE)), STEPS * SIZE, 3))


def put_back_as_a_row(*, fixed: bool) -> ModelProto:
    """The same where the row is made at once."""
    sketch = Twins(STEPS, WIDTH, fixed=fixed)
    rows = sketch.recurrent("GRU", sketch.steps_first("x", STEPS, WIDTH), "every")
    if not fixed:
        rows = sketch.node("Transpose", rows, perm=[1, 0, 2])
    row = sketch.node("Reshape", rows, sketch.ints(1 if fixed else -1, STEPS * SIZE))
    return sketch.model(sketch.dense(row, STEPS * SIZE, 3))


def both_ways(*, fixed: bool) -> ModelProto:
    """A second sequence that is turned round, by lengths that are told by the shape."""
    sketch = Twins(STEPS, WIDTH, fixed=fixed)
    steps = sketch.steps_first("x", STEPS, WIDTH)
    shape = sketch.node("Shape", steps)
    lengths = sketch.node(
        "Expand",
        *(sketch.node("Slice", shape, sketch.ints(i), sketch.ints(i + 1), sketch.ints(0)) for i in (0, 1)),
    )
    turned = sketch.node("ReverseSequence", steps, lengths, batch_axis=1, time_axis=0)
    parts = [sketch.recurrent("GRU", one, name) for one, name in ((steps, "there"), (turned, "back"))]
    joined = sketch.node("Concat", *parts, axis=2)
    most = sketch.node("ReduceMax", joined, axes=[0], keepdims=0)
    return sketch.model(sketch.dense(most, 2 * SIZE, 3))


def split(*, fixed: bool) -> ModelProto:
    """Steps apart, of which each is a row, as unrolled layers have it."""
    sketch = Twins(STEPS, WIDTH, fixed=fixed)
    first = sketch.node("Split", sketch.steps_first("x", STEPS, WIDTH), axis=0, outputs=STEPS, out="part")
    rows = [sketch.node("Squeeze", f"{first}_{i}" if i else first, sketch.ints(0)) for i in range(STEPS)]
    hidden = [sketch.node("Tanh", sketch.dense(row, WIDTH, SIZE)) for row in rows]
    sums = sketch.node("Sum", *hidden)
    return sketch.model(sketch.dense(sums, SIZE, 3))


def maps(*, fixed: bool) -> ModelProto:
    """A picture at each step, each through a Conv, stacked again: as Keras writes a TimeDistributed one."""
    sketch = Twins(2, 1, 4, 4, fixed=fixed)
    steps = sketch.steps_first("x", 2, 1, 4, 4)
    parts = []
    for i in range(2):
        one = sketch.node("Gather", steps, sketch.const(np.array(i)), axis=0)
        parts.append(sketch.node("Unsqueeze", sketch.node("Relu", sketch.conv(one, 1, 2)), sketch.ints(0)))
    stacked = sketch.node("Concat", *parts, axis=0)
    mean = sketch.node("ReduceMean", stacked, axes=[0, 3, 4], keepdims=0)
    return sketch.model(sketch.dense(mean, 2, 3))


def begun(*, fixed: bool) -> ModelProto:
    """A state at the start that is made of the sample, whose batch is taken for an axis in front of it at first."""
    sketch = Twins(STEPS, WIDTH, fixed=fixed)
    state = sketch.node("Tanh", sketch.dense(sketch.node("ReduceMean", "x", axes=[1], keepdims=0), WIDTH, SIZE))
    if fixed:
        state = sketch.node("Reshape", state, sketch.ints(1, 1, SIZE))
    else:
        state = sketch.node("Unsqueeze", state, sketch.ints(0))
    weights = [sketch.normal(1, BLOCKS["GRU"] * SIZE, n) for n in (WIDTH, SIZE)]
    steps = sketch.steps_first("x", STEPS, WIDTH)
    every = sketch.node("GRU", steps, *weights, "", "", state, hidden_size=SIZE, out="every")
    return sketch.model(sketch.dense(sketch.last(sketch.node("Squeeze", every, sketch.ints(1))), SIZE, 3))


BUILDERS: tuple[Callable[..., ModelProto], ...] = (
    put_back,
    put_back_as_a_row,
    both_ways,
    split,
    maps,
    begun,
)
CASES: dict[str, Callable[..., ModelProto]] = {
    **{op: partial(recurrent, op) for op in BLOCKS},
    **{one.__name__: one for one in BUILDERS},
}


@pytest.mark.parametrize("name", CASES)
def test_as_the_free_twin(name: str) -> None:
    """The layers of the free file, of any number of samples, and so the same gradient and the same inverse."""
    files = [CASES[name](fixed=fixed) for fixed in (True, False)]
    nets = [load_whole(file) for file in files]
    fixed, free = nets
    assert_consistent(fixed)
    assert [layer.kind for layer in fixed.layers] == [layer.kind for layer in free.layers]
    x = np.random.default_rng(2).standard_normal((24, *fixed.input_shape)).astype(np.float32)
    scores = fixed.predict(x[:5])[1]
    limit = ROUNDINGS * np.finfo(np.float32).eps * np.abs(scores).max()
    np.testing.assert_allclose(scores, one_by_one(files[0], x[:5]), rtol=0, atol=limit)
    np.testing.assert_allclose(scores, tensors_of(files[1], x[:5])[free.output], rtol=0, atol=limit)
    for method in ("gradient", "mip-in"):
        made = [_attribution(net, x, method) for net in nets]
        limit = ROUNDINGS * np.finfo(np.float32).eps * np.abs(made[1]).max()
        np.testing.assert_allclose(made[0], made[1], rtol=0, atol=limit)


def _attribution(net: mr.Network, x: Array, method: str) -> Array:
    if method == "gradient":
        return mr.attribute(net, x[:5], target=1, method=method).attribution
    return mr.fit(net, x, target=1, dtype="float64").attribute(x[:5]).attribution


@pytest.mark.parametrize("fixed", [True, False])
def test_rows_stay_where_a_window_slides(fixed: bool) -> None:
    """Each step is a picture of one channel to a Conv: rows in the batch, where a recurrent layer would have steps."""
    sketch = Sketch(STEPS, 6, batch=1 if fixed else "N")
    rows = sketch.node("Reshape", "x", sketch.ints(STEPS if fixed else -1, 1, 6), out="rows")
    slid = sketch.node("Relu", sketch.conv(rows, 1, 2, (3,)), out="slid")
    flat = sketch.node("Reshape", slid, sketch.ints(1 if fixed else -1, STEPS * 2 * 4))
    model = sketch.model(sketch.dense(flat, STEPS * 2 * 4, 3))
    net = load_whole(model)
    assert_each_sample(net, model)
    assert [layer.kind for layer in net.layers] == [
        *("Reshape", "Transpose", "Conv", "Activation", "Transpose", "Reshape", "Dense")
    ]


def test_rows_and_steps_of_one_tensor() -> None:
    """What a Conv reads as rows a Gather reads as steps."""
    sketch = Sketch(STEPS, 6, batch=1)
    rows = sketch.node("Reshape", "x", sketch.ints(STEPS, 1, 6), out="rows")
    slid = sketch.node("Reshape", sketch.conv(rows, 1, 2, (6,)), sketch.ints(1, STEPS * 2))
    step = sketch.node("Gather", rows, sketch.const(np.array(2)), axis=0)
    both = sketch.node("Concat", slid, step, axis=1)
    model = sketch.model(sketch.dense(both, 2 * STEPS + 6, 3))
    assert_each_sample(load_whole(model), model)


def assert_each_sample(net: mr.Network, model: ModelProto) -> None:
    """Several samples at once give what the file gives of each."""
    x = np.random.default_rng(4).standard_normal((5, *net.input_shape)).astype(np.float32)
    expected = one_by_one(model, x)
    limit = ROUNDINGS * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(net.predict(x)[1], expected, rtol=0, atol=limit)


def test_a_squeeze_of_several_samples_is_no_row() -> None:
    sketch = Sketch(4)
    row = sketch.node("Squeeze", sketch.dense("x", 4, 3), sketch.ints(0))
    model = sketch.model(sketch.node("Gemm", "x", sketch.normal(4, 3), row))
    assert rows_kept(model) is model


def test_a_node_leaves_nothing_of_a_place_where_it_is_refused() -> None:
    draft = Draft(17, 1, np.dtype(np.float32), Spent(0))
    draft.signals["x"] = Signal("x", (BATCH, 1, 3), 0)
    node, axes = node_of(helper.make_node("Identity", ["x"], ["y"])), []

    def take(node: Node, draft: Draft) -> None:
        x = draft.signals[node.inputs[0]]
        axes.append(x.axis)
        draft.constants["inner"] = np.ones(3)
        said: dict[str, Any] = {"inputs": (x.name,), "in_shapes": (x.sample,), "out_shape": (3, 1)}
        draft.add(Reshape(name="y", output="y", **said), axis=x.axis)
        if x.axis == 0 or len(axes) > 2:
            raise Refused("it is not here")

    seated(node, draft, take, take)
    assert axes == [0, 1]
    assert [layer.output for layer in draft.layers] == ["y"]
    assert draft.signals["x"].axis == 0
    size = len(draft.layers), {*draft.constants}, {*draft.signals}
    with pytest.raises(Refused, match="it is not here"):
        seated(node, draft, take, take)
    assert axes == [0, 1, 0, 1, 0]
    assert (len(draft.layers), {*draft.constants}, {*draft.signals}) == size


def test_refused_in_all_places() -> None:
    """Sequences of one step, as the file has them, are none of a batch of one; the reason is that of the file."""
    sketch = Twins(STEPS, WIDTH, fixed=True)
    rows = sketch.recurrent("GRU", sketch.node("Tanh", "x"), "odd")
    reason = r"GRU 'the_odd' \(the batch is axis 0 of \[N, 4, 3\], and its steps are axis 0; a file of one sequence"
    with pytest.raises(mr.UnsupportedModel, match=reason):
        load_whole(
            sketch.model(sketch.dense(sketch.node("Reshape", rows, sketch.ints(1, STEPS * SIZE)), STEPS * SIZE, 3))
        )


def test_other_batches_keep_their_axis() -> None:
    """Of several samples [N, 1, C] and [1, N, C] are not the same."""
    sketch = Sketch(1, 4, batch=2)
    step = sketch.node("Gather", "x", sketch.const(np.array(0)), axis=0, out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"Gather 'the_odd' \(it picks among the samples of the batch\)"):
        load_whole(sketch.model(sketch.dense(step, 4, 3)))
