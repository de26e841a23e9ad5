"""What the user says of a file's inputs: sizes of free axes, values of the others; and what is refused of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]


def sized(*shape: int | str, batch: int | str = "N") -> ModelProto:
    """A convolution and a mean over all places: any size will do."""
    sketch = Sketch(*shape, batch=batch)
    pooled = sketch.node("GlobalAveragePool", sketch.node("Relu", sketch.conv("x", 2, 3, out="conv"), out="relu"))
    return sketch.model(sketch.dense(sketch.node("Flatten", pooled, out="flat"), 3, 4))


def samples(*shape: int, count: int = 12) -> Array:
    return np.random.default_rng(7).standard_normal((count, *shape), np.float32)


def refused(kind: type[mr.MipinError], model: ModelProto, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        mr.load(model, **options)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert "1000003" not in message.replace(",", "")
    return message


# --- sizes --------------------------------------------------------------------------------------------------------


def test_free_axes_take_the_sizes_given() -> None:
    net = mr.load(sized("channels", "height", "width"), input_shape={"x": (2, 6, 5)})
    fixed = mr.load(sized(2, 6, 5))
    assert net.input_shape == (2, 6, 5)
    assert net.shapes == fixed.shapes
    x = samples(2, 6, 5)
    np.testing.assert_array_equal(net.predict(x)[1], fixed.predict(x)[1])
    mine, other = (mr.fit(one, x, target=1).attribute(x) for one in (net, fixed))
    np.testing.assert_array_equal(mine.attribution, other.attribution)


@pytest.mark.parametrize("sizes", [(2, 6, 5), [2, 6, 5], np.array([2, 6, 5])], ids=["tuple", "list", "array"])
def test_sizes_are_told_by_any_sequence(sizes: Any) -> None:
    assert mr.load(sized(2, "height", 5), input_shape={"x": sizes}).input_shape == (2, 6, 5)


def test_the_model_that_is_passed_stays_as_it_is() -> None:
    model = sized(2, "height", "width")
    before = model.SerializeToString(deterministic=True)
    for side in (6, 7):
        assert mr.load(model, input_shape={"x": (2, side, side)}).input_shape == (2, side, side)
    assert model.SerializeToString(deterministic=True) == before


def test_a_file_without_a_shape() -> None:
    model = sized(2, 6, 6)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "input_shape" in refused(mr.UnsupportedModel, model)
    net = mr.load(model, input_shape={"x": (2, 6, 6)})
    x = samples(2, 6, 6)
    np.testing.assert_array_equal(net.predict(x)[1], mr.load(sized(2, 6, 6)).predict(x)[1])


@pytest.mark.parametrize(
    ("shape", "given", "told"),
    [
        ((2, "h", 6), {"x": (2, 6, 7)}, "axis 3 7 entries; the file fixes it at 6"),
        ((2, "h", 6), {"x": (2, 6)}, "has 2 sizes; a sample of 'x' float [N, 2, h, 6] has 3"),
        ((2, "h", 6), {"x": (1, 2, 6, 6)}, "has 4 sizes"),
        ((2, "h", 6), {"y": (2, 6, 6)}, "no input 'y'; its inputs are x"),
        ((2, "h", 6), {"x": (2, 0, 6)}, "must be the sizes of a sample"),
        ((2, "h", 6), {"x": (2, -6, 6)}, "must be the sizes of a sample"),
        ((2, "h", 6), {"x": (2, 6.0, 6)}, "must be the sizes of a sample"),
        ((2, "h", 6), {"x": (2, True, 6)}, "must be the sizes of a sample"),
        ((2, "h", 6), {"x": "2x6x6"}, "must be the sizes of a sample"),
        ((2, "h", 6), {"x": 6}, "must be the sizes of a sample"),
        ((2, "h", 6), {"x": None}, "must be the sizes of a sample"),
        ((2, "h", 6), (2, 6, 6), "must be values by input name"),
        ((2, "h", 6), {"x": (2, 2**70, 6)}, "are allowed"),
    ],
)
def test_sizes_that_do_not_fit(shape: tuple[int | str, ...], given: Any, told: str) -> None:
    assert told in refused(mr.InvalidData, sized(*shape), input_shape=given)


def test_sizes_that_are_still_open_are_named_with_the_option() -> None:
    message = refused(mr.UnsupportedModel, sized(2, "height", "width"))
    assert "axes 2 (height), 3 (width)" in message
    assert "input_shape" in message


def test_sizes_that_the_network_cannot_take() -> None:
    refused(mr.UnsupportedModel, sized(2, "h", "w"), input_shape={"x": (2, 2, 2)})
    assert "allowed" in refused(mr.InvalidData, sized(2, "h", "w"), input_shape={"x": (2, 2**20, 2**20)})


# --- hashes -------------------------------------------------------------------------------------------------------


def test_what_is_said_of_the_inputs_makes_another_network(tmp_path: Path) -> None:
    model = sized(2, "h", "w")
    small, same, large = (mr.load(model, input_shape={"x": (2, side, 6)}) for side in (6, 6, 7))
    assert small.sha256 == same.sha256 != large.sha256
    mr.fit(small, samples(2, 6, 6), target=1, at="relu").save(tmp_path / "one.mipin")
    assert mr.load_inverse(tmp_path / "one.mipin", same).target == 1
    with pytest.raises(mr.CorruptFile, match="another network"):
        mr.load_inverse(tmp_path / "one.mipin", large)


def test_saying_what_the_file_says_makes_no_other_network() -> None:
    model = sized(2, 6, 6)
    assert mr.load(model, input_shape={"x": (2, 6, 6)}).sha256 == mr.load(model).sha256


def test_another_value_makes_another_network(tmp_path: Path) -> None:
    model = with_shift()
    x = samples(5)
    one, same, other, wide = (mr.load(model, given={"shift": value}) for value in (SHIFT, SHIFT, SHIFT + 1, 2 * SHIFT))
    assert one.sha256 == same.sha256
    assert len({one.sha256, other.sha256, wide.sha256, mr.load(bound(SHIFT)).sha256}) == 4
    mr.fit(one, x, target=1).save(tmp_path / "one.mipin")
    assert mr.load_inverse(tmp_path / "one.mipin", same).target == 1
    with pytest.raises(mr.CorruptFile, match="another network"):
        mr.load_inverse(tmp_path / "one.mipin", other)


# --- other inputs -------------------------------------------------------------------------------------------------

SHIFT = np.array([[0.5, -1, 2, 0.25]], np.float32)


def with_shift(dims: tuple[int | str, ...] = (1, 4), kind: int = TensorProto.FLOAT) -> ModelProto:
    """relu(x W + shift) V: the shift is an input, of the network's own."""
    sketch = Sketch(5)
    sketch.inputs.append(helper.make_tensor_value_info("shift", kind, dims))
    shift = "shift" if kind == TensorProto.FLOAT else sketch.node("Cast", "shift", to=TensorProto.FLOAT)
    added = sketch.node("Add", sketch.node("MatMul", "x", sketch.normal(5, 4)), shift, out="added")
    return sketch.model(sketch.dense(sketch.node("Relu", added, out="relu"), 4, 3))


