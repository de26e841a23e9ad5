"""Figures with their units."""

from __future__ import annotations

import re

SCALED = {"GB": 1e9, "MB": 1e6, "ms": 1e-3, "percent": 1e-2, "TFLOP": 1e12, "GFLOP/s": 1e9}
"""Unit -> its size; behind it, after a point, how many decimals: GB.2."""
PLAIN = re.compile(rf"({'|'.join(SCALED)})\.(\d)")


def seconds(value: float) -> str:
    """Three significant digits, in ms below a second."""
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def size(value: float) -> str:
    """Bytes in GB, or MB below a tenth of one."""
    return f"{value / 1e6:.1f} MB" if value < 1e8 else f"{value / 1e9:.3f} GB"


def scaled(value: float, unit: str, decimals: int) -> str:
    """A number in a unit of SCALED."""
    return f"{value / SCALED[unit]:,.{decimals}f} {'%' if unit == 'percent' else unit}"


def times(value: float) -> str:
    """A ratio."""
    return f"{value:.2f}×"
