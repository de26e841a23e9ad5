"""How much memory a call takes at most, NumPy's included."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that a call allocates at most beyond what was there; of arrays that are only asked for, all of it."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
