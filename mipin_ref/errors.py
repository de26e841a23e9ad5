"""The errors a user meets: each says in one sentence what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class MipinError(Exception):
    """Base of every error this package raises on purpose."""


class UnsupportedModel(MipinError):
    """The network holds nodes that cannot be handled; all of them are listed, before anything is computed."""

    def __init__(self, message: str, nodes: Sequence[str] = ()) -> None:
        self.nodes = tuple(nodes)
        super().__init__(message if not nodes else f"{message}: {'; '.join(nodes)}")


class InvalidData(MipinError):
    """Shape, dtype, NaN, Inf, emptiness, class range or an option's value is wrong."""


class BackendUnavailable(MipinError):
    """The array library or the device asked for is not there."""


class CorruptFile(MipinError):
    """A file is truncated, not of its format, or belongs to something else."""


class ClusterError(MipinError):
    """The cluster cannot be reached, lost a part of the work, or differs from this machine."""


class PrecisionWarning(UserWarning):
    """A fit asked for in float32 is made in float64, because float32 would give other results."""