def bound(value: Array, model: ModelProto | None = None) -> ModelProto:
    """The file with the value as an initializer."""
    model = with_shift() if model is None else model
    (place,) = [i for i, one in enumerate(model.graph.input) if one.name == "shift"]
    del model.graph.input[place]
    model.graph.initializer.append(numpy_helper.from_array(value, "shift"))
    return model


def assert_alike(net: mr.Network, other: mr.Network, *, exact: bool = True) -> None:
    x = samples(*net.input_shape)
    tolerance = 0 if exact else 1e-5
    np.testing.assert_allclose(net.predict(x)[1], other.predict(x)[1], rtol=0, atol=tolerance)
    one, two = (mr.fit(n, x, target=1).attribute(x) for n in (net, other))
    assert one.signal is not None
    assert two.signal is not None
    np.testing.assert_allclose(one.signal, two.signal, rtol=0, atol=10 * tolerance)


def test_a_value_given_is_as_an_initializer() -> None:
    assert_alike(mr.load(with_shift(), given={"shift": SHIFT}), mr.load(bound(SHIFT)))
    assert_alike(mr.load(with_shift(), given={"shift": SHIFT.astype(np.float64)}), mr.load(bound(SHIFT)))


@pytest.mark.parametrize("value", [2, 2.0, np.float64(2), np.array(2), True], ids=str)
def test_a_number_for_a_scalar(value: Any) -> None:
    made = mr.load(with_shift(()), given={"shift": value})
    assert_alike(made, mr.load(bound(np.array(float(value), np.float32), with_shift(()))))


