"""The convolutional normal equations in all three forms against explicit loops, over random geometry."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.solve import conv_gram
from mipin_ref.solve.conv_gram import ConvGram, ConvProblem
from mipin_ref.window import Window
from tests.backends import NAMES, backend, relative_error


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


def solved(
    name: str,
    form: str,
    parts: list[tuple[np.ndarray, np.ndarray]],
    window: Window,
    size: tuple[int, ...],
    **options: Any,
) -> Any:
    """Fit with each part in sums of its own, merged in the end."""
    device = backend(name)
    channels = (parts[0][0].shape[1], parts[0][1].shape[1])
    total = None
    for s, x in parts:
        sums = ConvGram(
            device,
            window,
            size,
            s.shape[2:],
            channels,
            options["groups"],
            intercept=options["intercept"],
            form=form,  # type: ignore[arg-type]
        )
        sums.update(device.put(s), device.put(x))
        if total is None:
            total = sums
        else:
            total.merge(sums)
    assert total is not None
    return total.solve(options["ridge"])


@settings(deadline=None, max_examples=120, derandomize=True)
@given(
    geometry=geometries(),
    name=st.sampled_from(NAMES),
    form=st.sampled_from(["im2col", "correlation", "rows"]),
    intercept=st.booleans(),
    shards=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_every_form_equals_explicit_loops(
    geometry: Any, name: str, form: str, intercept: bool, shards: int, seed: int
) -> None:
    window, size, groups, (o, m) = geometry
    locations = window.output_size(size)
    rng = np.random.default_rng(seed)
    s, x = rng.standard_normal((6, o, *locations)) + 0.5, rng.standard_normal((6, m, *size)) + 2.0
    parts = [(s[i::shards], x[i::shards]) for i in range(shards)]
    solutions = solved(name, form, parts, window, size, groups=groups, intercept=intercept, ridge=0.1)
    for group, found in enumerate(solutions):
        z = design(s[:, group * o // groups : (group + 1) * o // groups], window, size)
        wanted = np.moveaxis(x[:, group * m // groups : (group + 1) * m // groups], 1, -1).reshape(len(z), -1)
        middle = (z.mean(0), wanted.mean(0)) if intercept else (0.0, 0.0)
        zc, xc = z - middle[0], wanted - middle[1]
        expected = np.linalg.solve(zc.T @ zc + 0.1 * np.eye(z.shape[1]), zc.T @ xc)
        get = backend(name).get
        assert relative_error(get(found.weights), expected) < 1e-10
        predicted = z @ expected
        if intercept:
            b = middle[1] - middle[0] @ expected
            assert relative_error(get(found.intercept), b) < 1e-10
            predicted = predicted + b
        assert found.rows == len(z)
        assert found.squared_error == pytest.approx(np.sum((wanted - predicted) ** 2), rel=1e-8, abs=1e-8)
        assert found.spread == pytest.approx(np.sum((wanted - wanted.mean(0)) ** 2), rel=1e-10)


@pytest.mark.parametrize("pad", [0, 1])
def test_correlation_equals_im2col_at_real_size(pad: int) -> None:
    window = Window((3, 3), (1, 1), (pad, pad), (pad, pad), (1, 1))
    rng = np.random.default_rng(0)
    s, x = (
        np.maximum(rng.standard_normal((40, 32, 14, 14)), 0),
        rng.standard_normal((40, 8, 16 - 2 * pad, 16 - 2 * pad)),
    )
    options: dict[str, Any] = {"groups": 1, "intercept": False, "ridge": 1e-3}
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        a, b = (
            solved_in(dtype, form, s, x, window, (16 - 2 * pad, 16 - 2 * pad), **options)
            for form in ("im2col", "correlation")
        )
        assert relative_error(b, a) < tolerance


def solved_in(
    dtype: str, form: Any, s: np.ndarray, x: np.ndarray, window: Window, size: tuple[int, ...], **o: Any
) -> Any:
    device = backend("numpy", dtype)
    sums = ConvGram(device, window, size, s.shape[2:], (s.shape[1], x.shape[1]), 1, intercept=False, form=form)
    sums.update(device.put(s), device.put(x))
    return sums.solve(o["ridge"])[0].weights


def test_the_form_follows_the_shape() -> None:
    def square(kernel: int, pad: int = 0) -> Window:
        return Window((kernel,) * 2, (1, 1), (pad,) * 2, (pad,) * 2, (1, 1))

    large = 1 << 40
    assert ConvProblem(square(3), (24, 24), (22, 22), 64, 16, 1000).form(large) == "correlation"
    assert ConvProblem(square(3), (24, 24), (22, 22), 64, 16, 1000).form(1 << 20) == "im2col"
    assert ConvProblem(square(3), (24, 24), (22, 22), 64, 16, 1000).form(large, rounding=1e-7) == "im2col"
    assert ConvProblem(square(1), (24, 24), (24, 24), 64, 16, 1000).form(large) == "im2col"
    assert ConvProblem(square(3), (4, 4), (2, 2), 512, 16, 10).form(large) == "rows"


def test_rows_larger_than_a_chunk_are_written_slab_by_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window((3, 3), (2, 1), (1, 2), (0, 1), (1, 1))
    size = (9, 7)
    rng = np.random.default_rng(0)
    s, x = rng.standard_normal((5, 4, *window.output_size(size))), rng.standard_normal((5, 2, *size))
    options: dict[str, Any] = {"groups": 1, "intercept": True, "ridge": 0.1}
    whole = solved("numpy", "im2col", [(s, x)], window, size, **options)[0]
    monkeypatch.setattr(conv_gram, "CHUNK_BYTES", 2 * 8 * 4 * 9 * 7)  # two positions of one sample
    slabs = solved("numpy", "im2col", [(s, x)], window, size, **options)[0]
    assert slabs.rows == whole.rows == 5 * 9 * 7
    assert relative_error(slabs.weights, whole.weights) < 1e-12
