"""Which samples are held out, and which ridge their errors pick (method, section 2), one number at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

RIDGES = [1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]

WORD = 2**64


def is_held_out(place: int) -> bool:
    """One of each five that follow one another, which SplitMix64 of their number tells."""
    state = ((place // 5 + 1) * 0x9E3779B97F4A7C15) % WORD
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % WORD
    return place % 5 == (state ^ (state >> 31)) % 5


def pick(error: Callable[[float], float], room: float) -> float:
    """The ridge of the least error, of equal ones the smallest; equal is what differs by 1e-12 of what there is.

    error: of a ridge, on the samples held out, of a fit on the others; room: Σx² of the samples held out.
    """
    return smallest([error(ridge) for ridge in RIDGES], room)


def smallest(errors: Sequence[float], room: float) -> float:
    for ridge, one in zip(RIDGES, errors, strict=True):
        if one <= min(errors) + 1e-12 * room:
            return ridge
    raise ValueError("errors are not finite")
