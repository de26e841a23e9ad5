"""The errors and warnings a user meets: each says in one sentence what is wrong, where, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mipin_ref.text import printable


class MipinError(Exception):
    """Base of every error this package raises on purpose.

    Names from files may stand in a message: their control characters are escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message), keep="\n"))


class UnsupportedModel(MipinError):
    """The network holds nodes that cannot be handled, or what it leaves open was not said.

    The message tells nodes in groups, by operator and reason; `nodes` has all of them, before anything is computed.
    """

    def __init__(self, message: str, nodes: Sequence[str] = ()) -> None:
        self.nodes = tuple(nodes)
        super().__init__(message)


class InvalidData(MipinError):
    """Shape, dtype, NaN, Inf, emptiness, class range or an option's value is wrong."""


class BackendUnavailable(MipinError):
    """The array library or the device asked for is not there."""


class CorruptFile(MipinError):
    """A file is truncated, not of its format, or belongs to something else."""


class InputRangeWarning(UserWarning):
    """What is explained lies far outside what the network was shown when the inverse or the patterns were fitted."""


class CalibrationWarning(UserWarning):
    """Calibration samples are too few for a layer that is inverted from them."""


class ClusterError(MipinError):
    """The cluster cannot be reached, lost a part of the work, or differs from this machine."""


class PrecisionWarning(UserWarning):
    """A fit asked for in float32 is made in float64, because float32 would give other results."""


class SharingWarning(UserWarning):
    """Classes were to share an inverse from where they agree down, and agree nowhere as well as is asked."""


class RidgeWarning(UserWarning):
    """The ridge of a fit outweighs its signals, so that next to nothing comes back to what is explained."""


class OverflowWarning(UserWarning):
    """onnxruntime computes something else of a quantised file on this processor than on others."""


def outside() -> int:
    """The `stacklevel` of a warning, given by who calls this, that names the first caller outside of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "mipin_ref":
        frame, level = frame.f_back, level + 1
    return level


def shown(value: object, length: int = 200) -> str:
    """A value as a message shows it: as `repr` does, cut short, or its type where it has no such text.

    Numbers of thousands of digits have none, nor have lists that are nested without end.
    """
    try:
        text = repr(value)
    except Exception:  # whatever an object of the user's does instead
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= length else f"{text[:length]}..."
