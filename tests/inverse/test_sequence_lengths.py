"""Signals through LSTM and GRU that are given lengths: as through the sample cut to its length, and zero behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse.inverse import Inverse
from tests.graph.with_lengths import STEPS, Array, File, samples
from tests.oracles import recurrent
from tests.oracles.spec import GRU, LSTM

EPS = float(np.finfo(np.float32).eps)
READ = [
    ("LSTM", "forward", "steps"),
    ("LSTM", "forward", "ends"),
    ("LSTM", "reverse", "ends"),
    ("LSTM", "bidirectional", "steps"),
    ("LSTM", "bidirectional", "ends"),
    ("LSTM", "bidirectional", "cells"),
    ("GRU", "reverse", "steps"),
    ("GRU", "bidirectional", "steps"),
    ("GRU", "bidirectional", "ends"),
]
UNTOUCHED = [one for one in READ if one[2] == "cells" or one[:2] == ("LSTM", "reverse") or one[::2] == ("GRU", "ends")]
UNTOUCHED += [one for one in READ if one[::2] == ("LSTM", "steps")]
"""Where no product with a mask stands behind the layer."""


def entering(file: File, inverse: Inverse, feed: dict[str, Array], what: str) -> Array:
    """The signal [N, T + 1, D, H] that comes to the layer, the last cell's in the last row."""
    at = file.read if file.read == "cells" or file.kind == "GRU" or file.direction == "reverse" else "steps"
    signal = getattr(inverse.attribute(feed, at=at), what).astype(np.float64)
    whole = np.zeros((len(signal), STEPS + 1, file.directions, signal.shape[-1]))
    if at == "cells":
        whole[:, STEPS] = signal
    elif at == "ends":
        for n, length in enumerate(feed["lengths"]):
            for direction in range(file.directions):
                back = file.direction == "reverse" or direction == 1
                whole[n, 0 if back else length - 1, direction] = signal[n, direction]
    else:
        whole[:, :STEPS] = signal
        if file.kind == "GRU":
            (weight,) = inverse.weights["steps:rows"].blocks
            whole[:, :STEPS] *= weight[:, None, None]
    return whole


def cut(file: File, x: Array, signal: Array) -> Array:
    """The signal [L, D · H] at the candidate of one sample [L, C]; signal: [L + 1, D, H], the last cell's behind."""
    arrays = {name: value.astype(np.float64) for name, value in file.arrays.items()}
    directions, size = file.directions, arrays["R"].shape[2]
    reverse = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[file.direction]
    none, cells = np.zeros((directions, size)), file.read == "cells"
    kind: Any = LSTM if file.kind == "LSTM" else GRU
    op = kind(("a", "x"), "y", arrays["W"], arrays["R"], arrays["B"], reverse, none, none, cells)
    rows = [op.rows(d, arrays["W"].shape[1] // size - 1) for d in range(directions)]
    candidate = np.concatenate([x @ weight.T + bias for weight, _, bias, _ in rows], axis=1)
    values = [candidate[None], x[None].astype(np.float64)]
    made = recurrent.forward(op, values)
    flat = signal.reshape(len(signal), -1)[: len(x) + cells]
    back: Array = recurrent.back(op, flat[None], [*values, made])[0]
    return back


@pytest.mark.parametrize("what", ["source", "attribution"])
@pytest.mark.parametrize(("kind", "direction", "read"), READ)
def test_signals_are_those_of_the_sample_cut_to_its_length(kind: str, direction: str, read: str, what: str) -> None:
    """By loops over the steps that a sample has, from the signal that comes to the layer to the input, with the weights
    of the one fit; behind its end there is the intercept and no attribution.

    Float32 of both ways through five steps, relative to the largest signal.
    """
    file = File(kind, direction, read, every=True)
    feed = samples(24)
    inverse = mr.fit(mr.load(file.model(), input="x"), feed, 1)
    got, signal = getattr(inverse.attribute(feed), what), entering(file, inverse, feed, what)
    weights = inverse.weights["x"]
    (matrix,), intercept = weights.blocks, weights.intercept
    assert intercept is not None
    shift = intercept if what == "source" else np.zeros_like(intercept)
    wanted = np.tile(shift, (24, STEPS, 1))
    for n, length in enumerate(feed["lengths"]):
        if length:
            own = np.concatenate([signal[n, :length], signal[n, STEPS:]])
            wanted[n, :length] += cut(file, feed["x"][n, :length], own) @ matrix.T
    np.testing.assert_allclose(got, wanted, rtol=0, atol=256 * EPS * np.abs(wanted).max())
    assert np.abs(got - shift).max() > 0
    if what == "attribution":
        assert not np.any(got[np.arange(STEPS) >= feed["lengths"][:, None]])


@pytest.mark.parametrize(("kind", "direction", "read"), UNTOUCHED)
def test_lengths_of_all_steps_change_nothing(kind: str, direction: str, read: str) -> None:
    """Signals are those of the file without lengths; weights of both fits are of the same sums."""
    feed = samples(24, least=STEPS)
    file = File(kind, direction, read)
    told = mr.fit(mr.load(file.model(), input="x"), feed, 1)
    without = mr.fit(mr.load(replace(file, lengths="none").model()), feed["x"], 1)
    for what in ("source", "attribution"):
        got, wanted = (getattr(one.attribute(x), what) for one, x in ((told, feed), (without, feed["x"])))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=64 * EPS * np.abs(wanted).max())


@pytest.mark.parametrize(("kind", "direction", "read"), [one for one in READ if one not in UNTOUCHED])
def test_lengths_of_all_steps_change_what_a_ridge_does_alone(kind: str, direction: str, read: str) -> None:
    """Behind the layer stand a product with a mask and a sum, whose weights the fit of the input takes in but for the
    ridge, which is next to none here. Recorded values are float32.
    """
    feed = samples(60, least=STEPS)
    file = File(kind, direction, read)
    told = mr.fit(mr.load(file.model(), input="x"), feed, 1, ridge=1e-9)
    without = mr.fit(mr.load(replace(file, lengths="none").model()), feed["x"], 1, ridge=1e-9)
    for what in ("source", "attribution"):
        got, wanted = (getattr(one.attribute(x), what) for one, x in ((told, feed), (without, feed["x"])))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=256 * EPS * np.abs(wanted).max())


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "integrated-gradients"])
@pytest.mark.parametrize(("kind", "direction", "read"), READ)
def test_other_methods_see_the_sample_cut_to_its_length(kind: str, direction: str, read: str, method: str) -> None:
    """By the file of as many steps without lengths; behind a sample's end there is nothing. Relevance is divided by
    sums that may be small.
    """
    file = File(kind, direction, read)
    net, feed = mr.load(file.model(), input="x"), samples(12)
    got = mr.attribute(net, feed, 1, method).attribution
    assert not np.any(got[np.arange(STEPS) >= feed["lengths"][:, None]])
    for length in range(1, STEPS + 1):
        own = feed["lengths"] == length
        short = mr.load(replace(file, lengths="none", steps=length).model())
        wanted = mr.attribute(short, feed["x"][own, :length], 1, method).attribution
        allowed = (4096 if method == "lrp-epsilon" else 256) * EPS
        np.testing.assert_allclose(got[own, :length], wanted, rtol=0, atol=allowed * np.abs(wanted).max())
