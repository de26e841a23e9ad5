"""Nodes without an inverse: which tensors they keep apart, and that what is behind them is explained as by itself.

CumSum stands for whatever has no inverse. File and part make the same float32 values of the same samples, and fits are
in float64, so that 1e-9 leaves room for rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.graph.cutting import cut_below
from tests.graph.sketch import Sketch, tensors_of

Array = npt.NDArray[Any]
TOLERANCE = 1e-9


def summed(sketch: Sketch, source: str, out: str, axis: int = -1) -> str:
    return sketch.node("CumSum", source, sketch.const(np.array(axis)), out=out)


def tail(sketch: Sketch, source: str) -> str:
    """conv [3, 6, 6] -> relu -> pool [3, 3, 3] -> scores [4]; source: [2, 6, 6]."""
    mixed = sketch.node("Relu", sketch.conv(source, 2, 3, pads=[1, 1, 1, 1], out="conv"), out="relu")
    pooled = sketch.node("MaxPool", mixed, kernel_shape=[2, 2], strides=[2, 2], out="pool")
    return sketch.dense(sketch.node("Flatten", pooled), 27, 4)


def above() -> ModelProto:
    """The gap is the first node."""
    sketch = Sketch(2, 6, 6)
    return sketch.model(tail(sketch, summed(sketch, "x", "gap")))


def in_the_middle() -> ModelProto:
    """Two gaps, layers between and in front of them, and a Reshape behind them."""
    sketch = Sketch(5)
    hidden = sketch.node("Relu", sketch.dense("x", 5, 72), out="hidden")
    wide = sketch.dense(summed(sketch, hidden, "first"), 72, 72)
    gap = summed(sketch, sketch.node("Tanh", wide, out="tanh"), "gap")
    return sketch.model(tail(sketch, sketch.node("Reshape", gap, sketch.ints(-1, 2, 6, 6), out="map")))


def behind_a_sum() -> ModelProto:
    """A gap that reads two branches."""
    sketch = Sketch(2, 6, 6)
    left, right = (sketch.conv("x", 2, 2, (1, 1), out=name) for name in ("left", "right"))
    return sketch.model(tail(sketch, summed(sketch, sketch.node("Add", left, right, out="sum"), "gap")))


def around() -> ModelProto:
    """A residual whose branch is a gap."""
    sketch = Sketch(2, 6, 6)
    entry = sketch.conv("x", 2, 2, pads=[1, 1, 1, 1], out="entry")
    return sketch.model(tail(sketch, sketch.node("Add", entry, summed(sketch, entry, "gap"), out="sum")))


def beside() -> ModelProto:
    """Two gaps side by side, of which two branches start."""
    sketch = Sketch(2, 6, 6)
    left = sketch.conv(summed(sketch, "x", "gap"), 2, 2, (1, 1), out="left")
    right = sketch.conv(summed(sketch, "x", "other", axis=-2), 2, 2, (1, 1), out="right")
    return sketch.model(tail(sketch, sketch.node("Add", left, right, out="sum")))


def samples(model: ModelProto, count: int = 40, seed: int = 3) -> Array:
    dims = model.graph.input[0].type.tensor_type.shape.dim[1:]
    return np.random.default_rng(seed).standard_normal((count, *(d.dim_value for d in dims)), np.float32)


def assert_same(actual: mr.Attribution, expected: mr.Attribution) -> None:
    for field in ("value", "signal", "attribution", "output"):
        one, other = getattr(actual, field), getattr(expected, field)
        if other is None:
            assert one is None
            continue
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE * max(np.abs(other).max(), 1e-300), err_msg=field)


# --- what the network says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "gaps", "blocked", "sources"),
    [
        (above(), ["gap"], {"x": ["gap"]}, {"gap": (2, 6, 6)}),
        (
            in_the_middle(),
            ["first", "gap"],
            {
                **{name: ["first", "gap"] for name in ("x", "gemm0", "hidden")},
                **{name: ["gap"] for name in ("first", "gemm3", "tanh")},
            },
            {"gap": (72,)},
        ),
        (
            behind_a_sum(),
            ["gap"],
            {name: ["gap"] for name in ("x", "left", "right", "sum")},
            {"gap": (2, 6, 6)},
        ),
        (around(), ["gap"], {"x": ["gap"], "entry": ["gap"]}, {"gap": (2, 6, 6)}),
        (beside(), ["gap", "other"], {"x": ["gap", "other"]}, {"gap": (2, 6, 6), "other": (2, 6, 6)}),
    ],
    ids=["above", "in the middle", "behind a sum", "around", "beside"],
)
def test_what_is_told_of_gaps(
    model: ModelProto, gaps: list[str], blocked: dict[str, list[str]], sources: dict[str, tuple[int, ...]]
) -> None:
    net = mr.load(model)
    labels = {name: f"CumSum 'the_{name}'" for name in gaps}
    assert [problem.label for problem in net.problems] == [*labels.values()]
    assert net.sources == sources
    named = {name: sorted(problem.label for problem in net.blocked[name]) for name in blocked}
    assert named == {name: [labels[one] for one in some] for name, some in blocked.items()}
    assert net.blocked.keys() == blocked.keys()
    told = str(net)
    assert all(repr(name) in told for name in sources)
    assert f"without an inverse: {len(blocked['x'])} CumSum" in told


@pytest.mark.parametrize(("model", "gaps"), [(above(), ["gap"]), (in_the_middle(), ["first", "gap"])])
def test_a_fit_across_gaps_names_them(model: ModelProto, gaps: list[str]) -> None:
    net, x = mr.load(model), samples(model)
    asks: list[Callable[[], object]] = [
        lambda: mr.fit(net, x, target=1),
        lambda: mr.fit(net, x, target=1, at="x"),
        lambda: mr.attribute(net, x, 1, "gradient"),
        lambda: mr.attribute(net, x, 1, "mip-in", calibration=x),
    ]
    for ask in asks:
        with pytest.raises(mr.UnsupportedModel, match="option 'at' 'auto'") as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert [entry.split("'")[1] for entry in caught.value.nodes] == [f"the_{name}" for name in gaps]


def test_a_tensor_between_gaps_names_those_behind_it_alone() -> None:
    model = in_the_middle()
    net, x = mr.load(model), samples(model)
    for name in ("tanh", "first"):
        with pytest.raises(mr.UnsupportedModel, match="the_gap") as caught:
            mr.fit(net, x, target=1, at=name)
        assert len(caught.value.nodes) == 1
        assert repr(name) in str(caught.value)


def test_a_name_that_no_tensor_has() -> None:
    net = mr.load(above())
    with pytest.raises(mr.InvalidData, match="did you mean 'gap'"):
        net.tensor("gab")


# --- explained as the part behind them by itself ------------------------------------------------------------------


CUTS = [(above(), "gap"), (above(), "relu"), (in_the_middle(), "gap"), (in_the_middle(), "map"), (around(), "sum")]


@pytest.mark.parametrize(("model", "at"), CUTS, ids=["above", "behind", "in the middle", "map", "around"])
@pytest.mark.parametrize("input_mask", [False, True])
def test_as_the_part_behind_it(model: ModelProto, at: str, input_mask: bool) -> None:
    net, x = mr.load(model), samples(model)
    values = tensors_of(model, x)[at]
    part = mr.load(cut_below(model, {at: values.shape[1:]}))
    assert not part.blocked
    inverses = mr.fit(net, x, target=[0, 3], at=at, input_mask=input_mask)
    expected = mr.fit(part, values, target=[0, 3], input_mask=input_mask)
    for target in (0, 3):
        assert_same(inverses[target].attribute(x[:9]), expected[target].attribute(values[:9]))
        assert inverses[target].attribute(x[:2]).tensor == at
    np.testing.assert_allclose(net.predict(x)[1], part.predict(values)[1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("at", ["gap", "other", "left"])
def test_one_of_two_branches_that_gaps_start(at: str) -> None:
    """The other branch is on no path from the tensor: the same as with both in front, one beside the other."""
    model = beside()
    values = tensors_of(model, x := samples(model))
    below = cut_below(model, {"gap": (2, 6, 6), "other": (2, 6, 6)})
    sketch = Sketch(4, 6, 6)
    for name, begin in (("gap", 0), ("other", 2)):
        sketch.node("Slice", "x", sketch.ints(begin), sketch.ints(begin + 2), sketch.ints(1), out=name)
    sketch.nodes.extend(below.graph.node)
    kept = {tensor.name for tensor in sketch.initializers}
    renamed = {tensor.name: f"{tensor.name}:below" for tensor in below.graph.initializer}
    assert kept
    for tensor in below.graph.initializer:
        sketch.initializers.append(tensor)
        sketch.initializers[-1].name = renamed[tensor.name]
    for node in below.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    joined = mr.load(sketch.model(below.graph.output[0].name))
    both = np.concatenate([values["gap"], values["other"]], 1)
    actual = mr.fit(mr.load(model), x, target=2, at=at, input_mask=False).attribute(x[:7])
    expected = mr.fit(joined, both, target=2, at=at, input_mask=False).attribute(both[:7])
    if at == "left":
        assert_same(actual, expected)
    else:
        # A slice of the input counts as no input: it is masked, and where none of its values is zero that is nothing.
        assert np.all(values[at] != 0)
        assert_same(actual, expected)


def test_the_gap_in_a_residual() -> None:
    """Signals come back to the gap's output through the Add, unchanged; its other operand is blocked."""
    model = around()
    net, x = mr.load(model), samples(model)
    at_gap = mr.fit(net, x, target=1, at="gap", input_mask=False).attribute(x[:5])
    at_sum = mr.fit(net, x, target=1, at="sum", input_mask=False).attribute(x[:5])
    np.testing.assert_array_equal(at_gap.signal, at_sum.signal)
    np.testing.assert_array_equal(at_gap.value, tensors_of(model, x[:5])["gap"])


