"""What the forward pass recorded as inputs of a session: values and switches, each taken in where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mipin_ref.graph.document import Document
from mipin_ref.graph.fired import Fired, fired_of
from mipin_ref.graph.forward import Record
from mipin_ref.layers import HostArray, Shape, Switched, Switches

WHOLE = slice(None)
"""All samples of a batch."""


class Given:
    """Inputs of a document. shapes: of tensors; pools: the layers with switches, by output; signals: how many come
    back, one or two, which places are counted over.
    """

    def __init__(
        self, document: Document, shapes: Mapping[str, Shape], pools: Mapping[str, Switched], signals: int
    ) -> None:
        self._document, self._shapes, self._pools, self._signals = document, shapes, pools, signals
        self._values: dict[str, str] = {}
        self._switches: dict[tuple[str, Switches], str] = {}
        self._fired: dict[Fired, str] = {}

    def value(self, tensor: str) -> str:
        """The name of a recorded value [n, ...]."""
        if tensor not in self._values:
            self._values[tensor] = name = self._document.fresh(f"recorded/{tensor}")
            self._document.input(name, self._document.dtype, ("N", *self._shapes[tensor]))
        return self._values[tensor]

    def won(self, tensor: str, form: Switches) -> str:
        """The name of recorded switches in a form, of the tensor that a pool makes."""
        key = tensor, form
        if key not in self._switches:
            document, taps = self._document, form == "taps"
            self._switches[key] = name = document.fresh(f"{form}/{tensor}")
            dtype = document.dtype if taps else np.dtype(np.int64)
            document.input(name, dtype, ("N" if taps else "M", *self._pools[tensor].state_shape))
        return self._switches[key]

    def fire(self, fired: Fired) -> str:
        """The name of what is told of which values fired, as booleans [n, ...]."""
        if fired not in self._fired:
            self._fired[fired] = name = self._document.fresh(fired_of(fired))
            self._document.input(name, np.dtype(np.bool_), ("N", *self._shapes[fired[0]]))
        return self._fired[fired]

    def close(self) -> None:
        """Let go of the document, which a session has taken."""
        del self._document

    @property
    def values(self) -> Sequence[str]:
        """The tensors whose values must be recorded."""
        return list(self._values)

    @property
    def switches(self) -> Sequence[str]:
        """The tensors whose makers' switches must be recorded."""
        return list(dict.fromkeys(tensor for tensor, _ in self._switches))

    @property
    def fired(self) -> Sequence[Fired]:
        """The tensors of which must be told which values fired."""
        return list(self._fired)

    def told(self, record: Record, rows: slice = WHOLE) -> dict[str, HostArray]:
        """The recorded switches of some samples and what fired, by the names of the inputs."""
        told: dict[str, HostArray] = {name: record.fired[one][rows] for one, name in self._fired.items()}
        for (tensor, form), name in self._switches.items():
            pool, places = self._pools[tensor], record.switches[tensor][rows]
            if rows.start:
                places = places - rows.start * prod(pool.in_shape)
            told[name] = pool.taps(places).astype(np.float32) if form == "taps" else self._repeated(places, pool)
        return told

    def fed(self, values: Mapping[str, HostArray], rows: slice = WHOLE) -> dict[str, HostArray]:
        """Recorded values of some samples, by the names of the inputs."""
        return {name: values[tensor][rows] for tensor, name in self._values.items()}

    def _repeated(self, places: HostArray, pool: Switched) -> HostArray:
        """Flat indices [n, ...] into n samples, and into the n that follow them for each further signal."""
        size = len(places) * prod(pool.in_shape)
        return places if self._signals == 1 else np.concatenate([places + i * size for i in range(self._signals)])
