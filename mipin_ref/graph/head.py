"""The head that a file puts behind its logits: what was removed, and which probabilities it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mipin_ref.layers import HostArray

HeadKind = Literal["softmax", "sigmoid"]

Clip = tuple[float, float]
Behind = Clip | None
"""An operator behind a head that belongs to it: the bounds of a Clip, or None for a Log."""


@dataclass(frozen=True)
class Head:
    """What stood between the logits and the file's output, and only there.

    kind: of the probabilities, over all classes ("softmax") or of each class by itself ("sigmoid"); operators: of the
    file, in its order, those that only move values left out; sources: the tensors that it read in the file -> the same
    in the layer list, where it has them; behind: the Log and Clip operators after it, in order, None where parts joined
    by Concat differ in them.
    """

    kind: HeadKind
    operators: tuple[str, ...]
    sources: Mapping[str, str]
    behind: tuple[Behind, ...] | None = ()

    def output(self, logits: HostArray) -> HostArray | None:
        """What the file gives of logits [N, C]; None where its parts end differently."""
        if self.behind is None:
            return None
        if self.behind[:1] == (None,):
            value, rest = LOG_PROBABILITIES[self.kind](logits), self.behind[1:]
        else:
            value, rest = probabilities(self.kind, logits), self.behind
        for one in rest:
            value = np.log(value) if one is None else np.clip(value, *one)
        return value


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
