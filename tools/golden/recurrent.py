"""Golden cases: LSTM and GRU."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Array, Sketch

STEPS, FEATURES, SIZE = 5, 3, 2


@case
def golden_lstm() -> CaseRecipe:
    """Both directions, then one from the end of which all steps' last and the last cell are read; an initial state."""
    return _cells(60, peepholes=False)


@case
def golden_peepholes() -> CaseRecipe:
    """Gates that see the cell, as in golden_lstm; of the first layer all steps are read, of the second Y_h and Y_c."""
    return _cells(62, peepholes=True)


def _cells(seed: int, *, peepholes: bool) -> CaseRecipe:
    s = Sketch(seed, STEPS, FEATURES)
    s.tokens("steps", FEATURES, FEATURES)
    s.relu("relu1")
    _operator(s, "LSTM", "both", FEATURES, "bidirectional", peepholes=peepholes)
    _joined(s, "both", 2 * SIZE)
    states = [s.normal(1, 1, SIZE) for _ in range(2)]
    _operator(s, "LSTM", "back", 2 * SIZE, "reverse", states, peepholes=peepholes)
    s.node("Squeeze", "hidden", np.array([0]), source="back_h")
    s.node("Squeeze", "cell", np.array([0]), source="back_c")
    s.join("Concat", "flat", "hidden", "cell", axis=1)
    s.dense("logits", 2 * SIZE, 3)
    return recipe(s, 24, ridge=0.05)


@case
def golden_recurrent_functions() -> CaseRecipe:
    """Hard gates and rectified cells, as Keras is told to make them, in an LSTM and in a GRU."""
    s = Sketch(63, STEPS, FEATURES)
    s.tokens("steps", FEATURES, FEATURES)
    s.relu("relu1")
    hard: dict[str, Any] = {"activation_alpha": [0.2] * 2, "activation_beta": [0.5] * 2}
    _operator(s, "LSTM", "both", FEATURES, "bidirectional", activations=["HardSigmoid", "Relu", "Relu"] * 2, **hard)
    _joined(s, "both", 2 * SIZE)
    _operator(
        s,
        "GRU",
        "on",
        2 * SIZE,
        "forward",
        activations=["Sigmoid", "Elu"],
        activation_alpha=[0.5],
        linear_before_reset=1,
    )
    s.node("Squeeze", "hidden", np.array([0]), source="on_h")
    s.dense("logits", SIZE, 3)
    return recipe(s, 24, ridge=0.05)


@case
def golden_lengths() -> CaseRecipe:
    """Ids with zeros behind, as many steps a sample as there are others: an LSTM both ways, of which all steps are
    read, and a GRU, of which the last state is; in front of them one over the characters of each step.
    """
    s = Sketch(64, STEPS, 4, whole=True)
    s.join("Gather", "embedded", s.normal(9, FEATURES), "input")
    s.node("Reshape", "folded", np.array([-1, 4, FEATURES]))
    _operator(s, "GRU", "characters", FEATURES, "forward")
    s.node("Squeeze", "of_each", np.array([0]), source="characters_h")
    s.node("Reshape", "rows", np.array([-1, STEPS, SIZE]))
    s.join("Slice", "firsts", "input", np.array([0]), np.array([1]), np.array([2]))
    s.node("Squeeze", "first", np.array([2]))
    s.join("Greater", "there", "first", np.array(0))
    s.node("Cast", "ones", to=TensorProto.INT32)
    lengths = s.node("ReduceSum", "lengths", np.array([1]), keepdims=0)
    s.last = "rows"
    _operator(s, "LSTM", "both", SIZE, "bidirectional", lengths=lengths)
    _joined(s, "both", 2 * SIZE)
    _operator(s, "GRU", "on", 2 * SIZE, "forward", lengths=lengths)
    s.node("Squeeze", "hidden", np.array([0]), source="on_h")
    s.dense("logits", SIZE, 3)
    counts = s.rng.integers(2, STEPS + 1, 24)
    ids = np.where((np.arange(STEPS) < counts[:, None])[..., None], s.rng.integers(1, 9, (24, STEPS, 4)), 0)
    return recipe(s, x=ids, ridge=0.05)


@case
def golden_gru() -> CaseRecipe:
    """The reset gate on either side of the product, both directions and one; of the second layer's steps one is read
    before the last, so that what comes later is dead in front of it.
    """
    s = Sketch(61, STEPS, FEATURES)
    s.tokens("steps", FEATURES, FEATURES)
    s.relu("relu1")
    _operator(s, "GRU", "both", FEATURES, "bidirectional", linear_before_reset=1)
    _joined(s, "both", 2 * SIZE)
    _operator(s, "GRU", "on", 2 * SIZE, "forward")
    _joined(s, "on", SIZE)
    s.node("Gather", "fourth", np.array([3]), axis=1)
    s.head(SIZE)
    return recipe(s, 24, ridge=0.05)


def _operator(
    s: Sketch,
    kind: str,
    out: str,
    features: int,
    direction: str,
    states: list[Array] | None = None,
    *,
    peepholes: bool = False,
    lengths: str = "",
    **more: Any,
) -> None:
    """The operator, time in front of the batch; its outputs are `out`, `out`_h and, of an LSTM, `out`_c."""
    directions, gates = 2 if direction == "bidirectional" else 1, 4 if kind == "LSTM" else 3
    turned = s.node("Transpose", f"{out}_sequence", perm=[1, 0, 2])
    weights = [
        s.normal(directions, gates * SIZE, features),
        s.normal(directions, gates * SIZE, SIZE) * 0.7,
        s.normal(directions, 2 * gates * SIZE) * 0.4,
    ]
    given: list[str | Array] = [turned, *weights]
    if lengths:
        given.append(lengths)
    if states is not None:
        sizes = s.node("Shape", f"{out}_sizes", source=turned)
        s.node("Slice", f"{out}_batch", np.array([1]), np.array([2]), source=sizes)
        s.join("Concat", f"{out}_shape", np.array([1]), f"{out}_batch", np.array([SIZE]), axis=0)
        given.append("")
        for number, state in enumerate(states):
            given.append(s.join("Expand", f"{out}_state{number}", state, f"{out}_shape"))
    if peepholes:
        given += [""] * (7 - len(given))
        given.append(s.normal(directions, 3 * SIZE) * 0.8)
    s.join(kind, out, *given, hidden_size=SIZE, direction=direction, **more)
    node = s.nodes[-1]
    outputs = [out, f"{out}_h", f"{out}_c"][: 3 if kind == "LSTM" else 2]
    del node.output[:]
    node.output.extend(outputs)


def _joined(s: Sketch, out: str, width: int) -> None:
    """The batch in front, and the directions side by side."""
    s.node("Transpose", f"{out}_first", source=out, perm=[2, 0, 1, 3])
    s.node("Reshape", f"{out}_joined", np.array([0, STEPS, width]))
