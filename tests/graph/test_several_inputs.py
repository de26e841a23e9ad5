"""Networks that read several inputs of each sample: one is explained, the others are recorded along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.beside import joined
from mipin_ref.cli import main
from mipin_ref.graph.forward import Recorder
from tests.graph.sketch import Sketch, load_whole, tensors_of
from tests.inverse.test_graphs import TOLERANCE

Array = Any


def network(kind: str = "added") -> ModelProto:
    """An image and numbers: what a layer makes of these is added to, or gates, what is made of the image."""
    sketch = Sketch(2, 6, 6)
    sketch.inputs.append(helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["N", 5]))
    one = sketch.node("Relu", sketch.conv("x", 2, 3, pads=[1, 1, 1, 1]))
    other = sketch.dense("numbers", 5, 3)
    if kind == "ids":
        sketch.inputs[1] = helper.make_tensor_value_info("numbers", TensorProto.INT64, ["N"])
        del sketch.nodes[-1]
        other = sketch.node("Gather", sketch.normal(7, 3), "numbers", axis=0)
    wide = sketch.node("Unsqueeze", other, sketch.ints(2, 3))
    if kind == "gated":
        both = sketch.node("Mul", one, sketch.node("Sigmoid", wide))
    else:
        both = sketch.node("Relu", sketch.node("Add", one, wide))
    mean = sketch.node("Flatten", sketch.node("GlobalAveragePool", both))
    return sketch.model(sketch.dense(mean, 3, 4))


def samples(count: int = 40, kind: str = "added", seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 7, count) if kind == "ids" else rng.standard_normal((count, 5)).astype(np.float32)
    return {"x": rng.standard_normal((count, 2, 6, 6)).astype(np.float32), "numbers": numbers}


def one_at_a_time(kind: str, x: dict[str, Array]) -> list[mr.Network]:
    """The network of each sample by itself, the other input bound to its value."""
    bound = [x["numbers"][i : i + 1] for i in range(len(x["x"]))]
    return [mr.load(network(kind), given={"numbers": value}) for value in bound]


@pytest.mark.parametrize("kind", ["added", "gated", "ids"])
def test_values_are_those_of_each_sample_by_itself(kind: str) -> None:
    net, x = mr.load(network(kind), input="x"), samples(6, kind)
    assert net.inputs == ("x", "numbers")
    probabilities, logits = net.predict(x)
    alone = [one.predict(x["x"][i : i + 1]) for i, one in enumerate(one_at_a_time(kind, x))]
    assert np.allclose(logits, np.concatenate([row for _, row in alone]), atol=1e-6)
    assert np.allclose(probabilities, np.concatenate([row for row, _ in alone]), atol=1e-6)


def packed(kind: str) -> ModelProto:
    """The same network with both inputs in one row, of which the image is cut out."""
    whole, two = Sketch(77), network(kind)
    whole.initializers += list(two.graph.initializer)
    zero, end, last, one = (whole.const(np.array([value]), f"at{value}") for value in (0, 72, 77, 1))
    image = whole.node("Slice", "x", zero, end, one, out="flat")
    whole.node("Reshape", image, whole.const(np.array([-1, 2, 6, 6]), "sizes"), out="image")
    whole.node("Slice", "x", end, last, one, out="numbers")
    for node in two.graph.node:
        node.input[:] = ["image" if name == "x" else name for name in node.input]
        whole.nodes.append(node)
    return whole.model(two.graph.output[0].name)


@pytest.mark.parametrize("kind", ["added", "gated"])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_signals_are_those_of_the_image_cut_out_of_one_input(kind: str, batch_size: int | None) -> None:
    """The other input is state: its values are recorded, and nothing comes back to it."""
    net, x = mr.load(network(kind), input="x"), samples(kind=kind)
    inverse = mr.fit(net, x, target=1, batch_size=batch_size)
    result = inverse.attribute({name: value[:9] for name, value in x.items()})
    rows = np.concatenate([x["x"].reshape(40, 72), x["numbers"]], axis=1)
    twin = mr.fit(load_whole(packed(kind)), rows, target=1, at="image", input_mask=False).attribute(rows[:9])
    for mine, theirs in ((result.source, twin.source), (result.attribution, twin.attribution)):
        assert float(np.max(np.abs(mine - theirs))) <= TOLERANCE * float(np.max(np.abs(theirs)))
    assert np.allclose(result.output, net.predict(x)[1][:9, 1], atol=1e-6)
    assert result.source.shape == (9, 2, 6, 6)


def test_the_other_one_is_explained_as_well() -> None:
    net, x = mr.load(network(), input="numbers"), samples()
    result = mr.fit(net, x, target=0).attribute(x)
    assert result.source.shape == (40, 5)
    with pytest.raises(mr.InvalidData, match="left open; those are 'x', 'numbers'"):
        mr.load(network(), input="words")


@pytest.mark.parametrize("method", ["gradient", "input-x-gradient", "lrp-epsilon", "smoothgrad", "mip-in"])
def test_methods_take_a_dict(method: str) -> None:
    """The gradient of each sample is that of the network whose other input is bound to the sample's value."""
    net, x = mr.load(network(), input="x"), samples(5)
    options: dict[str, Any] = {"calibration": samples()} if method == "mip-in" else {}
    result = mr.attribute(net, x, 2, method, **options)
    if method == "gradient":
        alone = [
            mr.attribute(one, x["x"][i : i + 1], 2, method).attribution
            for i, one in enumerate(one_at_a_time("added", x))
        ]
        assert np.allclose(result.attribution, np.concatenate(alone), atol=1e-6)
    assert result.attribution.shape == (5, 2, 6, 6)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("integrated-gradients", {"steps": 8}),
        ("occlusion", {"window": 3}),
        ("kernel-shap", {}),
        ("rise", {"samples": 50}),
    ],
)
def test_methods_that_change_samples_leave_the_other_input(method: str, options: dict[str, Any]) -> None:
    """A changed sample is one of the network whose other input is bound to that sample's value."""
    net, x = mr.load(network(), input="x"), samples(3)
    result = mr.attribute(net, x, 2, method, **options)
    alone = [
        mr.attribute(one, x["x"][i : i + 1], 2, method, **options) for i, one in enumerate(one_at_a_time("added", x))
    ]
    for name in ("attribution", "delta"):
        wanted = [getattr(one, name) for one in alone if getattr(one, name) is not None]
        assert bool(wanted) == (getattr(result, name) is not None)
        if wanted:
            np.testing.assert_allclose(getattr(result, name), np.concatenate(wanted), atol=1e-5)


