"""The error on other samples, from their sums alone, against reconstructions written out sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mipin_ref.solve.conv_gram import ConvGram, ConvSolution
from mipin_ref.solve.gram import Gram, Rows
from mipin_ref.solve.own_gram import OwnGram
from mipin_ref.solve.phased_problem import phased
from mipin_ref.solve.phases import PhasedGram
from tests.backends import backend, on_every_backend
from tests.solve.test_conv_gram import FORMS, SAME, TOGETHER, Parts, design, problem_of, random_sample
from tests.solve.test_phases import KINDS

CLOSE = 1e-11
"""Of the error: sums of squares some hundred times as large, of some hundred products; 4.5e4 eps."""


def written_out(found: ConvSolution, parts: Parts, inputs: int, own: int, signals: Any, y: np.ndarray) -> float:
    """Σ(x - x̂)² of each channel, whose regressors are written out by loops."""
    n, size, total = len(y), y.shape[2:], 0.0
    split = y.reshape(n, 1 + own, inputs, -1)
    for channel in range(inputs):
        left = split[:, 0, channel].ravel() - (0.0 if found.intercept is None else found.intercept[channel])
        for kernel, (window, o, groups), s in zip(found.kernels, parts, signals, strict=True):
            group, local = divmod(channel, inputs // groups)
            some = slice(group * o // groups, (group + 1) * o // groups)
            left = left - design(s[:, some], window, size) @ kernel[some, local].reshape(o // groups, -1).T.ravel()
        for number in range(own):
            left = left - split[:, 1 + number, channel].ravel() * found.own[number, channel]
        total += float(np.sum(left**2))
    return total


@on_every_backend
@pytest.mark.parametrize("own", [0, 2])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("which", "form"), [*FORMS, ("depthwise", "stacked"), ("equal groups", "stacked")])
def test_of_convolutions(name: str, form: Any, own: int, intercept: bool, which: str) -> None:
    parts: Parts = TOGETHER.get(which, [(SAME, 4, 4)])
    device, size = backend(name), (6, 5)
    problem = problem_of(parts, size, 4, own, 9, intercept)
    sums, others = (ConvGram(device, problem, form) for _ in range(2))
    signals, y = random_sample(parts, size, 4, own, 9, 1)
    sums.update([device.put(s[:5]) for s in signals], device.put(y[:5]))
    others.update([device.put(s[5:]) for s in signals], device.put(y[5:]))
    found = sums.solve(0.1)
    expected = written_out(found, parts, 4, own, [s[5:] for s in signals], y[5:])
    assert others.error(found.solutions) == pytest.approx(expected, rel=CLOSE)


@on_every_backend
@pytest.mark.parametrize("kind", KINDS)
def test_of_strided_convolutions_by_phases(name: str, kind: str) -> None:
    (parts, size), device = KINDS[kind], backend(name)
    problem = problem_of(parts, size, 4, 0, 9, False)
    split = phased(problem)
    assert split is not None
    signals, y = random_sample(parts, size, 4, 0, 9, 2)
    sums, others = PhasedGram(device, split), PhasedGram(device, split)
    sums.update([device.put(s[:5]) for s in signals], device.put(y[:5]))
    others.update([device.put(s[5:]) for s in signals], device.put(y[5:]))
    found = sums.solve(0.1)
    expected = written_out(found, parts, 4, 0, [s[5:] for s in signals], y[5:])
    assert others.error(found.solutions) == pytest.approx(expected, rel=CLOSE)


@on_every_backend
@pytest.mark.parametrize("kind", [Gram, Rows, OwnGram])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("own", [1, 3])
def test_of_rows(name: str, kind: Any, intercept: bool, own: int) -> None:
    device, rng, f, d = backend(name), np.random.default_rng(own), 7, 4
    z, x, v = rng.standard_normal((40, f)) + 3, rng.standard_normal((40, d)) - 2, rng.standard_normal((40, own, d)) + 1
    y = np.concatenate([x, *v.swapaxes(0, 1)], axis=1)
    given: tuple[int, ...] = (d,) if kind is OwnGram else (f, d)
    sums, others = (kind(device, *given, own=own, intercept=intercept) for _ in range(2))
    for one, rows in ((sums, slice(0, 25)), (others, slice(25, 40))):
        one.update(*([] if kind is OwnGram else [device.put(z[rows])]), device.put(y[rows]))
    found = sums.solve(0.5)
    shared, mine = device.get(found.weights)[0], device.get(found.own)[0]
    left = x[25:] - np.einsum("nrd,rd->nd", v[25:], mine) - (0.0 if kind is OwnGram else z[25:] @ shared)
    left = left - (device.get(found.intercept)[0] if intercept else 0.0)
    assert others.error(found) == pytest.approx(float(np.sum(left**2)), rel=CLOSE)
