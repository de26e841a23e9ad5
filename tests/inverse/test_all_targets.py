"""What `fit` takes in place of a network and of a list of targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.inverse.targets import weight_bytes
from tests.graph.sketch import Sketch
from tests.graph.test_targets import grid, samples
from tests.inverse.test_bad_input import X, small
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Dense

MODEL = "models_onnx/golden_cnn/model.onnx"


@pytest.mark.parametrize("given", [MODEL, Path(MODEL), Path(MODEL).read_bytes(), onnx.load(MODEL)], ids=type)
def test_a_file_is_loaded_and_is_the_network_of_the_inverse(given: Any) -> None:
    net = mr.load(MODEL)
    x = np.random.default_rng(0).random((12, *net.input_shape), np.float32)
    expected, inverse = (mr.fit(one, x, target=1) for one in (net, given))
    assert inverse.net.sha256 == net.sha256
    result, wanted = (mr.attribute(one.net, x, 1, "mip-in", inverse=one) for one in (inverse, expected))
    np.testing.assert_array_equal(result.attribution, wanted.attribution)


def test_what_is_no_model_is_refused_as_load_refuses_it() -> None:
    with pytest.raises(mr.InvalidData, match=r"there is no file 'nowhere\.onnx'"):
        mr.fit("nowhere.onnx", X, target=1)
    with pytest.raises(mr.CorruptFile):
        mr.fit(b"no model", X, target=1)


def test_all_targets_are_those_of_a_list() -> None:
    net = small()
    inverses, listed = mr.fit(net, X, target="all"), mr.fit(net, X, target=[0, 1, 2])
    assert list(inverses) == [0, 1, 2]
    for target, inverse in inverses.items():
        assert inverse.target == target
        for a, b in zip(inverse.weights.values(), listed[target].weights.values(), strict=True):
            np.testing.assert_array_equal(a.blocks[0], b.blocks[0])


def test_all_targets_of_an_output_of_several_axes_are_tuples() -> None:
    sketch = Sketch(2, 4, 6)
    out, shape = grid(sketch)
    net = mr.load(sketch.model(out))
    inverses = mr.fit(net, samples(), target="all")
    assert list(inverses) == list(np.ndindex(*shape))
    one = mr.fit(net, samples(), target=(2, 1, 3)).attribute(samples(3))
    np.testing.assert_allclose(inverses[2, 1, 3].attribute(samples(3)).attribution, one.attribution, atol=1e-9)


def wide(classes: int) -> mr.Network:
    """Dense -> Relu -> Dense: 200 × 300 and 300 weights a class, and intercepts."""
    rng = np.random.default_rng(0)
    first, last = Dense(("input",), "hidden", rng.normal(size=(200, 300))), rng.normal(size=(300, classes))
    return mr.load(to_onnx([first, Activation(("hidden",), "relu", "Relu"), Dense(("relu",), "scores", last)], (200,)))


def test_the_room_that_weights_take_is_counted_before_the_fit() -> None:
    inverse = mr.fit(wide(3), np.random.default_rng(1).random((20, 200), np.float32), target=1)
    held = 8 * sum(one.unknowns for one in inverse.weights.values())
    assert weight_bytes(inverse.plan) == held == 8 * (200 * 300 + 200 + 300 + 300)


def test_more_targets_than_there_is_room_for_are_refused_before_anything_is_read() -> None:
    net = wide(150)
    with pytest.raises(
        mr.InvalidData, match=r"all 150 classes take 0\.1 GB, more than the 0\.064 GB of option 'memory'"
    ):
        mr.fit(net, np.full((20, 200), np.nan, np.float32), target="all", memory="64MB")
    at = mr.fit(net, np.random.default_rng(1).random((20, 200), np.float32), target="all", at="relu", memory="64MB")
    assert len(at) == 150


@pytest.mark.parametrize("target", ["every", "", "3", "ALL"])
def test_no_other_word_is_a_target(target: str) -> None:
    with pytest.raises(mr.InvalidData, match="target must be a class index, several, or 'all', not "):
        mr.fit(small(), X, target=target)  # type: ignore[arg-type]