def test_samples_that_carry_nothing_for_the_other_input_are_refused() -> None:
    net, x = mr.load(network(), input="x"), samples(3)
    with pytest.raises(mr.InvalidData, match="carry nothing for it"):
        Recorder(net, [net.logits])(x["x"])


def test_deletion_carries_the_other_input_along() -> None:
    net, x = mr.load(network(), input="x"), samples(3)
    maps = np.random.default_rng(1).random((3, 6, 6))
    curve = mr.metrics.deletion(net, x, maps, target=1, output="logit", steps=4)
    for i, one in enumerate(one_at_a_time("added", x)):
        alone = mr.metrics.deletion(
            one, x["x"][i : i + 1], maps[i : i + 1], target=1, output="logit", steps=4, fill=x["x"].mean(axis=(0, 2, 3))
        )
        assert np.allclose(curve.scores[i, 0], alone.scores[0, 0], atol=1e-6)
    assert np.allclose(curve.scores[:, 0], net.predict(x)[1][:, 1], atol=1e-6)


WRONG: dict[str, tuple[Any, str]] = {
    "missing": (lambda x: {"x": x["x"]}, "holds nothing for input 'numbers'"),
    "extra": (lambda x: {**x, "more": x["x"]}, "has no input 'more'"),
    "lengths": (
        lambda x: {**x, "numbers": x["numbers"][:3]},
        "different numbers of samples: 40 of 'x', 3 of 'numbers'",
    ),
    "shape": (lambda x: {**x, "numbers": x["numbers"][:, :4]}, r"input 'numbers' has shape \[\d+, 4\]"),
    "array": (lambda x: x["x"], "reads 2 inputs of each sample"),
    "NaN": (lambda x: {**x, "numbers": np.nan * x["numbers"]}, "of input 'numbers' hold NaN or Inf"),
    "words": (lambda x: {**x, "numbers": np.array(["a"] * 40)}, "input 'numbers'"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("where", ["fit", "attribute", "predict"])
def test_what_does_not_fit_is_one_sentence(wrong: str, where: str) -> None:
    change, said = WRONG[wrong]
    net, x = mr.load(network(), input="x"), samples()
    if wrong == "words" and where == "predict":
        said = "numbers"
    inverse = mr.fit(net, x, target=0)
    calls: dict[str, Callable[[Any], object]] = {
        "fit": lambda data: mr.fit(net, data, target=0),
        "attribute": inverse.attribute,
        "predict": net.predict,
    }
    with pytest.raises(mr.InvalidData, match=said) as told:
        calls[where](change(x))
    assert "\n" not in str(told.value)


def test_without_a_name_both_options_are_told() -> None:
    with pytest.raises(mr.UnsupportedModel, match="option 'given', or name it, option 'input'"):
        mr.load(network())


def test_an_inverse_is_of_the_input_that_was_explained(tmp_path: Path) -> None:
    net, x = mr.load(network(), input="x"), samples()
    mr.fit(net, x, target=0).save(tmp_path / "one.mipin")
    same = mr.load_inverse(tmp_path / "one.mipin", mr.load(network(), input="x"))
    assert np.array_equal(same.attribute(x).source, mr.fit(net, x, target=0).attribute(x).source)
    with pytest.raises(mr.MipinError):
        mr.load_inverse(tmp_path / "one.mipin", mr.load(network(), input="numbers"))


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    model, data, saved = tmp_path / "two.onnx", tmp_path / "data.npz", tmp_path / "one.mipin"
    onnx.save(network(), model)
    np.savez(data, **samples())
    fitted = ["fit", str(model), str(data), "--input", "x", "--target", "1", "-o", str(saved)]
    assert main(fitted) == 0
    assert (
        main(["explain", str(model), str(data), "--input", "x", "--inverse", str(saved), "-o", str(tmp_path / "o")])
        == 0
    )
    net = mr.load(model, input="x")
    expected = mr.load_inverse(saved, net).attribute(data)
    assert np.array_equal(expected.source, mr.fit(net, samples(), target=1).attribute(samples()).source)
    capsys.readouterr()
    assert main([*fitted[:4], "words", *fitted[5:]]) == 2
    assert "input 'words' is not one that the output needs" in capsys.readouterr().err
    np.savez(data, x=samples()["x"])
    assert main(fitted) == 2
    assert "holds nothing for input 'numbers'" in capsys.readouterr().err


def test_a_quantised_file_takes_several_inputs(tmp_path: Path) -> None:
    from tests.graph.quantising import dynamic

    net, x = mr.load(dynamic(network(), tmp_path), input="x"), samples()
    assert net.file is not None
    one = mr.fit(net, x, target=0).attribute(x)
    two = mr.fit(mr.load(network(), input="x"), x, target=0).attribute(x)
    assert np.corrcoef(one.source.ravel(), two.source.ravel())[0, 1] > 0.98


def test_values_of_the_file() -> None:
    """Every tensor of layers has the value that onnxruntime computes."""
    net, x = mr.load(network(), input="x"), samples(4)
    recorded = Recorder(net, list(net.shapes), threads=1)(joined(x["x"], {"numbers": x["numbers"]})).values
    bound = network()
    for i in range(4):
        bound = network()
        given = helper.make_tensor("numbers", TensorProto.FLOAT, [1, 5], x["numbers"][i])
        bound.graph.initializer.append(given)
        del bound.graph.input[1]
        for name, value in tensors_of(bound, x["x"][i : i + 1]).items():
            if name in recorded:
                assert np.allclose(recorded[name][i : i + 1].reshape(value.shape), value, atol=1e-6), name


def test_apc_needs_one_input() -> None:
    net, x = mr.load(network(), input="x"), samples()
    result = mr.fit(net, x, target=0).attribute(x)
    with pytest.raises(mr.InvalidData, match="reads 2 inputs of each sample: bind the others"):
        mr.metrics.apc(net, {0: result})
