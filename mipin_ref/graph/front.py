"""Runs what stands in front of the layers, batch by batch, and brings the samples to the first axis."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import onnxruntime
from onnx import ModelProto

from mipin_ref.beside import others_of
from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.embeddings import outside
from mipin_ref.graph.limited import SECONDS, run
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.runs import RUN_BYTES, takes_little
from mipin_ref.graph.runtime import runtime_reason, session
from mipin_ref.graph.stem import Stem
from mipin_ref.layers import HostArray

SESSIONS = 2
"""How many of a stem's sessions stay open at most, each of other tensors."""

SLOWEST = 1e7
"""Multiply-adds a second below which a run counts as one without an end: a hundredth of what slow processors do."""

_Key = tuple[int, tuple[str, ...]]
_open: WeakKeyDictionary[Stem, dict[_Key, onnxruntime.InferenceSession]] = WeakKeyDictionary()
_opening = Lock()


class Front:
    """The tensors `names` in front of the layers, for one batch after another.

    together: a batch is one run, not a few samples at a time.
    """

    def __init__(self, stem: Stem, names: Sequence[str], threads: int, *, together: bool = False) -> None:
        self._stem, self._together = stem, together
        bound = stem.bound
        self._given = [name for name in names if name in bound.given]
        self._beside = [name for name in names if name in bound.beside]
        self._made = [name for name in names if name not in (*bound.given, *bound.beside)]
        self._asked = [stem.names.get(name, name) for name in self._made]
        self._session = _session(stem, threads, tuple(dict.fromkeys(self._asked))) if self._made else None

    def __call__(self, x: HostArray, dtype: np.dtype[Any]) -> dict[str, HostArray]:
        """The tensors [n, ...] of x [n, *input_shape] in the network's dtype. Raises UnsupportedModel."""
        values = {name: np.moveaxis(one.of(len(x)), one.axis or 0, 0) for name, one in self._given_of()}
        values |= {name: others_of(x)[name] for name in self._beside}
        values |= dict(zip(self._made, self._run(x), strict=True))
        return {name: np.ascontiguousarray(value, dtype) for name, value in values.items()}

    def as_the_file(self, x: HostArray) -> dict[str, HostArray]:
        """The tensors of x [n, *input_shape], in one run, of what is made alone, as the file has them."""
        return dict(self._made_of(x))

    def _given_of(self) -> list[tuple[str, Any]]:
        return [(name, self._stem.bound.given[name]) for name in self._given]

    def _run(self, x: HostArray) -> list[HostArray]:
        if self._session is None:
            return []
        few = len(x) if self._together else max(1, RUN_BYTES // max(1, self._stem.room))
        size = self._stem.apart or min(len(x), few)
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            # The file has runs of one length only: the last sample stands for those that are missing.
            full = part[np.minimum(np.arange(size), len(part) - 1)] if len(part) < size else part
            made = [self._stem.tensors[n].batch_first(value) for n, value in self._made_of(full)]
            parts.append([value[: len(part)] for value in made])
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _made_of(self, x: HostArray) -> list[tuple[str, HostArray]]:
        assert self._session is not None
        bound = self._stem.bound
        known = {value.name for value in self._session.get_inputs()}
        feed = {n: value for n, value in bound.feed(x).items() if n in known}
        seconds = SECONDS + len(x) * self._stem.work / SLOWEST
        try:
            made = run(self._session, self._asked, feed, seconds)
        except Exception as failure:  # onnxruntime's own classes have no common base of their own.
            if told := outside(ModelProto.FromString(self._stem.model), bound.feed(x)):
                raise InvalidData(told) from failure
            raise UnsupportedModel(
                f"onnxruntime cannot run the first nodes of the file on {len(x)} samples within {seconds:.0f} seconds: "
                f"{runtime_reason(failure)}"
            ) from failure
        return list(zip(self._made, made, strict=True))


def mixes(stem: Stem, tolerance: float = 1e-4) -> bool:
    """Whether a sample's tensors depend on the others of its batch, as where numbers are quantised by their range."""
    x = plausible(stem.bound, 3, seed=1)
    front = Front(stem, [*stem.tensors], threads=1, together=True)
    dtype = stem.bound.compute
    try:
        together = front(x, dtype)
        alone = [front(x[i : i + 1], dtype) for i in range(len(x))]
    except (UnsupportedModel, ValueError):
        # What cannot be run together or by itself is told where it must be.
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        return any(
            float(np.max(np.abs(value - np.concatenate([one[name] for one in alone])), initial=0.0))
            > tolerance * float(np.max(np.abs(value), initial=0.0))
            for name, value in together.items()
        )


def _session(stem: Stem, threads: int, asked: tuple[str, ...]) -> onnxruntime.InferenceSession:
    with _opening:
        kept, key = _open.setdefault(stem, {}), (threads, asked)
        if key not in kept:
            for old in [*kept][: max(0, len(kept) + 1 - SESSIONS)]:
                del kept[old]
            kept[key] = session(_offering(stem, asked), threads, again=stem.room > 0 and takes_little(stem.room))
        return kept[key]


def _offering(stem: Stem, asked: tuple[str, ...]) -> bytes:
    """The part of a model that makes these outputs alone: onnxruntime keeps every output until the run ends."""
    if not {*stem.names.values()} - {*asked}:
        return stem.model
    model: bytes = pruned(ModelProto.FromString(stem.model), *asked).SerializeToString()
    return model
