"""What a person should know of a table whose columns have units of their own: MIP-IN's contributions compare none."""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.explain.asked import Read
from mipin_ref.explain.feature_names import feature_names_of
from mipin_ref.explain.predict import Net

UNEVEN = 10.0
"""Times that one column spreads as far as another from which on it is said."""
COLUMNS = 100
"""Columns beyond which they are values of one kind more often, such as pixels, some of which hardly move."""
ROWS = 1000
"""Rows that are looked at."""


def told_uneven(net: Net, tensor: str, read: Read) -> list[str]:
    """A line where rows of a table are explained at the input and their columns spread very differently; else none.

    A column is reconstructed in its own unit, so that its attribution has that unit, and its contribution, which is
    that times the value, has its square: a column in grams stands a million times as high as the same one in kilograms.
    """
    if read.inputs.kind != "table" or tensor != net.input or not 1 < prod(net.input_shape) <= COLUMNS:
        return []
    x = np.asarray(read.data[np.asarray(read.rows[:ROWS], np.int64)], np.float64)
    spread = x.reshape(len(x), -1).std(axis=0)
    moving = np.flatnonzero(spread > 0)
    if not len(moving):
        return []
    least, most = (int(moving[place(spread[moving])]) for place in (np.argmin, np.argmax))
    if spread[most] < UNEVEN * spread[least]:
        return []
    names = feature_names_of(net)
    told = [f"{spread[one]:.3g} of {one if names is None else names[one]!r}" for one in (least, most)]
    return [
        f"columns have standard deviations from {told[0]} to {told[1]}, and contributions of mip-in grow with their "
        "squares: compare one column in several rows, not columns; those see by method 'integrated-gradients', or "
        "standardise the data in front of the network"
    ]
