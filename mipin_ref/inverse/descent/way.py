"""How the signals of a recorded batch come down: what a way is, and the one of array namespaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mipin_ref.backend import Backend
from mipin_ref.graph.fired import Fired
from mipin_ref.graph.forward import Record
from mipin_ref.inverse.descent.batch import Recorded, asked, needs, recorded, to_device
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.descent.weights import DeviceWeights
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray


class Way(Protocol):
    """Takes source signals and attributions from the logits down some steps.

    values, switches, fired: the tensors whose values, and whose makers' switches, must be recorded for it, and of which
    it must be told what fired.
    """

    @property
    def values(self) -> Sequence[str]: ...
    @property
    def switches(self) -> Sequence[str]: ...
    @property
    def fired(self) -> Sequence[Fired]: ...

    def prepared(self, record: Record) -> Recorded:
        """What it needs of a record, which another thread may make while it takes the batch before."""
        ...

    def __call__(self, batch: Recorded, *, last: bool) -> Mapping[str, HostArray]:
        """Both signals [2n, *shape] at the tensors asked for, source signals first, or the one that comes [n, *shape];
        last: whether to let go of memory that would serve another batch.
        """
        ...


class InNamespace:
    """The way in the backend's array namespace and dtype.

    signals: how many come down, both or one alone, which is the attribution where the weights have no intercepts.
    """

    def __init__(
        self,
        backend: Backend,
        plan: Plan,
        steps: Sequence[Step],
        weights: Mapping[str, DeviceWeights],
        tensors: Sequence[str],
        target: int,
        signals: int = 2,
    ) -> None:
        self._backend, self._plan, self._steps, self._weights = backend, plan, steps, weights
        self._tensors, self._target, self._signals = tensors, target, signals
        masks, self._stateful = needs(steps)
        read, self.switches = asked(self._stateful.values())
        self.values = [*masks, *read]
        self.fired: Sequence[Fired] = ()

    def prepared(self, record: Record) -> Recorded:
        return recorded(record, self._stateful)

    def __call__(self, batch: Recorded, *, last: bool) -> Mapping[str, HostArray]:
        backend, plan = self._backend, self._plan
        there = to_device(backend, self._steps, batch)
        y = seed(backend, plan, batch.values[plan.logits], self._target)
        start = {plan.logits: y if self._signals == 1 else backend.xp.concat([y, y])}
        there = there if self._signals == 1 else there.twice(backend)
        signals = descend(backend, self._steps, self._weights, there, start, affine=y.shape[0], keep=self._tensors)
        return {tensor: backend.get(signal) for tensor, signal in signals.items()}