COVERING = {"score-cam", "rise", "occlusion", "kernel-shap"}
"""Methods that change the input: in front of the gap that is another question than behind it."""


LOOKING_AT_ATTENTION = {"attention-rollout", "gradient-attention-rollout"}
"""Methods of what this network has not."""


@pytest.mark.parametrize("name", sorted({*mr.methods()} - {"mip-in"} - COVERING - LOOKING_AT_ATTENTION))
def test_every_method_as_on_the_part_behind(name: str) -> None:
    """The gap is linear, so that paths and baselines of the input are those of the tensor behind it too."""
    model = above()
    net, x = mr.load(model), samples(model)
    values = tensors_of(model, x)["gap"]
    part = mr.load(cut_below(model, {"gap": (2, 6, 6)}))
    at = "relu" if name in BY_THE_INPUT else "gap"
    fitted, same = dict[str, Any](), dict[str, Any]()
    if name.startswith("pattern"):
        fitted, same = {"patterns": mr.fit_patterns(net, x, at="gap")}, {"patterns": mr.fit_patterns(part, values)}
    if name == "smoothgrad":
        fitted = same = {"noise": 0.0}
    actual = mr.attribute(net, x[:4], 1, name, at=at, **fitted)
    expected = mr.attribute(part, values[:4], 1, name, at=at, **same)
    assert np.abs(expected.attribution).max() > 0
    assert_same(actual, expected)


