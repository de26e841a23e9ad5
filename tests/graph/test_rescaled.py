"""A file that divides pixels itself takes them as they are: nobody need say so, and nothing is guessed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.chosen import choose
from mipin_ref.explain.inputs import Inputs
from mipin_ref.graph.open_forward import open_forward
from mipin_ref.graph.rescaled import divisor_of
from tests.graph.sketch import Sketch

SIDE = 8
IMAGES = np.random.default_rng(4).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
STD = np.array([58.395, 57.12, 57.375])


def keras(s: Sketch) -> str:
    return s.node("Add", s.node("Mul", "x", s.const(1 / 127.5)), s.const(-1.0))


def divided(s: Sketch) -> str:
    return s.node("Div", s.node("Identity", "x"), s.const([255.0]))


def normalised(s: Sketch) -> str:
    """As Normalization of ConvNeXt: less the mean, divided by the standard deviation."""
    return s.node("Div", s.node("Sub", "x", s.const(np.full(3, 120.0))), s.const(STD))


def cropped(s: Sketch) -> str:
    cut = s.node("Slice", "x", s.ints(0), s.ints(SIDE), s.ints(1))
    return s.node("Mul", s.const([1 / 255]), cut)


def as_it_is(s: Sketch) -> str:
    return "x"


def doubled(s: Sketch) -> str:
    return s.node("Mul", "x", s.const(2.0))


def inverted(s: Sketch) -> str:
    return s.node("Div", s.const(255.0), s.node("Add", "x", s.const(1.0)))


def read_twice(s: Sketch) -> str:
    return s.node("Add", s.node("Mul", "x", s.const(1 / 255)), "x")


def network(front: Callable[[Sketch], str]) -> Sketch:
    sketch = Sketch(SIDE, SIDE, 3)
    turned = sketch.node("Transpose", front(sketch), perm=[0, 3, 1, 2])
    flat = sketch.node("Flatten", sketch.node("Relu", sketch.conv(turned, 3, 4, (SIDE, SIDE))))
    sketch.node("Softmax", sketch.dense(flat, 4, 3), out="shares")
    return sketch


@pytest.mark.parametrize(
    ("front", "divides"),
    [(keras, 127.5), (divided, 255.0), (normalised, float(STD.mean())), (cropped, 255.0)],
)
def test_pixels_are_left_as_large_as_bytes(front: Callable[[Sketch], str], divides: float) -> None:
    model = network(front).model("shares")
    net = mr.load(model)
    assert net.divides == pytest.approx(divides, rel=1e-6)
    assert open_forward(model).divides == net.divides
    chosen = choose(net, Inputs.of(net, IMAGES), None, None, None, Cache(None), lambda text, total: lambda n: None)
    assert chosen.preprocessing is not None
    assert (chosen.preprocessing.scale, chosen.guessed) == (1.0, None)
    assert f"as the model, which divides pixels by {divides:.4g} itself, says" in chosen.line


@pytest.mark.parametrize("front", [as_it_is, doubled, inverted, read_twice])
def test_nothing_else_tells(front: Callable[[Sketch], str]) -> None:
    assert mr.load(network(front).model("shares")).divides is None


def test_long_chains_in_front_of_a_division_take_time_in_proportion() -> None:
    taken = []
    for count in (1000, 4000):
        sketch, name = Sketch(4), "x"
        for _ in range(count):
            name = sketch.node("Identity", name)
        model = sketch.model(sketch.node("Div", name, sketch.const(255.0)))
        started = time.process_time()
        assert divisor_of(model, "x") == 255.0
        taken.append(time.process_time() - started)
    assert taken[1] < 8 * taken[0]
