"""Layer normalisations that no rewrite takes are called that in a refusal, not by the operators that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.graph.node import node_of
from mipin_ref.graph.problem import Problem, grouped
from mipin_ref.graph.written_out import normalisations
from tests.graph.sketch import Sketch


def normalised(sketch: Sketch, source: str, out: str, *, divided: bool = True, squared: str = "Pow") -> list[str]:
    """The tensors of one normalisation, the last first."""
    mean = sketch.node("ReduceMean", source, axes=[1], keepdims=1)
    centred = sketch.node("Sub", source, mean)
    square = (
        sketch.node("Pow", centred, sketch.const(2.0)) if squared == "Pow" else sketch.node("Mul", centred, centred)
    )
    spread = sketch.node("ReduceMean", square, axes=[1], keepdims=1)
    shifted = sketch.node("Add", spread, sketch.const(1e-5))
    deviation = sketch.node("Sqrt", shifted)
    parts = [mean, centred, square, spread, shifted, deviation]
    if divided:
        return [sketch.node("Div", centred, deviation, out=out), *parts]
    inverse = sketch.node("Reciprocal", deviation)
    return [sketch.node("Mul", inverse, centred, out=out), inverse, *parts]


@pytest.mark.parametrize("divided", [True, False])
@pytest.mark.parametrize("squared", ["Pow", "Mul"])
def test_the_parts_of_a_normalisation(divided: bool, squared: str) -> None:
    """Two in a row behind a residual that holds the same operators; what is before and beside them is no part."""
    sketch = Sketch(6)
    before = sketch.node("Sqrt", sketch.node("Mul", "x", "x"))
    source = sketch.node("Add", sketch.node("ReduceMean", before, axes=[1], keepdims=1), before)
    first = normalised(sketch, source, "first", divided=divided, squared=squared)
    second = normalised(sketch, sketch.dense("first", 6, 6), "second", divided=divided, squared=squared)
    sketch.node("Div", "second", sketch.node("Sqrt", sketch.node("Add", "second", source)))
    expected = dict.fromkeys(first, "the_first") | dict.fromkeys(second, "the_second")
    found = normalisations([node_of(node) for node in sketch.nodes])
    assert {sketch.nodes[place].output[0]: whole for place, whole in found.items()} == expected


def test_a_division_by_another_deviation_is_none() -> None:
    """What is divided must be what the deviation is of."""
    sketch = Sketch(6)
    _, *parts = normalised(sketch, "x", "normed")
    sketch.nodes.pop()
    sketch.node("Div", "x", parts[-1])
    sketch.node("Div", sketch.node("Sub", "x", sketch.const(np.ones(6))), parts[-1])
    assert not normalisations([node_of(node) for node in sketch.nodes])


def test_nodes_of_normalisations_are_one_group() -> None:
    inside = [Problem(f"{op} '{op}{n}'", f"reason {op}", 0, f"n{n}") for n in (1, 2) for op in ("Pow", "Sqrt", "Div")]
    other = Problem("Pow 'alone'", "reason Pow")
    assert grouped([other, *inside]) == (
        "2 layer normalisations, first 'n1' (in a form that is not recognised, of 6 nodes); Pow 'alone' (reason Pow)"
    )
    assert grouped(inside[:3]) == "a layer normalisation 'n1' (in a form that is not recognised, of 3 nodes)"
