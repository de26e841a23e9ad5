"""The normal equations of strided convolutions by phases, against explicit loops over the whole input."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mipin_ref.errors import InvalidData
from mipin_ref.solve import phases
from mipin_ref.solve.conv_gram import ConvSolution
from mipin_ref.solve.conv_problem import ConvProblem
from mipin_ref.solve.phased_problem import phased
from mipin_ref.solve.phases import PhasedGram
from mipin_ref.window import Window
from tests.backends import PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error
from tests.solve.test_conv_gram import (
    TOGETHER,
    Parts,
    assert_equals_explicit_design,
    design,
    geometries,
    problem_of,
    random_sample,
)


def by_phases(name: str, problem: ConvProblem, signals: Any, y: np.ndarray, ridge: float, shards: int) -> ConvSolution:
    """Fit with each shard in sums of its own, merged in the end."""
    device, split = backend(name), phased(problem)
    assert split is not None
    total = PhasedGram(device, split)
    for i in range(shards):
        sums = PhasedGram(device, split)
        sums.update([device.put(s[i::shards]) for s in signals], device.put(y[i::shards]))
        total.merge(sums)
    return total.solve(ridge)


@on_drawn_backend
@settings(deadline=None, max_examples=150, derandomize=True)
@given(geometry=geometries(), pick=PICKS, shards=st.integers(1, 3), seed=st.integers(0, 100), intercept=st.booleans())
def test_phases_equal_explicit_loops(
    geometry: Any, names: tuple[str, ...], pick: int, shards: int, seed: int, intercept: bool
) -> None:
    window, size, groups, (o, m) = geometry
    parts: Parts = [(window, o, groups)]
    problem = problem_of(parts, size, m, 0, 6, intercept)
    assume(phased(problem) is not None)
    signals, y = random_sample(parts, size, m, 0, 6, seed)
    found = by_phases(picked(names, pick), problem, signals, y, 0.1, shards)
    assert_equals_explicit_design(found, parts, problem, signals, y, 0.1)


PATCHES = Window((4, 2), (4, 2), (0, 0), (0, 0), (1, 1))
PADDED = Window((4, 2), (4, 2), (2, 1), (2, 1), (1, 1))
SQUARE = Window((4, 4), (4, 4), (0, 0), (0, 0), (1, 1))
APART = Window((2, 3), (4, 5), (1, 0), (3, 0), (1, 1))
AROUND = Window((2, 2), (3, 3), (1, 1), (2, 2), (1, 1))
STRIDED = Window((3, 3), (2, 2), (1, 1), (0, 1), (1, 1))
SPARSE = Window((1, 1), (2, 2), (0, 0), (0, 0), (1, 1))
KINDS: dict[str, tuple[Parts, tuple[int, int]]] = {
    "patches": ([(PATCHES, 3, 1)], (12, 6)),
    "patches that leave the last lines": ([(PATCHES, 3, 1)], (15, 7)),
    "patches, padded": ([(PADDED, 3, 1)], (12, 6)),
    "patches of groups": ([(SQUARE, 10, 2)], (8, 8)),
    "windows that leave locations between": ([(APART, 3, 1)], (9, 14)),
    "taps that are never in the input": ([(AROUND, 2, 1)], (4, 4)),
    "several convolutions": (TOGETHER["one stride"], (6, 5)),
    "one of two skips phases": ([(STRIDED, 3, 1), (SPARSE, 2, 1)], (6, 6)),
    "groups that disagree": ([(STRIDED, 4, 2), (SPARSE, 3, 1)], (6, 6)),
}


@on_every_backend
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_with_and_without_a_ridge(name: str, kind: str, intercept: bool) -> None:
    parts, size = KINDS[kind]
    problem = problem_of(parts, size, 4, 0, 9, intercept)
    if intercept and kind == "groups that disagree":
        assert phased(problem) is None
        return
    signals, y = random_sample(parts, size, 4, 0, 9, 1)
    for ridge in (0.1, 0.0):
        found = by_phases(name, problem, signals, y, ridge, 2)
        assert_equals_explicit_design(found, parts, problem, signals, y, ridge)


@pytest.mark.parametrize(("window", "regressors"), [(STRIDED, 27), (PATCHES, 24)])
def test_what_is_known_of_the_fit_is_that_of_all_rows(window: Window, regressors: int) -> None:
    """The regressors of all taps are independent."""
    parts, size = [(window, 3, 1)], (8, 6)
    problem = problem_of(parts, size, 2, 0, 9, False)
    signals, y = random_sample(parts, size, 2, 0, 9, 1)
    found = by_phases("numpy", problem, signals, y, 0.1, 1)
    assert np.linalg.matrix_rank(design(signals[0], window, size)) == regressors
    assert {one.rank for one in found.solutions} == {regressors}
    assert {one.rows for one in found.solutions} == {9 * 48}


@pytest.mark.parametrize("intercept", [False, True])
def test_patches_have_one_gram_of_their_outputs(intercept: bool) -> None:
    """As of a vision transformer's: 192 outputs of 16×16 pixels, of which all taps together would have 49152."""
    window = Window((16, 16), (16, 16), (0, 0), (0, 0), (1, 1))
    split = phased(problem_of([(window, 192, 1)], (224, 224), 3, 0, 1000, intercept))
    assert split is not None
    (one,) = split.alike
    inputs = 3 * 16 * 16 + intercept  # and a constant
    assert (one.problem.features, one.problem.inputs, one.problem.size) == (192, inputs, (14, 14))
    assert split.bytes < 8 * 192 * (2 * 192 + inputs) + 1


