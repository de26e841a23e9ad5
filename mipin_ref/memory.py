"""What a user says about memory and batches, as numbers."""

from __future__ import annotations

import re
from numbers import Integral

from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import LARGEST, checked_integer

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def memory_bytes(memory: str | int) -> int:
    """ "2GB", "512MiB" or a number of bytes, as bytes. Raises InvalidData for anything else, or below 64 MB."""
    size: float
    if isinstance(memory, Integral) and not isinstance(memory, bool):
        size = int(memory)
    else:
        text = memory if isinstance(memory, str) else ""
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
        if not match or match[2].upper() not in UNITS:
            raise InvalidData(f"memory must look like '2GB' or '512MiB', not {shown(memory)}")
        size = float(match[1]) * UNITS[match[2].upper()]
    if size < 64 * 10**6:
        raise InvalidData(f"a memory of {shown(memory)} is below the 64 MB that the smallest fit needs")
    if size > LARGEST:
        raise InvalidData(f"a memory of {shown(memory)} is more than any machine has")
    return int(size)


LARGEST_BATCH = 256

BATCH_SHARE = 0.35
"""The share of `memory` for a batch of samples; the rest is for results, weights and workspace that does not grow."""


def batch_rows(batch_size: int | None, memory: int, sample_bytes: int) -> int:
    """Samples a batch: as asked for, or as many as BATCH_SHARE of the memory [bytes] holds, LARGEST_BATCH at most."""
    return batch_size or max(1, min(LARGEST_BATCH, int(BATCH_SHARE * memory) // sample_bytes))


def checked_batch_size(batch_size: int | None) -> int | None:
    """The batch size as given, or None. Raises InvalidData unless it is a positive integer."""
    if batch_size is None:
        return None
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise InvalidData(f"batch_size must be a positive integer or None, not {shown(batch_size)}")
    return checked_integer("batch_size", batch_size)
