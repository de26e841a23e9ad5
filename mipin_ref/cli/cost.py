"""What a comparison will take, told before it begins: in forward passes, which are most of it."""

from __future__ import annotations

import mipin_ref as mr
from mipin_ref.cli.compared import Seen, tensor_for
from mipin_ref.errors import MipinError
from mipin_ref.panel.registry import METHODS

LONG = 10.0
"""Seconds from which on it is said."""
SHARE = 0.1
"""Share of all passes from which on a method is named."""


def told_of_cost(panel: mr.Panel, seen: Seen, samples: int, seconds: float, at: str | None) -> str | None:
    """A line on what is ahead; None where that is not long.

    samples: calibration samples; seconds: of a forward pass; at: the tensor that all methods explain, None for each its
    own default. The passes of an image count once for all of its classes, as they are remembered.
    """
    images, kinds = len(seen.x), {METHODS[name].fitting for name in panel.fitted}
    # Down to the pixels the forward passes are the least of a fit.
    parts = {"fits": 0 if at is None else samples * len(kinds)}
    for name in panel.names:
        try:
            parts[name] = images * (panel.passes(name, at=tensor_for(name, seen, at)) - 1)
        except MipinError:
            parts[name] = 0  # which says why when its turn comes
    # All curves begin and end at the same samples: the image, without any pixel, blurred.
    parts["deletion and insertion"] = images * (2 + len(panel.names) * 2 * (seen.steps - 1))
    passes = images + sum(parts.values())
    if passes * seconds < LONG:
        return None
    most = [f"{name} {count:,}" for name, count in parts.items() if count >= SHARE * passes]
    apart = ", and the fits" if kinds and at is None else ""
    return f"up to {passes:,} forward passes, about {_text(passes * seconds)} ({', '.join(most)}){apart}"


def _text(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
