"""Regressors added as rows, as columns of all samples and sample by sample, against a design matrix by loops."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.solve import im2col_gram
from mipin_ref.solve.conv_gram import ConvGram
from mipin_ref.window import Window
from tests.backends import backend, on_every_backend, relative_error
from tests.solve.test_conv_gram import Parts, design, problem_of, random_sample

POINTWISE = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
SAME = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
STRIDED = Window((3, 2), (2, 2), (1, 0), (0, 1), (1, 1))

CASES: dict[str, Parts] = {
    "pointwise": [(POINTWISE, 5, 1)],
    "two that are pointwise": [(POINTWISE, 3, 1), (POINTWISE, 2, 1)],
    "pointwise in groups": [(POINTWISE, 4, 2)],
    "3×3": [(SAME, 3, 1)],
    "3×2, strided": [(STRIDED, 3, 1)],
    "3×3 beside pointwise": [(SAME, 2, 1), (POINTWISE, 3, 1)],
}
SIZE, INPUTS = (7, 6), 4


def expected(case: str, own: int, ridge: float) -> np.ndarray:
    """The weights of every channel's own system [inputs, regressors], written out."""
    parts, (signals, y) = CASES[case], random_sample(CASES[case], SIZE, INPUTS, own, 5, 0)
    values, found = y.reshape(5, 1 + own, INPUTS, -1), []
    for channel in range(INPUTS):
        columns = []
        for (window, o, groups), s in zip(parts, signals, strict=True):
            group = channel * groups // INPUTS
            columns.append(design(s[:, group * o // groups : (group + 1) * o // groups], window, SIZE))
        z = np.concatenate([*columns, *(values[:, 1 + a, channel].reshape(-1, 1) for a in range(own))], axis=1)
        found.append(np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ values[:, 0, channel].ravel()))
    return np.array(found)


@on_every_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("long", [0, 10**9])
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_design(
    case: str, own: int, long: int, dtype: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sample by sample where maps are long for their regressors, and together where they are not; values are given in
    single precision, products of so few regressors are in double precision in either dtype.
    """
    monkeypatch.setattr(im2col_gram, "LONG", long)
    parts, device = CASES[case], backend(name, dtype)
    signals, y = random_sample(parts, SIZE, INPUTS, own, 5, 0)
    problem, sums = problem_of(parts, SIZE, INPUTS, own, 5, False), []
    for some in (slice(0, 3), slice(3, 5)):
        sums.append(ConvGram(device, problem, "im2col"))
        sums[-1].update([device.put(s[some]) for s in signals], device.put(y[some]))
    sums[0].merge(sums[1])
    found = sums[0].solve(0.1)
    wanted = expected(case, own, 0.1)
    before = 0
    for kernel, (window, o, groups) in zip(found.kernels, parts, strict=True):
        each = o // groups
        for channel in range(INPUTS):
            taps = wanted[channel, before : before + window.taps * each].reshape(window.taps, each)
            share = slice(channel * groups // INPUTS * each, (channel * groups // INPUTS + 1) * each)
            mine = kernel[share, channel % (INPUTS // groups)].reshape(each, window.taps)
            # Signals rounded to single precision move the weights by as much, times the systems' condition.
            assert relative_error(mine, taps.T) < (1e-10 if dtype == "float64" else 1e-5)
        before += window.taps * each
    for channel in range(INPUTS):
        assert relative_error(found.own[:, channel], wanted[channel, before:]) < (1e-10 if dtype == "float64" else 1e-5)


def test_a_sample_that_is_large_written_out_goes_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives the same, up to the order of sums."""
    parts = CASES["3×3"]
    signals, y = random_sample(parts, SIZE, INPUTS, 0, 5, 0)
    monkeypatch.setattr(im2col_gram, "LONG", 0)
    found = []
    for most in (im2col_gram.SAMPLE_BYTES, 1):
        monkeypatch.setattr(im2col_gram, "SAMPLE_BYTES", most)
        sums = ConvGram(backend("numpy"), problem_of(parts, SIZE, INPUTS, 0, 5, False), "im2col")
        sums.update(signals, y)
        found.append(sums.solve(0.1).kernels[0])
    assert relative_error(found[0], found[1]) < 1e-12