def test_a_padding_tells_the_phases_apart_that_it_cuts() -> None:
    window = Window((4,), (4,), (2,), (2,), (1,))
    split = phased(problem_of([(window, 3, 1)], (12,), 2, 0, 10, False))
    assert split is not None
    # Of 4 outputs two taps see the first three in the input, and two the last three.
    assert [(one.problem.inputs, one.problem.size) for one in split.alike] == [(4, (3,)), (4, (3,))]
    assert sorted(taps for one in split.alike for ((taps,),) in one.taps) == [0, 1, 2, 3]


def test_what_phases_share_is_not_split() -> None:
    assert phased(problem_of([(PATCHES, 3, 1)], (12, 6), 2, 1, 10, False)) is None


@on_every_backend
@pytest.mark.parametrize("ridge", [0.1, 0.0])
def test_an_intercept_that_regressors_add_up_to_is_of_least_norm(name: str, ridge: float) -> None:
    """Of signals whose sum is one at every location the constant is a regressor already."""
    parts, size = [(PATCHES, 3, 1)], (12, 6)
    problem = problem_of(parts, size, 2, 0, 9, True)
    signals, y = random_sample(parts, size, 2, 0, 9, 1)
    signals[0][:, 2] = 1 - signals[0][:, 0] - signals[0][:, 1]
    found = by_phases(name, problem, signals, y + 5, ridge, 2)
    assert_equals_explicit_design(found, parts, problem, signals, y + 5, ridge)


def test_what_has_one_phase_is_not_split() -> None:
    assert phased(problem_of([(Window((3,), (1,), (1,), (1,), (1,)), 3, 1)], (12,), 2, 0, 10, False)) is None


def test_sums_of_other_problems_are_not_merged() -> None:
    first, second = (phased(problem_of([(PATCHES, 3, 1)], size, 2, 0, 10, False)) for size in ((12, 6), (8, 6)))
    assert first is not None
    assert second is not None
    with pytest.raises(InvalidData, match="same problem"):
        PhasedGram(backend("numpy"), first).merge(PhasedGram(backend("numpy"), second))


def test_phases_that_share_an_intercept_are_not_held_out() -> None:
    """There the whole input is one problem."""
    split = phased(problem_of([(PATCHES, 3, 1)], (12, 6), 2, 0, 7, True))
    assert split is not None
    with pytest.raises(InvalidData, match="share an intercept"):
        PhasedGram(backend("numpy"), split).error([])


@on_every_backend
def test_a_few_samples_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of([(PATCHES, 3, 1)], (12, 6), 2, 0, 7, False)
    signals, y = random_sample([(PATCHES, 3, 1)], (12, 6), 2, 0, 7, 0)
    whole = by_phases(name, problem, signals, y, 0.1, 1)
    monkeypatch.setattr(phases, "CHUNK_BYTES", 8 * prod(y.shape[1:]))  # one sample
    apart = by_phases(name, problem, signals, y, 0.1, 1)
    assert relative_error(apart.kernels[0], whole.kernels[0]) < 1e-12
