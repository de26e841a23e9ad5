"""The sizes of windows against slow twins that look at every tap."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.layers.averages import window_counts
from mipin_ref.solve.taps import axes_of
from mipin_ref.window import LONG, Window


@st.composite
def windows(draw: Any) -> tuple[Window, int]:
    """A window along one axis, which has a place on the map of the size that comes with it."""
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    begin, end = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    extent = (kernel - 1) * dilation + 1
    size = draw(st.integers(max(1, extent - begin - end), 20))
    stride = draw(st.one_of(st.integers(1, 7), st.integers(LONG - 1, LONG + 1), st.just(10**12)))
    return Window((kernel,), (stride,), (begin,), (end,), (dilation if kernel > 1 else draw(st.just(10**15)),)), size


@settings(deadline=None, max_examples=300, derandomize=True)
@given(case=windows(), ceil_mode=st.booleans())
def test_a_clamped_window_sees_the_same(case: tuple[Window, int], ceil_mode: bool) -> None:
    window, size = case
    clamped = window.clamped((size,))
    assert clamped.strides[0] <= max(LONG, size + window.begin[0] + window.end[0])
    (locations,) = window.output_size((size,), ceil_mode=ceil_mode)
    assert clamped.output_size((size,), ceil_mode=ceil_mode) == (locations,)
    seen = [
        [j * w.strides[0] - w.begin[0] + u * w.dilations[0] for j in range(locations) for u in range(w.kernel[0])]
        for w in (window, clamped)
    ]
    assert seen[0] == seen[1]
    if window.strides[0] <= LONG and window.kernel[0] > 1:
        assert clamped == window


@settings(deadline=None, max_examples=300, derandomize=True)
@given(case=windows())
def test_at_most_so_many_taps_meet_outside(case: tuple[Window, int]) -> None:
    window, size = case
    window = window.clamped((size,))
    locations = window.output_size((size,))
    (axis,) = axes_of([window], [locations], (size,))
    found = sum(len(pairs) for edge in axis.edges for pairs in edge.meetings.values())
    assert found <= window.meetings(locations, (size,))[0]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(case=windows(), pads=st.booleans())
def test_the_mean_is_divided_by_as_many_as_it_sees(case: tuple[Window, int], pads: bool) -> None:
    window, size = case
    locations = window.output_size((size,), ceil_mode=True)
    first, last = (-window.begin[0], size + window.end[0]) if pads else (0, size)
    slow = [
        sum(
            first <= j * window.strides[0] - window.begin[0] + u * window.dilations[0] < last
            for u in range(window.kernel[0])
        )
        for j in range(locations[0])
    ]
    np.testing.assert_array_equal(window_counts(window, locations, (size,), pads=pads), slow)


def test_few_meetings_of_honest_windows() -> None:
    """Windows of AlexNet's first layer, a dilated one, and a short-time Fourier transform."""
    for window, size in [
        (Window((11,), (4,), (2,), (2,), (1,)), 224),
        (Window((9,), (1,), (4096,), (0,), (512,)), 16000),
        (Window((2048,), (512,), (1024,), (1024,), (1,)), 160_000),
    ]:
        assert window.meetings(window.output_size((size,)), (size,))[0] < 1 << 20


def test_the_circle_is_long_enough_whatever_the_stride() -> None:
    """Against the loop over every phase, most of which no tap reads."""
    for stride in (1, 2, 3, 5, 40):
        for kernel, dilation, begin in [(1, 1, 0), (3, 1, 2), (3, 2, 4)]:
            window = Window((kernel,), (stride,), (begin,), (0,), (dilation,))
            (axis,) = axes_of([window], [window.output_size((30,))], (30,))
            needed = [max(axis.locations) + axis.lags[-1]]
            for phase in range(stride):
                lags = axis.phase_lags(phase)
                if lags:
                    needed += [max(axis.locations) + lags[-1], axis.phase_size(phase) - lags[0]]
            assert axis.length == max(needed)
