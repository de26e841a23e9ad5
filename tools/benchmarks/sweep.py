"""What `bench.py growth` measures and draws."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """One size of chain and data."""

    samples: int
    channels: int
    depth: int
    side: int


@dataclass(frozen=True)
class Sweep:
    """One quantity varied: its values, seconds and bytes at each."""

    axis: str
    values: tuple[int, ...]
    points: tuple[Point, ...]
    seconds: tuple[float, ...]
    memory: tuple[float, ...]
