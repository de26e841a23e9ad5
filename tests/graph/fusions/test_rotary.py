"""com.microsoft RotaryEmbedding sits on queries and keys, hence on state: onnxruntime runs it as it stands."""

from __future__ import annotations

import numpy as np

import mipin_ref as mr
from tests.graph.fusions.forms import HEADS, MICROSOFT, TOKENS, WIDTH, Array, ended, samples, sketch_of, weights
from tests.graph.sketch import Sketch

HALF = WIDTH // HEADS // 2
TOLERANCE = 1e-5
"""As in test_attention: single precision, and a ridge of one."""


def turned_by_hand(sketch: Sketch, name: str, cosines: Array, sines: Array) -> str:
    """[N, heads, T, d] with the two halves of each head turned by the angle of the place."""
    first, second = (
        sketch.node("Slice", name, sketch.ints(start), sketch.ints(start + HALF), sketch.ints(3)) for start in (0, HALF)
    )
    c, s = (sketch.const(one) for one in (cosines, sines))
    one = sketch.node("Sub", sketch.node("Mul", first, c), sketch.node("Mul", second, s))
    two = sketch.node("Add", sketch.node("Mul", second, c), sketch.node("Mul", first, s))
    return sketch.node("Concat", one, two, axis=3)


def network(fused: bool) -> mr.Network:
    angles = np.outer(np.arange(TOKENS), 0.7 ** np.arange(HALF)).astype(np.float32)
    cosines, sines = np.cos(angles), np.sin(angles)
    sketch, x = sketch_of()
    parts = []
    for seed, role in enumerate(("query", "key", "value")):
        made = sketch.node("MatMul", x, sketch.const(weights(WIDTH, WIDTH, seed=seed)))
        apart = sketch.node("Transpose", sketch.node("Reshape", made, sketch.ints(0, 0, HEADS, -1)), perm=[0, 2, 1, 3])
        if fused and role != "value":
            tables = [sketch.const(one) for one in (cosines, sines)]
            apart = sketch.node("RotaryEmbedding", apart, sketch.ints(0), *tables, **MICROSOFT)
        elif role != "value":
            apart = turned_by_hand(sketch, apart, cosines, sines)
        parts.append(apart)
    scores = sketch.node("MatMul", parts[0], sketch.node("Transpose", parts[1], perm=[0, 1, 3, 2]))
    mixed = sketch.node("MatMul", sketch.node("Softmax", scores, axis=-1), parts[2])
    joined = sketch.node("Reshape", sketch.node("Transpose", mixed, perm=[0, 2, 1, 3]), sketch.ints(0, 0, -1))
    return mr.load(ended(sketch, joined, WIDTH, check=False))


def test_signals_are_those_of_the_same_turns_by_hand() -> None:
    one, other = (mr.fit(network(fused), samples(), 1, ridge=1.0).attribute(samples()) for fused in (True, False))
    for key in ("output", "source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= TOLERANCE * np.max(np.abs(theirs)), key