def test_whole_numbers_for_an_integer_input() -> None:
    model = with_shift((1, 4), TensorProto.INT64)
    value = np.array([[1, -2, 0, 3]])
    assert_alike(mr.load(model, given={"shift": value}), mr.load(bound(value, with_shift((1, 4), TensorProto.INT64))))


def joined(*dims: int | str) -> ModelProto:
    """[x, state] W: nothing broadcasts, so that every sample must have a state of its own."""
    sketch = Sketch(5)
    sketch.inputs.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, dims))
    state = "state"
    if len(dims) == 3:
        parts = sketch.node("Split", "state", sketch.ints(1, 1), axis=0, outputs=2, out="part")
        state = sketch.node("Squeeze", f"{parts}_1", sketch.ints(0), out="last")
    both = sketch.node("Concat", "x", state, axis=1, out="both")
    return sketch.model(sketch.dense(sketch.node("Relu", sketch.dense(both, 9, 6)), 6, 3))


def states(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("dims", "value"),
    [(("N", 4), states(1, 4)), (("batch", 4), states(1, 4)), ((2, "N", 4), states(2, 1, 4))],
    ids=["the same axis", "another name", "another axis"],
)
def test_a_state_of_every_sample(dims: tuple[int | str, ...], value: Array) -> None:
    """A value of length one along the samples, as recurrent layers have, is repeated for as many as there are."""
    model = joined(*dims)
    net, x = mr.load(model, given={"state": value}), samples(5)
    assert "x" not in net.blocked
    assert net.stem is not None
    assert net.stem.apart is None
    every = np.repeat(value.reshape(-1, 4)[-1:], len(x), 0)
    session = ort.InferenceSession(joined("N", 4).SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x, "state": every})
    np.testing.assert_allclose(net.predict(x)[1], expected, rtol=0, atol=1e-5)
    inverse = mr.fit(net, x, target=1, batch_size=5)
    whole, alone = inverse.attribute(x), inverse.attribute(x[3:4])
    assert whole.value.shape == (12, 5)
    np.testing.assert_allclose(whole.attribution[3], alone.attribution[0], rtol=0, atol=1e-6)
    for name in ("gradient", "lrp-epsilon"):
        assert mr.attribute(net, x, 1, name).attribution.shape == (12, 5)
    if "N" in dims:
        with pytest.raises(mr.InvalidData, match="3 entries along the samples"):
            mr.load(model, given={"state": np.repeat(value, 3, dims.index("N"))})


def test_a_state_that_goes_through_a_node_without_an_inverse() -> None:
    """It is no way to the input: the table names the node that is there, and the input is explained."""
    model = joined(2, "N", 4)
    gap = helper.make_node("CumSum", ["state", "first_axis"], ["summed"], name="the_summed")
    model.graph.node.insert(0, gap)
    model.graph.node[1].input[0] = "summed"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0), "first_axis"))
    net = mr.load(model, given={"state": states(2, 1, 4)})
    assert "x" not in net.blocked
    assert net.sources == {"summed": (2, 4)}
    assert "1 CumSum\n  they make 'summed' [N, 2×4]" in str(net)


