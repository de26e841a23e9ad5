"""Networks with redrawn weights: what changes, what does not, and that their files are the same networks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder, logits
from mipin_ref.graph.redraw import redraw, redrawable, written
from mipin_ref.layers import Activation, Affine, Conv, Dense
from tests.graph.sketch import Sketch
from tests.inverse.test_bad_input import X, small
from tests.networks import Network, graphs, sample_inputs, to_onnx


def weights(net: mr.Network) -> dict[str, list[Any]]:
    """Output tensor -> the arrays of its layer, for layers that have any."""
    found: dict[str, list[Any]] = {}
    for layer in net.layers:
        if isinstance(layer, Dense | Conv):
            found[layer.output] = [layer.weight, layer.bias]
        elif isinstance(layer, Affine):
            found[layer.output] = [layer.scale, layer.shift]
        elif isinstance(layer, Activation) and layer.slope is not None:
            found[layer.output] = [layer.slope]
    return found


def same(a: list[Any], b: list[Any]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


@settings(max_examples=60)
@given(graphs(), st.integers(0, 5), st.data())
def test_the_file_is_the_redrawn_network(network: Network, seed: int, data: st.DataObject) -> None:
    net = mr.load(to_onnx(network.ops, network.input_shape))
    order = redrawable(net)
    chosen = order[: data.draw(st.integers(0, len(order)))]
    redrawn = redraw(net, chosen, seed)
    model = written(redrawn)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    again = mr.load(model)
    assert again.sha256 == redrawn.sha256 != net.sha256
    x = sample_inputs(network.input_shape, 3, seed).astype(np.float32)
    expected = logits(again, x)
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(logits(redrawn, x), expected, atol=1e-5 * scale, rtol=1e-5)
    before, after = weights(net), weights(redrawn)
    assert before.keys() == after.keys()
    for tensor in before:
        assert same(before[tensor], after[tensor]) == (tensor not in chosen)


def test_layers_below_keep_their_values_and_the_logits_change() -> None:
    net = small()
    assert redrawable(net) == ("scores", "conv")
    top, both = redraw(net, ["scores"], 3), redraw(net, ["scores", "conv"], 3)

    def values(of: mr.Network) -> Any:
        return Recorder(of, ["conv", "scores"])(X).values

    before, one, two = values(net), values(top), values(both)
    np.testing.assert_array_equal(one["conv"], before["conv"])
    assert np.abs(one["scores"] - before["scores"]).max() > 0.5
    assert np.abs(two["conv"] - before["conv"]).max() > 0.5
    assert len({net.sha256, top.sha256, both.sha256}) == 3
    assert (both.shapes, both.output, both.aliases) == (net.shapes, net.output, net.aliases)


def test_a_layer_draws_the_same_whatever_else_is_redrawn() -> None:
    net = small()
    both, lower = redraw(net, ["scores", "conv"], 3), redraw(net, ["conv"], 3)
    assert same(weights(both)["conv"], weights(lower)["conv"])
    assert redraw(net, ["conv", "scores"], 3).sha256 == both.sha256
    other = redraw(net, ["scores", "conv"], 4)
    assert not same(weights(other)["conv"], weights(both)["conv"])
    assert not same(weights(other)["scores"], weights(both)["scores"])


def test_the_draw_has_mean_and_deviation_of_each_array() -> None:
    sketch = Sketch(300)
    weight = sketch.const(2 + 0.5 * np.random.default_rng(0).standard_normal((300, 400)))
    hidden = sketch.node("Gemm", "x", weight, sketch.const(-7 + 3 * np.random.default_rng(1).random(400)), out="hidden")
    sketch.dense(hidden, 400, 3)
    sketch.nodes[-1].output[0] = "scores"
    net = mr.load(sketch.model("scores"))
    assert redrawable(net) == ("scores", "hidden")
    for before, after in zip(weights(net)["hidden"], weights(redraw(net, ["hidden"]))["hidden"], strict=True):
        error = before.std() / math.sqrt(before.size)
        assert abs(after.mean() - before.mean()) < 5 * error
        assert abs(after.std() - before.std()) < 5 * error
        assert after.dtype == before.dtype
        assert abs(np.corrcoef(before.ravel(), after.ravel())[0, 1]) < 5 / math.sqrt(before.size)
        # Drawn, not shuffled.
        assert not np.isin(after, before).all()


def test_layers_of_one_shape_draw_different_weights() -> None:
    sketch = Sketch(5)
    first = sketch.node("Relu", sketch.dense("x", 5, 5))
    sketch.node("Gemm", first, sketch.normal(5, 5), sketch.normal(5), out="scores")
    net = redraw(mr.load(sketch.model("scores")), ["scores", "gemm0"])
    scaled = [(a - a.mean()) / a.std() for a in (weights(net)["gemm0"][0], weights(net)["scores"][0])]
    assert np.abs(scaled[0] - scaled[1]).max() > 0.5


def test_slopes_affines_and_constants() -> None:
    """A scaling of the pixels is no layer with weights; a PRelu and a batch norm that cannot be folded are."""
    sketch = Sketch(2, 5, 5)
    scaled = sketch.node("Mul", "x", sketch.const(1 / 255), out="scaled")
    normed = sketch.batch_norm(sketch.node("Relu", scaled, out="relu"), 2, out="normed")
    bent = sketch.node("PRelu", normed, sketch.positive(2, 1, 1), out="bent")
    flat = sketch.node("Flatten", bent, out="flat")
    sketch.node("Gemm", flat, sketch.normal(50, 3), sketch.normal(3), out="scores")
    net = mr.load(sketch.model("scores"))
    assert "scaled" in weights(net)
    assert redrawable(net) == ("scores", "bent", "normed")
    redrawn = redraw(net, redrawable(net))
    for tensor, arrays in weights(redrawn).items():
        assert same(arrays, weights(net)[tensor]) == (tensor == "scaled")
    x = np.random.default_rng(0).random((4, 2, 5, 5)).astype(np.float32) * 255
    np.testing.assert_allclose(logits(mr.load(written(redrawn)), x), logits(redrawn, x), rtol=1e-5, atol=1e-5)


def test_an_inverse_of_the_first_network_is_refused_by_the_second(tmp_path: Path) -> None:
    net = small()
    mr.fit(net, X, 1).save(tmp_path / "one.mipin")
    with pytest.raises(mr.MipinError, match="another network"):
        mr.load_inverse(tmp_path / "one.mipin", redraw(net, ["scores"]))


def test_other_tensors_are_refused() -> None:
    net = small()
    with pytest.raises(mr.InvalidData, match="'relu' is not the output of a layer with weights"):
        redraw(net, ["scores", "relu"])
    assert redraw(net, []).layers == net.layers


@pytest.mark.parametrize("seed", [-1, 0.5, True, None])
def test_a_seed_is_an_integer_from_0_on(seed: Any) -> None:
    with pytest.raises(mr.InvalidData, match=f"integer from 0 on, not {seed}"):
        redraw(small(), ["scores"], seed)
