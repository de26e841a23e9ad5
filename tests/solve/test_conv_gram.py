"""The convolutional normal equations in all forms against explicit loops, over random geometry."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.errors import InvalidData
from mipin_ref.solve import conv_gram
from mipin_ref.solve.conv_gram import ConvGram, ConvSolution
from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
from mipin_ref.window import Window
from tests.backends import PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error


@st.composite
def geometries(draw: Any) -> tuple[Window, tuple[int, ...], int, tuple[int, int]]:
    """Window, input size, groups and channels, in one to three dimensions; paddings may exceed the kernel."""
    rank = draw(st.integers(1, 3))
    each = range(rank)
    kernel = tuple(draw(st.integers(1, 3)) for _ in each)
    window = Window(
        kernel,
        tuple(draw(st.integers(1, 3)) for _ in each),
        tuple(draw(st.integers(0, 3)) for _ in each),
        tuple(draw(st.integers(0, 3)) for _ in each),
        tuple(draw(st.integers(1, 2)) for _ in each),
    )
    most = {1: 9, 2: 6, 3: 4}[rank]
    size = tuple(
        draw(st.integers(max(1, e - b - f), max(most, e - b - f)))
        for e, b, f in zip(window.extent, window.begin, window.end, strict=True)
    )
    groups = draw(st.integers(1, 2))
    return window, size, groups, (groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)))


def design(s: np.ndarray, window: Window, size: tuple[int, ...]) -> np.ndarray:
    """[n·locations, taps·o] by loops over every sample, output location and tap."""
    n, o, *locations = s.shape
    rows = np.zeros((n, *size, window.taps, o))
    for j in product(*map(range, locations)):
        for tap, u in enumerate(product(*map(range, window.kernel))):
            i = tuple(
                a * st_ - b + c * d
                for a, st_, b, c, d in zip(j, window.strides, window.begin, u, window.dilations, strict=True)
            )
            if all(0 <= a < d for a, d in zip(i, size, strict=True)):
                rows[np.index_exp[:] + i + (tap,)] = s[np.index_exp[:, :] + j]
    return rows.reshape(n * prod(size), window.taps * o)


Parts = list[tuple[Window, int, int]]
"""Window, outputs and groups of each convolution that reads the tensor."""


def random_sample(parts: Parts, size: tuple[int, ...], inputs: int, own: int, n: int, seed: int) -> Any:
    """Signals of every part, y = [x, v_1, ..], none with a mean of zero."""
    rng = np.random.default_rng(seed)
    signals = [rng.standard_normal((n, o, *window.output_size(size))) + 0.5 for window, o, _ in parts]
    return signals, rng.standard_normal((n, (1 + own) * inputs, *size)) + 2.0


def problem_of(parts: Parts, size: tuple[int, ...], inputs: int, own: int, n: int, intercept: bool) -> ConvProblem:
    given = tuple(ConvPart(window, window.output_size(size), o, groups) for window, o, groups in parts)
    return ConvProblem(given, size, inputs, n, own, intercept)


def solved(
    name: str, form: Any, problem: ConvProblem, signals: Any, y: np.ndarray, ridge: float, shards: int = 1
) -> ConvSolution:
    """Fit with each shard in sums of its own, merged in the end."""
    device = backend(name)
    total = None
    for i in range(shards):
        sums = ConvGram(device, problem, form)
        sums.update([device.put(s[i::shards]) for s in signals], device.put(y[i::shards]))
        if total is None:
            total = sums
        else:
            total.merge(sums)
    assert total is not None
    return total.solve(ridge)


def assert_equals_explicit_design(
    found: ConvSolution, parts: Parts, problem: ConvProblem, signals: Any, y: np.ndarray, ridge: float
) -> None:
    """Every channel's system written out and solved by NumPy."""
    m, size = problem.inputs, problem.size
    split = y.reshape(len(y), 1 + problem.own, m, -1)
    error = spread = 0.0
    for channel in range(m):
        columns = []
        for (window, o, groups), s in zip(parts, signals, strict=True):
            group = channel * groups // m
            columns.append(design(s[:, group * o // groups : (group + 1) * o // groups], window, size))
        z = np.concatenate([*columns, *(split[:, 1 + a, channel].reshape(-1, 1) for a in range(problem.own))], axis=1)
        x = split[:, 0, channel].ravel()
        middle = (z.mean(0), x.mean()) if problem.intercept else (0.0, 0.0)
        zc, xc = z - middle[0], x - middle[1]
        if ridge:
            expected = np.linalg.solve(zc.T @ zc + ridge * np.eye(z.shape[1]), zc.T @ xc)
        else:
            expected = np.linalg.lstsq(zc, xc, rcond=1e-9)[0]
        at = 0
        for kernel, block, (_, o, groups) in zip(found.kernels, columns, parts, strict=True):
            group, local = divmod(channel, m // groups)
            mine = kernel[group * o // groups : (group + 1) * o // groups, local].reshape(o // groups, -1).T
            assert relative_error(mine.ravel(), expected[at : at + block.shape[1]]) < 1e-9
            at += block.shape[1]
        if problem.own:
            assert relative_error(found.own[:, channel], expected[at:]) < 1e-9
        predicted = z @ expected
        if problem.intercept:
            assert found.intercept is not None
            offset = middle[1] - middle[0] @ expected
            assert abs(found.intercept[channel] - offset) < 1e-9 * max(1.0, abs(offset))
            predicted = predicted + offset
        error, spread = error + np.sum((x - predicted) ** 2), spread + np.sum((x - x.mean()) ** 2)
    assert sum(s.squared_error for s in found.solutions) == pytest.approx(error, rel=1e-8, abs=1e-8)
    assert sum(s.spread for s in found.solutions) == pytest.approx(spread, rel=1e-10)
    assert found.solutions[0].rows == len(y) * prod(size)


@on_drawn_backend
@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    geometry=geometries(),
    pick=PICKS,
    form=st.sampled_from(["im2col", "correlation", "rows", "stacked"]),
    own=st.integers(0, 2),
    intercept=st.booleans(),
    shards=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_every_form_equals_explicit_loops(
    geometry: Any, names: tuple[str, ...], pick: int, form: str, own: int, intercept: bool, shards: int, seed: int
) -> None:
    window, size, groups, (o, m) = geometry
    parts: Parts = [(window, o, groups)]
    problem = problem_of(parts, size, m, own, 6, intercept)
    signals, y = random_sample(parts, size, m, own, 6, seed)
    found = solved(picked(names, pick), form, problem, signals, y, 0.1, shards)
    assert_equals_explicit_design(found, parts, problem, signals, y, 0.1)


SAME = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
POINT = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
STRIDED = Window((3, 3), (2, 2), (1, 1), (0, 1), (1, 1))
SPARSE = Window((1, 1), (2, 2), (0, 0), (0, 0), (1, 1))
DILATED = Window((2, 3), (1, 1), (2, 0), (1, 2), (2, 1))
TOGETHER: dict[str, Parts] = {
    "two kernels": [(SAME, 4, 1), (POINT, 3, 1)],
    "three geometries": [(SAME, 2, 1), (STRIDED, 3, 1), (DILATED, 2, 1)],
    "equal groups": [(SAME, 4, 2), (POINT, 6, 2)],
    "depthwise and full": [(SAME, 4, 4), (POINT, 3, 1)],
    "groups of 4, 2 and 1": [(SAME, 8, 4), (POINT, 4, 2), (STRIDED, 2, 1)],
    "two depthwise": [(SAME, 4, 4), (STRIDED, 8, 4)],
    "one stride": [(STRIDED, 3, 1), (SPARSE, 2, 1), (Window((2, 3), (2, 2), (1, 2), (3, 0), (1, 2)), 2, 1)],
    "one dilation": [(SAME, 2, 1), (DILATED, 3, 1), (Window((1, 3), (1, 1), (0, 4), (0, 4), (1, 2)), 2, 1)],
}
FORMS = [(which, form) for which in TOGETHER for form in ("im2col", "rows")]
FORMS += [(which, "correlation") for which in ("two kernels", "equal groups", "one stride", "one dilation")]


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("own", [0, 2])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("which", "form"), FORMS)
def test_convolutions_of_different_geometry_on_one_tensor(
    name: str, form: str, own: int, intercept: bool, which: str
) -> None:
    parts, size = TOGETHER[which], (6, 5)
    problem = problem_of(parts, size, 4, own, 5, intercept)
    signals, y = random_sample(parts, size, 4, own, 5, 1)
    for ridge in (0.1, 0.0):
        found = solved(name, form, problem, signals, y, ridge, shards=2)
        assert_equals_explicit_design(found, parts, problem, signals, y, ridge)


@on_every_backend
@pytest.mark.parametrize("form", ["im2col", "rows", "correlation", "stacked"])
def test_a_skip_that_the_convolution_explains_already(name: str, form: str) -> None:
    """The own regressor is one of the shared ones: with a ridge the weight is divided, without it by least norm."""
    parts: Parts = [(POINT, 4, 2 if form == "stacked" else 1)]
    (s,), y = random_sample(parts, (4, 4), 2, 1, 6, 0)
    y[:, 2] = s[:, 0]
    problem = problem_of(parts, (4, 4), 2, 1, 6, False)
    for ridge in (0.1, 0.0):
        found = solved(name, form, problem, [s], y, ridge)
        assert found.kernels[0][0, 0] == pytest.approx(found.own[0, 0], rel=1e-6)
        assert_equals_explicit_design(found, parts, problem, [s], y, ridge)


def rounding_of_sums(dtype: str, rows: int, condition: float) -> float:
    """How far two solutions from differently rounded sums over so many rows may be apart, of the largest weight.

    Of an entry Σzy of Z'Y, random products, rounding leaves some u·√(Σz² Σy²) (u: the unit roundoff), and the entry
    itself, y having nothing to do with z, measures √(Σz² Σy²) / √rows: a relative error of u·√rows. Entries of Z'Z are
    sums of one sign, in which rounding walks randomly to u·√rows of them; on the weights this acts as a random matrix,
    of a norm √f times its entries, over the smallest eigenvalue: √condition, as the largest eigenvalue is f times the
    entries. The largest of many errors is within four standard deviations; of two solutions that differ, √2 times it.
    """
    return float(4 * np.sqrt(2) * (float(np.finfo(dtype).eps) / 2) * np.sqrt(rows) * (1 + np.sqrt(condition)))


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("intercept", [False, True])
def test_correlation_equals_im2col_at_real_size(name: str, pad: int, own: int, stride: int, intercept: bool) -> None:
    window = Window((3, 3), (stride,) * 2, (pad, pad), (pad, pad), (1, 1))
    size = (13 * stride + 3 - 2 * pad,) * 2
    problem = problem_of([(window, 72, 1)], size, 8, own, 40, intercept)
    rng = np.random.default_rng(0)
    s = np.maximum(rng.standard_normal((40, 72, 14, 14)), 0)
    y = rng.standard_normal((40, 8 * (1 + own), *size))
    for dtype in ("float64", "float32"):
        a, b = (solved_in(name, dtype, form, problem, s, y) for form in ("im2col", "correlation"))
        tolerance = rounding_of_sums(dtype, 40 * prod(size), a.solutions[0].condition)
        assert relative_error(b.kernels[0], a.kernels[0]) < tolerance
        if own:
            assert relative_error(b.own, a.own) < tolerance


def test_a_large_mean_costs_single_precision_little() -> None:
    """Centring takes off sums a million times what it leaves."""
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    problem = problem_of([(window, 8, 1)], (9, 9), 2, 0, 40, True)
    rng = np.random.default_rng(0)
    s = (1000 + rng.standard_normal((40, 8, 9, 9))).astype(np.float32)
    y = rng.standard_normal((40, 2, 9, 9)).astype(np.float32)
    exact, found = (solved_in("numpy", dtype, "correlation", problem, s, y) for dtype in ("float64", "float32"))
    assert relative_error(found.kernels[0], exact.kernels[0]) < 1e-6


def solved_in(name: str, dtype: str, form: Any, problem: ConvProblem, s: np.ndarray, y: np.ndarray) -> ConvSolution:
    device = backend(name, dtype)
    sums = ConvGram(device, problem, form)
    sums.update([device.put(s)], device.put(y))
    return sums.solve(1e-3)


def test_the_form_follows_the_shape() -> None:
    def form(kernel: int, outputs: int, size: int, samples: int = 1000, groups: int = 1) -> str:
        window = Window((kernel,) * 2, (1, 1), (0, 0), (0, 0), (1, 1))
        return problem_of([(window, outputs, groups)], (size, size), 16, 0, samples, False).form

    def together(*parts: tuple[Window, int, int]) -> str:
        return problem_of(list(parts), (24, 24), 16, 0, 1000, False).form

    assert form(3, 64, 24) == "correlation"
    assert form(3, 4, 4) == "im2col"
    assert form(1, 64, 24) == "im2col"
    assert form(3, 512, 4, 10) == "rows"
    assert form(3, 16, 24, groups=16) == "stacked"
    assert together((SAME, 64, 1), (POINT, 64, 1)) == "correlation"
    assert together((SAME, 64, 1), (STRIDED, 64, 1)) == "im2col"
    assert together((SAME, 64, 2), (POINT, 64, 1)) == "im2col"


@settings(deadline=None, max_examples=150, derandomize=True)
@given(geometry=geometries(), channels=st.integers(1, 400))
def test_correlations_hold_little_more_than_rows(geometry: Any, channels: int) -> None:
    window, size, _, _ = geometry
    problem = problem_of([(window, channels, 1)], size, 1, 0, 1000, False)
    assert problem.bytes_of(problem.form) <= 2 * problem.bytes_of("im2col")


@on_every_backend
def test_rows_larger_than_a_chunk_are_written_slab_by_slab(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: Parts = [(Window((3, 3), (2, 1), (1, 2), (0, 1), (1, 1)), 4, 1)]
    problem = problem_of(parts, (9, 7), 2, 1, 5, True)
    signals, y = random_sample(parts, (9, 7), 2, 1, 5, 0)
    whole = solved(name, "im2col", problem, signals, y, 0.1)
    monkeypatch.setattr(conv_gram, "CHUNK_BYTES", 2 * 8 * 4 * 9 * 7)  # two positions of one sample
    slabs = solved(name, "im2col", problem, signals, y, 0.1)
    assert slabs.solutions[0].rows == whole.solutions[0].rows == 5 * 9 * 7
    assert relative_error(slabs.kernels[0], whole.kernels[0]) < 1e-12


@pytest.mark.parametrize(("size", "counts"), [((6, 5), [4, 3]), ((6,), [1] * 7)])
def test_lines_of_a_depthwise_convolution_are_taken_of_as_many_samples_as_fit(
    size: tuple[int, ...], counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are not written out, so that a sample is signal and values of the two channels that are taken at a time;
    in one dimension they are.
    """
    rank = len(size)
    same = Window((3,) * rank, (1,) * rank, (1,) * rank, (1,) * rank, (1,) * rank)
    parts: Parts = [(same, 4, 4)]
    problem = problem_of(parts, size, 4, 0, 7, False)
    signals, y = random_sample(parts, size, 4, 0, 7, 0)
    monkeypatch.setattr(conv_gram, "CHUNK_BYTES", 4 * 2 * 8 * 2 * prod(size) if rank == 2 else 8 * 3 * 4 * prod(size))
    whole, sums = solved("numpy", "im2col", problem, signals, y, 0.1), ConvGram(backend("numpy"), problem, "stacked")
    taken: list[int] = []
    (stacked,) = sums._groups
    update = stacked.update

    def counted(signals: Any, y: Any) -> None:
        taken.append(len(y))
        update(signals, y)

    monkeypatch.setattr(stacked, "update", counted)
    sums.update(signals, y)
    assert taken == counts
    assert relative_error(sums.solve(0.1).kernels[0], whole.kernels[0]) < 1e-12


@on_every_backend
def test_sums_of_other_problems_are_not_merged(name: str) -> None:
    parts: Parts = [(SAME, 4, 1)]
    device = backend(name)
    first = ConvGram(device, problem_of(parts, (6, 5), 2, 0, 5, False), "im2col")
    for other in (problem_of(parts, (6, 5), 2, 1, 5, False), problem_of([(POINT, 4, 1)], (6, 5), 2, 0, 5, False)):
        with pytest.raises(InvalidData, match="same problem"):
            first.merge(ConvGram(device, other, "im2col"))
