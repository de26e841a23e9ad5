"""A sweep back in a session of onnxruntime: float32 on the host, of what the forward pass recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.document import Back, Document
from mipin_ref.graph.forward import Record
from mipin_ref.graph.given import Given
from mipin_ref.graph.network import Network
from mipin_ref.graph.optimised import Optimised
from mipin_ref.graph.runs import samples_a_run
from mipin_ref.layers import HostArray, Layer, Shared, Stateful, as_kind, switched
from mipin_ref.methods.rules import WrittenRule
from mipin_ref.threads import BLAS_THREADS

SEED = "seed"
KEPT_BYTES = 256 << 20
"""Recorded values and switches of a run, at most, whose workspace stays for the next one."""


class SweepRide:
    """Takes signals from the logits to tensor `at` along layers `way`, which stand in the order of signals.

    slots: the inputs that signals come back to, by output; rules: one a layer. Slopes and winners are decided by
    recorded values and switches, which it is given, so that none flips: what it returns differs from the same rules in
    NumPy by the order of sums and by the last place of functions. samples: that a run takes.
    """

    def __init__(
        self,
        net: Network,
        way: Sequence[Layer],
        slots: Mapping[str, Sequence[int]],
        rules: Sequence[WrittenRule],
        at: str,
    ) -> None:
        # More at a time leave the processor's caches, as forward.
        self.samples = samples_a_run(way, 4) * max(1, BLAS_THREADS.count)
        beside: dict[str, HostArray] = {}
        self._document = document = Document(np.dtype(np.float32), [SEED], beside=beside)
        self._given = Given(document, net.shapes, switched(way), 1)
        self._states: dict[str, str] = {}
        document.input(SEED, document.dtype, ("M", *net.shapes[net.logits]))
        parts = {net.logits: [SEED]}
        for layer, rule in zip(way, rules, strict=True):
            signal = self._sum(layer.output, parts.pop(layer.output))
            for slot in slots[layer.output]:
                made = rule.emit(self._writer(layer, slot), layer, signal, slot)
                parts.setdefault(layer.inputs[slot], []).append(made)
        self._output = document.append("Identity", [self._sum(at, parts[at])], document.fresh(f"out/{at}"))
        document.output(self._output, ("M", *net.shapes[at]))
        self._session = Optimised(document, beside, BLAS_THREADS.count)
        self._workspace = 0
        self._given.close()
        del self._document

    def _sum(self, tensor: str, parts: Sequence[str]) -> str:
        document = self._document
        return parts[0] if len(parts) == 1 else document.append("Sum", parts, document.fresh(f"back/{tensor}/sum"))

    def _writer(self, layer: Layer, slot: int) -> Back:
        document, given, prefix = self._document, self._given, f"back/{layer.output}/{slot}"

        def own(form: Callable[[HostArray], HostArray]) -> str:
            return document.weight(f"{prefix}/weight", form(as_kind(layer, Shared).weight))

        def state() -> str:
            if layer.output not in self._states:
                self._states[layer.output] = as_kind(layer, Stateful).emit_state(writer, slot)
            return self._states[layer.output]

        writer = Back(document, prefix, given.value, state, own, partial(given.won, layer.output), signals=1)
        return writer

    @property
    def bytes(self) -> int:
        """What it holds, roughly: its weights, and the workspace that stays for the next batch."""
        return self._session.weight_bytes + self._workspace

    def __call__(self, record: Record, seed: HostArray) -> HostArray:
        """The signal at the explained tensor [n, *shape] of that at the logits [n, *logits]."""
        count, size = len(seed), self.samples
        parts = [self._run(record, seed, slice(start, start + size), count) for start in range(0, max(1, count), size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, record: Record, seed: HostArray, rows: slice, count: int) -> HostArray:
        given = self._given
        feed = {SEED: seed[rows]} | given.told(record, rows) | given.fed(record.values, rows)
        size = sum(array.nbytes for array in feed.values())
        last = size > KEPT_BYTES and rows.stop >= count
        self._workspace = 0 if last else max(self._workspace, size)
        (signal,) = self._session([self._output], feed, last=last)
        return signal


def ridden(
    net: Network, way: Sequence[Layer], slots: Mapping[str, Sequence[int]], rules: Sequence[WrittenRule], at: str
) -> SweepRide | None:
    """The session of a sweep; None where onnxruntime cannot open it: the weights are too many, for one."""
    try:
        return SweepRide(net, way, slots, rules, at)
    except UnsupportedModel:
        return None
