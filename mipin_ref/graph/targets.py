"""The classes that a user asks for: one for all samples, or one each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.targeted import Targeted


def is_one(target: Any) -> bool:
    """Whether a target is one for all samples: a class, or a tuple of indices into an output of several axes."""
    return isinstance(target, tuple) or np.ndim(target) == 0


def checked_targets(net: Targeted, target: Any, samples: int, where: str = "") -> npt.NDArray[np.int64]:
    """One index into the logits a sample [samples], from one target for all or one each; where: what asks, with which
    messages begin.

    Raises InvalidData for another count, for what is no integer, and for a class out of range.
    """
    begin = f"{where}: " if where else ""
    try:
        several = not isinstance(target, str | tuple) and hasattr(target, "__len__") and np.ndim(target) > 0
        if several and len(target) != samples:
            raise InvalidData(_wrong_count(begin, samples, len(target)))
        given = np.asarray(target) if several else np.empty(0)
    except InvalidData:
        raise
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"{begin}targets must be integer class indices [{samples}], not {shown(target)}") from error
    if not several:
        one = target.item() if isinstance(target, np.ndarray) else target
        return np.full(samples, net.check_target(one), np.int64)
    if given.ndim > 1 and all(isinstance(one, tuple) for one in target):
        return np.array([net.check_target(one) for one in target], np.int64)
    if given.shape != (samples,):
        raise InvalidData(_wrong_count(begin, samples, given.shape))
    if given.dtype.kind not in "iu":
        raise InvalidData(f"{begin}targets must be integer class indices, not {given.dtype}")
    for one in np.unique(given):
        net.check_target(int(one))
    return given.astype(np.int64)


def _wrong_count(begin: str, samples: int, given: object) -> str:
    return f"{begin}target must be one class or one for each of the {samples} samples, not {given}"
