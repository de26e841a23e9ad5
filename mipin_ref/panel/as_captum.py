"""Inputs and targets as captum takes them: a tuple of one input is that input."""

from __future__ import annotations

from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network


def only_input(net: Network, x: Any) -> Any:
    """The batch or path in a tuple of one; anything else as it is, a tuple of samples among it.

    Raises InvalidData for a tuple of several batches, which captum takes for a model of several inputs.
    """
    if not isinstance(x, tuple) or not x or not all(_is_whole(net, one) for one in x):
        return x
    if len(x) > 1:
        raise InvalidData(
            f"there are {len(x)} inputs, and a network is explained at one of them, {net.input!r}: bind the others "
            "when it is loaded, with option 'given'"
        )
    return x[0]


def only_target(target: Any) -> Any:
    """The targets in a tuple of one that holds no index but several targets; a number held in an array as that number.

    A tuple of indices stays one target of an output of several axes.
    """
    if isinstance(target, tuple) and len(target) == 1 and not isinstance(target[0], Integral | str):
        target = target[0]
    if hasattr(target, "item") and getattr(target, "shape", None) == ():
        return target.item()
    return target


def _is_whole(net: Network, one: Any) -> bool:
    """Whether it is a batch [N, *input_shape] by its number of axes, or a path to one."""
    if isinstance(one, str | PathLike):
        return True
    try:
        return int(np.ndim(one)) == len(net.input_shape) + 1
    except Exception:  # whatever an object of the user's raises: it is told where the data are opened
        return False
