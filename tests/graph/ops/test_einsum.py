"""Einsum with a constant operand, against numpy and the same network written with MatMul."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import mipin_ref as mr
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole
from tests.inverse.test_graphs import TOLERANCE

# Equation, constant's shape, whether the tensor stands first. The tensor is [N, 3, 4] but in the last four.
TOKENS = [
    ("btc,cd->btd", (4, 5), True),
    ("cd,btc->btd", (4, 5), False),
    ("btc,dc->btd", (5, 4), True),
    ("btc,td->bdc", (3, 5), True),
    ("dt,btc->bdc", (5, 3), False),
    ("btc,cd->bdt", (4, 5), True),
    ("btc,tcd->bd", (3, 4, 5), True),
    ("btc,ctd->bd", (4, 3, 5), True),
    ("dct,btc->bd", (5, 4, 3), False),
    ("btc,chd->bhtd", (4, 2, 5), True),
    ("btc,chd->bthd", (4, 2, 5), True),
    ("...c,cd->...d", (4, 5), True),
    ("cd,...c->...d", (4, 5), False),
    ("btc,c->bt", (4,), True),
    ("btc,t->bc", (3,), True),
    ("btc,cd", (4, 5), True),
    ("btc,cd->bd", (4, 5), True),
    ("btc,c->btc", (4,), True),
    ("t,btc->bct", (3,), False),
    ("btc,cde->btd", (4, 5, 2), True),
]


def _network(equation: str, shape: tuple[int, ...], first: bool) -> tuple[mr.Network, np.ndarray, int]:
    sketch = Sketch(3, 4)
    hidden = sketch.node("Relu", sketch.node("Add", "x", sketch.normal(3, 4)))
    weight = sketch.rng.standard_normal(shape).astype(np.float32)
    operands = [hidden, sketch.const(weight)]
    out = sketch.node("Einsum", *(operands if first else operands[::-1]), equation=equation)
    samples = np.zeros((2, 3, 4), np.float32)
    size = np.einsum(equation, *((samples, weight) if first else (weight, samples)))
    features = size.size // 2
    flat = sketch.node("Flatten", sketch.node("Relu", out))
    return assert_keeps_values(sketch.model(sketch.dense(flat, features, 3))), weight, features


@pytest.mark.parametrize(("equation", "shape", "first"), TOKENS)
def test_values(equation: str, shape: tuple[int, ...], first: bool) -> None:
    net, _, _ = _network(equation, shape, first)
    kinds = {layer.kind for layer in net.layers}
    assert kinds <= {"Affine", "Activation", "TokenDense", "Dense", "Reshape", "Transpose"}
    assert ("TokenDense" in kinds) or [layer.kind for layer in net.layers].count("Dense") > 1 or "c->b" in equation


@pytest.mark.parametrize(
    ("equation", "shape", "first"),
    [
        ("btc,cd->btd", (4, 5), True),
        ("dt,btc->bdc", (5, 3), False),
        ("btc,dc->btd", (5, 4), True),
        ("btc,tcd->bd", (3, 4, 5), True),
        ("btc,cd->bdt", (4, 5), True),
    ],
)
def test_signals_are_those_of_the_product(equation: str, shape: tuple[int, ...], first: bool) -> None:
    """The same network with Transpose, Reshape and MatMul in place of Einsum has the same S and A."""
    rng = np.random.default_rng(4)
    weight, last = rng.standard_normal(shape), rng.standard_normal((5 if equation.endswith("bd") else 60, 2))

    def finished(sketch: Sketch, out: str) -> mr.Network:
        flat = sketch.node("Flatten", sketch.node("Relu", out))
        rows = {"btd": 15, "bdc": 20, "bd": 5, "bdt": 15}[equation.partition("->")[2]]
        return load_whole(sketch.model(sketch.node("MatMul", flat, sketch.const(last[:rows]))))

    one = Sketch(3, 4)
    operands = ["x", one.const(weight)]
    net = finished(one, one.node("Einsum", *(operands if first else operands[::-1]), equation=equation))
    two = Sketch(3, 4)
    plain: Callable[[], str] = {
        "btc,cd->btd": lambda: two.node("MatMul", "x", two.const(weight)),
        "dt,btc->bdc": lambda: two.node("MatMul", two.const(weight), "x"),
        "btc,dc->btd": lambda: two.node("MatMul", "x", two.const(weight.T)),
        "btc,tcd->bd": lambda: two.node("MatMul", two.node("Flatten", "x"), two.const(weight.reshape(12, 5))),
        "btc,cd->bdt": lambda: two.node("Transpose", two.node("MatMul", "x", two.const(weight)), perm=[0, 2, 1]),
    }[equation]
    other = finished(two, plain())
    x = rng.standard_normal((40, 3, 4)).astype(np.float32)
    result, expected = (mr.fit(each, x, target=1).attribute(x) for each in (net, other))
    for mine, theirs in ((result.source, expected.source), (result.attribution, expected.attribution)):
        # The forward passes add up in another order in float32.
        assert float(np.max(np.abs(mine - theirs))) <= max(TOLERANCE, 1e-4) * float(np.max(np.abs(theirs)))


@pytest.mark.parametrize(
    ("equation", "shape", "said"),
    [
        ("btc,tcd->btd", (3, 4, 5), "another matrix at each place"),
        ("btc,bd->tcd", (1, 5), "contracts over the batch"),
    ],
)
def test_what_is_no_product_with_a_matrix_is_refused(equation: str, shape: tuple[int, ...], said: str) -> None:
    sketch = Sketch(3, 4)
    out = sketch.node("Einsum", "x", sketch.normal(*shape), equation=equation)
    with pytest.raises(mr.UnsupportedModel, match=said):
        load_whole(sketch.model(out))


def test_two_tensors_are_refused() -> None:
    sketch = Sketch(3, 4)
    out = sketch.node("Einsum", sketch.node("Relu", "x"), sketch.node("Tanh", "x"), equation="btc,bsc->bts")
    with pytest.raises(
        mr.UnsupportedModel, match="both depend on the input, and neither is a softmax over what is summed"
    ):
        load_whole(sketch.model(out))


@pytest.mark.parametrize(
    ("equation", "turned"), [("btc,bt->btc", False), ("bt,btc->btc", False), ("btc,bt->bct", True)]
)
def test_two_tensors_of_which_nothing_is_summed_are_a_gate(equation: str, turned: bool) -> None:
    """The one that is broadcast, made of the other, in any order."""
    sketch = Sketch(3, 4)
    gate = sketch.node("Sigmoid", sketch.node("ReduceMean", "x", axes=[2], keepdims=0), out="gate")
    pair = ("x", gate) if equation.startswith("btc") else (gate, "x")
    out = sketch.node("Einsum", *pair, equation=equation, out="product")
    net = load_whole(sketch.model(sketch.node("Relu", out), check=False))
    (layer,) = [layer for layer in net.layers if layer.kind == "Gate"]
    assert "x" in layer.inputs[0] or turned
    x = np.random.default_rng(0).standard_normal((6, 3, 4)).astype(np.float32)
    wanted = x / (1 + np.exp(-x.mean(2, keepdims=True)))
    wanted = wanted.swapaxes(1, 2) if turned else wanted
    np.testing.assert_allclose(net.predict(x)[1].reshape(wanted.shape), np.maximum(wanted, 0), rtol=0, atol=1e-6)


def test_two_tensors_and_a_constant_are_refused() -> None:
    """Three tensors are read, so it is not their number that is told."""
    sketch = Sketch(3, 4)
    out = sketch.node("Einsum", "x", sketch.node("Relu", "x"), sketch.normal(4), equation="btc,btc,c->btc")
    with pytest.raises(mr.UnsupportedModel, match="it multiplies 2 of 3 operands that depend on the input"):
        load_whole(sketch.model(out, check=False))


def test_three_tensors_with_an_ellipsis_are_refused() -> None:
    sketch = Sketch(3, 4)
    out = sketch.node("Einsum", "x", "x", "x", equation="...c,...c,...c->...c")
    with pytest.raises(mr.UnsupportedModel, match="does not say its output, or has an ellipsis"):
        load_whole(sketch.model(out, check=False))
