"""What is recorded of a sample is remembered for when it comes again, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder, logits
from mipin_ref.graph.remembered import SHARE, Remembered, remembered_of, remembering
from tests.graph.sketch import Sketch

ROOM = SHARE << 20


@pytest.fixture
def net() -> mr.Network:
    sketch = Sketch(2, 6, 6)
    fired = sketch.node("Relu", sketch.conv("x", 2, 3, out="mixed"), out="fired")
    return mr.load(sketch.model(sketch.dense(sketch.node("Flatten", fired, out="flat"), 48, 3)))


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 2, 6, 6)).astype(np.float32)


def test_what_comes_again_is_not_run_again(net: mr.Network) -> None:
    x = images()
    fresh = Recorder(net, ["x", "fired", net.logits])(x).values
    memory = Remembered(ROOM)
    with remembering(net, memory):
        for rows, run in ([0, 1, 2], 3), ([2, 1, 0, 3], 4), ([3, 3, 5, 5], 5), ([*range(6)], 6), ([4], 6):
            values = Recorder(net, ["x", "fired", net.logits])(x[rows]).values
            assert memory.runs == run
            for name, value in values.items():
                np.testing.assert_array_equal(value, fresh[name][rows])
        # Fewer tensors are known; one more is not.
        np.testing.assert_array_equal(logits(net, x), fresh[net.logits])
        assert memory.runs == 6
        Recorder(net, ["mixed", net.logits])(x[:2])
        assert memory.runs == 8
        Recorder(net, ["mixed", "fired"])(x[:2])
        assert memory.runs == 8
    Recorder(net, [net.logits])(x)
    assert memory.runs == 8
    assert remembered_of(net) is None


def test_other_networks_and_other_arithmetic_are_not_taken_for_this_one(net: mr.Network) -> None:
    sketch = Sketch(2, 6, 6)
    other = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", "x", out="flat"), 72, 3)))
    expected = logits(other, images())
    memory = Remembered(ROOM)
    with remembering(net, memory):
        logits(net, images())
        np.testing.assert_array_equal(logits(other, images()), expected)
        Recorder(net, [net.logits], quick=True)(images())
        assert memory.runs == 12


def test_what_is_rounded_otherwise_is_remembered_for_the_same_request(net: mr.Network) -> None:
    """Sums may be put together in another way where something between them is asked for."""
    x, asked = images(), (["fired", net.logits], (), [("mixed", True)])
    fresh = Recorder(net, *asked, quick=True)(x)
    memory = Remembered(ROOM)
    with remembering(net, memory):
        for _ in range(2):
            found = Recorder(net, *asked, quick=True)(x[::-1])
            np.testing.assert_array_equal(found.values["fired"], fresh.values["fired"][::-1])
            np.testing.assert_array_equal(found.fired["mixed", True], fresh.fired["mixed", True][::-1])
            assert memory.runs == 6
        Recorder(net, [net.logits], quick=True)(x)
        assert memory.runs == 12


def test_what_is_handed_out_may_be_written_to(net: mr.Network) -> None:
    with remembering(net, Remembered(ROOM)):
        first = Recorder(net, ["fired"])(images()).values["fired"]
        kept = first.copy()
        first[...] = -1
        second = Recorder(net, ["fired"])(images()).values["fired"]
        second += 1
        np.testing.assert_array_equal(Recorder(net, ["fired"])(images()).values["fired"], kept)


def test_what_was_longest_not_asked_for_goes_first(net: mr.Network) -> None:
    x, each = images(), 3 * 4  # the bytes of the logits
    memory = Remembered(SHARE * 3 * each)
    with remembering(net, memory):
        for row, run in (0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (0, 4), (2, 4), (1, 5):
            logits(net, x[row : row + 1])
            assert memory.runs == run, row
        # A batch that is too large for it all is not remembered, nor does it drive out anything.
        logits(net, images(60)[20:])
        before = memory.runs
        logits(net, x[1:2])
        assert memory.runs == before


def test_errors_are_those_of_a_run(net: mr.Network) -> None:
    x = images()
    x[4] = np.inf
    large = np.full_like(images(2), 3e38)
    with remembering(net, Remembered(ROOM)):
        for _ in range(2):
            with pytest.raises(InvalidData, match=r"samples 10..15, hold NaN or Inf"):
                Recorder(net, [net.logits])(x, 10)
            with pytest.raises(InvalidData, match=r"activation .* samples 0..1, hold NaN or Inf"):
                Recorder(net, [net.logits])(large)
