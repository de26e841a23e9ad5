"""How far logits fall once parts of inputs are replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr


def fallen(
    net: mr.Network, x: NDArray[Any], altered: Iterable[NDArray[Any]], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """By how much the logits of targets [N] are lower than those of x, for each of its alterations [N, alterations]."""
    rows = np.arange(len(x))
    before, *after = (net.predict(one)[1][rows, targets] for one in (x, *altered))
    lower: NDArray[np.float64] = before[:, None].astype(np.float64) - np.stack(after, axis=1)
    return lower