BY_THE_INPUT = {"deep-taylor", "grad-cam", "grad-cam++", "hires-cam", "layer-cam", "eigen-cam"}
"""Not explained at the gap: what is done at the input itself has a rule of its own, or it must be a feature map."""


# --- saved, resumed, in float32 -----------------------------------------------------------------------------------


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = in_the_middle()
    net, x = mr.load(model), samples(model)
    made = mr.fit(net, x, target=1, at="map")
    made.save(tmp_path / "one.mipin")
    again = mr.load_inverse(tmp_path / "one.mipin", mr.load(model))
    assert_same(again.attribute(x[:6]), made.attribute(x[:6]))
    assert again.plan.explained == "map"
    np.testing.assert_array_equal(again.attribute(x[:6]).signal, made.attribute(x[:6]).signal)


def test_a_checkpoint(tmp_path: Path) -> None:
    model = in_the_middle()
    net, x = mr.load(model), samples(model)
    first = mr.fit(net, x, target=[0, 1], at="auto", checkpoint=tmp_path)
    again = mr.fit(net, x, target=[0, 1], at="auto", checkpoint=tmp_path)
    plain = mr.fit(net, x, target=[0, 1], at="auto")
    for target in (0, 1):
        for other in (again, plain):
            np.testing.assert_array_equal(other[target].attribute(x[:4]).signal, first[target].attribute(x[:4]).signal)


