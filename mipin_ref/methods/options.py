"""The option that several methods share."""

from __future__ import annotations

from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.ids import check_stand_in
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray


def baseline_of(net: Network | ForwardOnly, given: Any) -> HostArray:
    """The reference input [1, *input_shape] of an option `baseline`: None for zeros, a number, or one sample.

    Raises InvalidData for another shape, for what is no number, for NaN or Inf, and, where the network reads ids or
    other integers, for what it does not read.
    """
    try:
        value = np.asarray(0.0 if given is None else given, np.float64)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"baseline must be a number or one sample, not {shown(given)}") from error
    if value.ndim and value.shape != net.input_shape:
        raise InvalidData(f"baseline has shape {value.shape}; one sample has {net.input_shape}")
    if not np.isfinite(value).all():
        raise InvalidData("baseline holds NaN or Inf")
    check_stand_in(net, value, "baseline", given)
    return np.broadcast_to(value, (1, *net.input_shape))
