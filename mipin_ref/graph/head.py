"""The head that a file puts behind its logits: what was removed, and which probabilities it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mipin_ref.display import OneLine
from mipin_ref.layers import HostArray

HeadKind = Literal["softmax", "sigmoid"]

Clip = tuple[float, float]
Behind = Clip | None
"""An operator behind a head that belongs to it: the bounds of a Clip, or None for a Log."""


@dataclass(frozen=True)
class Head(OneLine):
    """What stood between the logits and the file's output, and only there.

    kind: of the probabilities, over all classes ("softmax") or of each class by itself ("sigmoid"); operators: of the
    file, in its order, those that only move values left out; sources: the tensors that it read in the file -> the same
    in the layer list, where it has them; behind: the Log and Clip operators after it, in order, None where parts joined
    by Concat differ in them; shape, axis: of a sample, and that of its axes along which a softmax normalises, None for
    all classes together; scored: which entries are probabilities at all [C], None where all are.
    """

    kind: HeadKind
    operators: tuple[str, ...]
    sources: Mapping[str, str]
    behind: tuple[Behind, ...] | None = ()
    shape: tuple[int, ...] | None = None
    axis: int | None = None
    scored: HostArray | None = None

    def output(self, logits: HostArray) -> HostArray | None:
        """What the file gives of logits [N, C]; None where its parts end differently."""
        if self.behind is None:
            return None
        if self.behind[:1] == (None,):
            value, rest = self._log_probabilities(logits), self.behind[1:]
        else:
            value, rest = np.exp(self._log_probabilities(logits)), self.behind
            if self.scored is not None:
                value = np.where(self.scored, value, logits)
        for one in rest:
            value = np.log(value) if one is None else np.clip(value, *one)
        return value

    def probabilities(self, logits: HostArray) -> HostArray:
        """The probabilities of logits [N, C], float64; NaN for those entries of the output that have none."""
        values = np.asarray(np.exp(self._log_probabilities(logits)))
        return values if self.scored is None else np.where(self.scored, values, np.nan)

    def _log_probabilities(self, logits: HostArray) -> HostArray:
        if self.shape is None or self.axis is None:
            return LOG_PROBABILITIES[self.kind](logits)
        apart = np.moveaxis(np.reshape(logits, (len(logits), *self.shape)), self.axis + 1, -1)
        return np.moveaxis(LOG_PROBABILITIES[self.kind](apart), -1, self.axis + 1).reshape(np.shape(logits))


def probabilities(kind: HeadKind, logits: HostArray) -> HostArray:
    """The probabilities of logits [N, C], float64."""
    values: HostArray = np.exp(LOG_PROBABILITIES[kind](logits))
    return values


def _log_softmax(logits: HostArray) -> HostArray:
    z = np.asarray(logits, np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))


def _log_sigmoid(logits: HostArray) -> HostArray:
    return np.asarray(-np.logaddexp(0.0, -np.asarray(logits, np.float64)))


LOG_PROBABILITIES: dict[HeadKind, Callable[[HostArray], HostArray]] = {"softmax": _log_softmax, "sigmoid": _log_sigmoid}
"""Logarithms of the probabilities, which come first: a saturated probability keeps its digits there."""