def test_a_file_and_a_fit_in_float32() -> None:
    sketch = Sketch(2, 6, 6)
    model = sketch.model(tail(sketch, summed(sketch, "x", "gap")))
    x = samples(model, 80)
    net = mr.load(model)
    single = mr.fit(net, x, target=0, at="gap", dtype="float32").attribute(x[:5])
    exact = mr.fit(net, x, target=0, at="gap").attribute(x[:5])
    assert single.signal is not None
    assert exact.signal is not None
    assert single.signal.dtype == np.float32
    np.testing.assert_allclose(single.signal, exact.signal, atol=1e-3 * np.abs(exact.signal).max())


def test_batches_of_any_size_are_the_same() -> None:
    model = around()
    net, x = mr.load(model), samples(model)
    inverse = mr.fit(net, x, target=1, at="gap", batch_size=7)
    assert_same(inverse.attribute(x[:9], batch_size=4), mr.fit(net, x, target=1, at="gap").attribute(x[:9]))


# --- "auto" -------------------------------------------------------------------------------------------------------


def test_auto_takes_the_last_map(tmp_path: Path) -> None:
    model = above()
    net, x = mr.load(model), samples(model)
    made = mr.fit(net, x, target=1, at="auto")
    assert made.plan.explained == "pool"
    assert mr.attribute(net, x[:2], 1, "gradient", at="auto").tensor == "pool"
    made.save(tmp_path / "one.mipin")
    assert mr.load_inverse(tmp_path / "one.mipin", net).options.at == "pool"


def test_auto_goes_as_deep_as_inverses_reach_where_there_is_no_map() -> None:
    sketch = Sketch(5)
    gap = summed(sketch, sketch.dense("x", 5, 6), "gap")
    model = sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(gap, 6, 7), out="relu"), 7, 3))
    net, x = mr.load(model), samples(model)
    made = mr.fit(net, x, target=1, at="auto")
    assert made.plan.explained == "gap"
    assert made.options.at == "gap"
    values = tensors_of(model, x)["gap"]
    part = mr.load(cut_below(model, {"gap": (6,)}))
    expected = mr.fit(part, values, target=1, input_mask=True)
    assert_same(made.attribute(x[:3]), expected.attribute(values[:3]))


def test_auto_is_the_input_where_inverses_reach_it_and_there_is_no_map() -> None:
    sketch = Sketch(5)
    model = sketch.model(sketch.dense(sketch.node("Relu", sketch.dense("x", 5, 7)), 7, 3))
    assert mr.fit(mr.load(model), samples(model), target=1, at="auto").plan.explained == "x"


def test_auto_behind_two_gaps_is_where_their_branches_meet() -> None:
    """Neither of two sources is what all ways to the logits pass."""
    sketch = Sketch(5)
    left = sketch.dense(summed(sketch, "x", "gap"), 5, 6)
    right = sketch.dense(summed(sketch, sketch.dense("x", 5, 4), "other"), 4, 6)
    out = sketch.node("Add", left, right, out="sum")
    model = sketch.model(sketch.dense(sketch.node("Relu", out, out="relu"), 6, 3))
    net, x = mr.load(model), samples(model)
    assert mr.fit(net, x, target=1, at="auto").plan.explained == "sum"


# --- a gap that feeds a part of the output alone ------------------------------------------------------------------


def two_parts() -> ModelProto:
    """Classes 0 and 1 of a network without a gap; 2, 3 and 4 behind one."""
    sketch = Sketch(2, 6, 6)
    flat = sketch.node("Flatten", sketch.node("Relu", sketch.conv("x", 2, 3, out="conv"), out="relu"))
    clear = sketch.dense(flat, 48, 2)
    far = sketch.node("Flatten", sketch.node("Relu", sketch.conv(summed(sketch, "x", "gap"), 2, 3), out="far"))
    return sketch.model(sketch.node("Concat", clear, sketch.dense(far, 48, 3), axis=1, out="scores"))


def test_only_the_part_that_a_target_lies_in_counts() -> None:
    model = two_parts()
    net, x = mr.load(model), samples(model)
    clear = next(node.input[0] for node in model.graph.node if node.op_type == "Concat")
    alone = ModelProto()
    alone.CopyFrom(model)
    alone.graph.output[0].name = clear
    alone.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    part = mr.load(alone)
    made = mr.fit(net, x, target=[1, 0])
    expected = mr.fit(part, x, target=[1, 0])
    for target in (0, 1):
        assert_same(made[target].attribute(x[:5]), expected[target].attribute(x[:5]))
        for name in ("gradient", "lrp-epsilon", "grad-cam"):
            assert_same(mr.attribute(net, x[:5], target, name), mr.attribute(part, x[:5], target, name))
        assert_same(
            mr.attribute(net, x[:5], target, "mip-in", calibration=x, at="x"), expected[target].attribute(x[:5])
        )
    for target in (2, 3, 4):
        with pytest.raises(mr.UnsupportedModel, match="the_gap"):
            mr.fit(net, x, target=target)
    with pytest.raises(mr.UnsupportedModel, match="the_gap"):
        mr.fit(net, x, target=[0, 3])
    several = mr.fit(net, x, target=[0, 3], at="auto")
    assert (several[0].plan.explained, several[3].plan.explained) == ("relu", "far")


