"""Where taps meet, against loops over every input location."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.solve.taps import Axis, Tap


@st.composite
def axes(draw: Any) -> Axis:
    """One to three convolutions along one axis; paddings may exceed the kernel."""
    stride, size = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    starts, locations = [], []
    for _ in range(draw(st.integers(1, 3))):
        kernel, dilation, begin = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(0, 5))
        starts.append(tuple(u * dilation - begin for u in range(kernel)))
        locations.append(draw(st.integers(1, 7)))
    return Axis(tuple(starts), tuple(locations), size, stride)


def reached(axis: Axis, tap: Tap) -> dict[int, int]:
    """Input location -> output location."""
    part, u = tap
    return {j * axis.stride + axis.starts[part][u]: j for j in range(axis.locations[part])}


@settings(deadline=None, max_examples=200, derandomize=True)
@given(axis=axes())
def test_taps_meet_at_their_lag_and_at_the_edges(axis: Axis) -> None:
    for a in axis.taps:
        for b in axis.taps:
            one, other = reached(axis, a), reached(axis, b)
            common = sorted(one.keys() & other.keys())
            lag = axis.lag(a, b)
            assert not common or lag in axis.lags
            assert all(other[i] - one[i] == lag for i in common)
            outside = Counter((one[i], other[i]) for i in common if not 0 <= i < axis.size)
            found = Counter(
                (edge.rows[a[0]][first], edge.rows[b[0]][second])
                for edge in axis.edges
                for first, second in edge.meetings.get((a, b), [])
            )
            assert found == outside


@settings(deadline=None, max_examples=200, derandomize=True)
@given(axis=axes())
def test_taps_read_the_input_in_phases(axis: Axis) -> None:
    for tap in axis.taps:
        phase, lag = axis.phase(tap)
        assert 0 <= phase < axis.stride
        inside = {i: j for i, j in reached(axis, tap).items() if 0 <= i < axis.size}
        assert list(range(axis.locations[tap[0]]))[axis.inside(tap)] == sorted(inside.values())
        for i, j in inside.items():
            assert i == (j + lag) * axis.stride + phase
            assert j + lag < axis.phase_size(phase)
        assert lag in axis.phase_lags(phase)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(axis=axes())
def test_no_lag_meets_another_on_the_circle(axis: Axis) -> None:
    most = max(axis.locations)
    apart = range(1 - most, most)
    assert all((d - lag) % axis.length or d == lag for d in apart for lag in axis.lags)
    for phase in range(axis.stride):
        apart = range(1 - most, axis.phase_size(phase))
        assert all((d - lag) % axis.length or d == lag for d in apart for lag in axis.phase_lags(phase))