def test_a_number_stands_for_all_entries() -> None:
    one, other = (mr.load(with_shift(), given={"shift": value}) for value in (0.5, np.full((1, 4), 0.5, np.float32)))
    assert_alike(one, other)
    assert one.sha256 == other.sha256
    with pytest.raises(mr.InvalidData, match=r"has shape \[\]; .*: give an array of that shape"):
        mr.load(with_shift(("N", "wide")), given={"shift": 0.5})
    with pytest.raises(mr.InvalidData, match="give an array of that shape"):
        mr.load(with_shift(("T", 4)), given={"shift": 0.5})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shift": np.zeros((1, 5), np.float32)}, r"has shape [1, 5]; the network reads 'shift' float [1, 4]"),
        ({"shift": np.zeros(4, np.float32)}, "has shape [4]"),
        ({"shift": np.full((1, 4), np.nan)}, "NaN or Inf"),
        ({"shift": np.full((1, 4), 1e300)}, "holds numbers that float32"),
        ({"shift": np.full((1, 4), "a")}, "the network reads float32"),
        ({"shift": np.full((1, 4), 1j)}, "the network reads float32"),
        ({"shift": [[1, 2], [3]]}, "must be a number or an array"),
        ({"shift": None}, "the network reads float32"),
        ({"shift": {"a": 1}}, "the network reads float32"),
        ({"moved": SHIFT}, "no input 'moved'; its inputs are x, shift"),
        ({"shift": SHIFT, "x": np.zeros((1, 5), np.float32)}, "every input is given a value"),
        ([SHIFT], "must be values by input name"),
        ({3: SHIFT}, "no input 3"),
    ],
)
def test_values_that_do_not_fit(given: Any, told: str) -> None:
    assert told in refused(mr.InvalidData, with_shift(), given=given)


@pytest.mark.parametrize("value", [2**40, -1, 300])
def test_whole_numbers_that_the_type_cannot_hold(value: int) -> None:
    model = with_shift((1, 4), TensorProto.UINT8)
    assert "uint8" in refused(mr.InvalidData, model, given={"shift": np.full((1, 4), value)})


def test_a_fraction_for_an_integer_input() -> None:
    model = with_shift((1, 4), TensorProto.INT64)
    assert "the network reads int64" in refused(mr.InvalidData, model, given={"shift": SHIFT})


def test_inputs_that_nothing_was_said_of_are_named() -> None:
    message = refused(mr.UnsupportedModel, with_shift())
    assert all(part in message for part in ("'x' float [N, 5]", "'shift' float [1, 4]", "given"))


def test_the_other_one_may_be_explained() -> None:
    net = mr.load(with_shift(("N", 4)), given={"x": samples(5)[:1]})
    assert net.input == "shift"
    assert net.input_shape == (4,)


def test_a_default_is_kept_unless_another_value_is_given() -> None:
    model = with_shift()
    model.graph.initializer.append(numpy_helper.from_array(SHIFT, "shift"))
    before = model.SerializeToString(deterministic=True)
    assert_alike(mr.load(model), mr.load(bound(SHIFT)))
    assert_alike(mr.load(model, given={"shift": -SHIFT}), mr.load(bound(-SHIFT)))
    assert mr.load(model, given={"shift": -SHIFT}).sha256 != mr.load(model).sha256
    assert model.SerializeToString(deterministic=True) == before


def test_an_input_that_the_output_does_not_need() -> None:
    """Nothing need be said of it, and what is said is checked and changes nothing."""
    model = with_shift()
    model.graph.input.append(helper.make_tensor_value_info("spare", TensorProto.FLOAT, ["N", 2]))
    net = mr.load(model, given={"shift": SHIFT})
    assert net.sha256 != mr.load(model, given={"shift": 2 * SHIFT}).sha256
    assert mr.load(model, given={"shift": SHIFT, "spare": np.zeros((1, 2))}).sha256 == net.sha256


@pytest.mark.parametrize("name", ["file", "allow_pickle", "a/b", "../up", "self", "args", "x y", "ä:0"])
def test_inputs_of_any_name(name: str) -> None:
    """In front of a node without an inverse, where the file is run by a process of its own."""
    sketch = Sketch(4)
    sketch.inputs[0].name = name
    sketch.inputs.append(helper.make_tensor_value_info(f"{name}2", TensorProto.FLOAT, ["N", 4]))
    both = sketch.node("Add", name, f"{name}2")
    gap = sketch.node("CumSum", both, sketch.const(np.array(1)), out="gap")
    net = mr.load(sketch.model(sketch.dense(gap, 4, 3)), given={f"{name}2": np.zeros((1, 4))})
    assert net.input == name
    assert net.blocked.keys() >= {name}
    x = samples(4)
    assert mr.fit(net, x, target=0, at="gap").attribute(x).value.shape == (12, 4)