@pytest.mark.parametrize(("target", "tensor"), [(1, "relu"), (3, "far")])
@pytest.mark.parametrize("name", ["mip-in", "gradient", "lrp-epsilon", "grad-cam"])
def test_auto_is_of_the_part_that_a_target_lies_in(target: int, tensor: str, name: str) -> None:
    model = two_parts()
    net, x = mr.load(model), samples(model)
    options: dict[str, Any] = {"calibration": x} if name == "mip-in" else {}
    assert mr.attribute(net, x[:2], target, name, at="auto", **options).tensor == tensor


def test_targets_of_several_parts_at_once() -> None:
    """One class a sample, of both parts: what is explained must be on the way to both."""
    model = two_parts()
    net, x = mr.load(model), samples(model)
    with pytest.raises(mr.UnsupportedModel, match="the_gap"):
        mr.attribute(net, x[:2], [0, 3], "gradient")
    both = mr.attribute(net, x[:2], [0, 1], "gradient")
    np.testing.assert_allclose(both.attribution[1], mr.attribute(net, x[1:2], 1, "gradient").attribution[0])


def test_saved_inverses_of_parts(tmp_path: Path) -> None:
    model = two_parts()
    net, x = mr.load(model), samples(model)
    made = mr.fit(net, x, target=[1, 4], at="auto")
    for target, one in made.items():
        one.save(tmp_path / "one.mipin")
        again = mr.load_inverse(tmp_path / "one.mipin", net, target=target)
        np.testing.assert_array_equal(again.attribute(x[:3]).signal, one.attribute(x[:3]).signal)
        assert again.attribute(x[:3]).target == target


# --- the door's own -----------------------------------------------------------------------------------------------


def test_the_recorder_records_sources_and_layers() -> None:
    model = in_the_middle()
    net, x = mr.load(model), samples(model, 5)
    expected = tensors_of(model, x)
    made = Recorder(net, ["gap", "map", "conv", net.logits])(x).values
    for name in ("gap", "map", "conv"):
        np.testing.assert_allclose(made[name], expected[name], rtol=0, atol=TOLERANCE)


def test_nan_that_a_gap_makes_is_told() -> None:
    sketch = Sketch(4)
    gap = sketch.node("Det", sketch.node("Reshape", "x", sketch.ints(-1, 1, 2, 2)), out="gap")
    net = mr.load(sketch.model(sketch.dense(gap, 1, 3), check=False))
    x = np.float32(1e30) * np.random.default_rng(0).standard_normal((6, 4), np.float32)
    with pytest.raises(mr.InvalidData, match=r"'gap'.* NaN or Inf"):
        mr.fit(net, x, target=0, at="gap")


@pytest.mark.parametrize("name", ["mip-in", "patternnet", "gradient", "lrp-epsilon"])
def test_a_panel_fits_as_far_down_as_inverses_reach(name: str) -> None:
    model = above()
    net, x = mr.load(model), samples(model)
    panel = mr.Panel(net, x)
    for at, tensor in (("gap", "gap"), ("relu", "relu"), ("auto", "pool")):
        assert panel.explain(name, x[:3], 1, at=at).tensor == tensor
    if name == "mip-in":
        expected = mr.fit(net, x, target=1, at="gap").attribute(x[:3])
        assert_same(panel.explain(name, x[:3], 1), expected)


def test_a_panel_of_parts() -> None:
    """Each target as far down as its part goes."""
    model = two_parts()
    net, x = mr.load(model), samples(model)
    panel = mr.Panel(net, x, names=["mip-in"])
    assert panel.explain("mip-in", x[:3], 1).tensor == "x"
    assert panel.explain("mip-in", x[:3], 3).tensor == "gap"
