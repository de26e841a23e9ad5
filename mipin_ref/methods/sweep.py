"""One sweep back from the logits to the explained tensor, a rule a layer, for one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.beside import joined, others_of
from mipin_ref.graph.forward import Record, Recorder, record_bytes
from mipin_ref.graph.network import Network
from mipin_ref.graph.rides import Rides
from mipin_ref.layers import HostArray, Layer, Switched, switched
from mipin_ref.methods.layer_context import LayerContext, Read, passed
from mipin_ref.methods.ride import SweepRide, ridden
from mipin_ref.methods.rules import Rule, WrittenRule
from mipin_ref.methods.weights import weights_of

Ints = npt.NDArray[np.int64]

_rides: Rides[SweepRide] = Rides()


@dataclass(frozen=True, eq=False)
class SweepRecord:
    """The explained tensor [r, *shape] and the logits [r, classes] as recorded; besides: other tensors asked for, and
    signals: what arrived at those of them that it came past [n, *shape], on the device, by name.
    """

    value: HostArray
    logits: HostArray
    besides: Mapping[str, HostArray] = field(default_factory=dict, kw_only=True)
    signals: Mapping[str, Array] = field(default_factory=dict, kw_only=True)

    def output(self, targets: Ints) -> HostArray:
        """The logits of the targets [n]."""
        return np.take_along_axis(self.logits[: len(targets)], targets[:, None], axis=1)[:, 0]


@dataclass(frozen=True, eq=False)
class Swept(SweepRecord):
    """signal: what arrived at the explained tensor [n, *shape], on the device; of the r recorded samples the first n
    are those explained.
    """

    signal: Array


class Sweep:
    """What is the same for every batch: the way from the logits to tensor `at`, its rules, and what they need.

    rule: of each layer; logit: whether the signal starts as y_c, or else as 1, at the target; held: whether nothing
    comes back to the state of a layer. Layers that are on no way from `at` to the logits have no part. whole: the
    network as loaded, of which `net` may be the end; ride: whether onnxruntime takes the way back where it can: in
    float32 on the host, by rules that can all be written (see `SweepRide`). Otherwise the array namespace does, with
    the same result but for the order of sums. besides: tensors that are recorded too, with the signals that arrive
    there where the array namespace takes them; shown: the tensor that a user sees, where it is not `at`.
    """

    def __init__(
        self,
        net: Network,
        backend: Backend,
        at: str,
        rule: Callable[[Layer], Rule],
        *,
        logit: bool = False,
        held: Callable[[Layer], bool] = lambda layer: False,
        ride: bool = True,
        besides: Collection[str] = (),
        shown: str | None = None,
    ) -> None:
        self.net, self.whole, self.backend, self.at = net, net, backend, at
        self.explained = at if shown is None else shown
        self._besides = tuple(dict.fromkeys(besides))
        self._logit, self._may_ride = logit, ride
        self._slots = _slots(net, at, held)
        way = [layer for layer in net.layers if layer.output in self._slots]
        self.way: Sequence[Layer] = tuple(reversed(way))
        self._rules = {layer.output: rule(layer) for layer in way}
        self._reads = {layer.output: self._rules[layer.output].reads(layer) for layer in way}
        self._values, self._fired = self._wanted("inputs", "output"), self._wanted("fired")
        self._pools = switched(layer for layer in way if "taps" in self._reads[layer.output])
        self._last = {name: layer.output for layer in self.way for name in self._names(layer)}
        wanted = [*self._values, *self._fired, at, net.logits, *self._besides]
        self._recorder = Recorder(net, wanted, list(self._pools), keep=True)
        self._weights = weights_of(net, backend)

    def _names(self, layer: Layer) -> list[str]:
        """The tensors whose values a layer's rule reads."""
        reads = self._reads[layer.output]
        return [*(layer.inputs if "inputs" in reads else ()), *([layer.output] if "output" in reads else ())]

    def _wanted(self, *kinds: Read) -> list[str]:
        names: dict[str, None] = {}
        for layer in self.way:
            reads = self._reads[layer.output].intersection(kinds)
            names.update(dict.fromkeys(layer.inputs if "inputs" in reads else ()))
            if reads - {"inputs"}:
                names[layer.output] = None
        return list(names)

    @property
    def sample_bytes(self) -> int:
        """Rough memory of a sample: recorded, on the device, and the largest signals on the way."""
        shapes, item = self.net.shapes, self.backend.itemsize
        recorded = {*self._values, *self._fired, self.at, self.net.logits, *self._besides}
        held = sum(prod(shapes[name]) for name in self._values) * item + sum(prod(shapes[n]) for n in self._fired)
        live, most = {self.net.logits}, 0
        for layer in self.way:
            live.update(layer.inputs[slot] for slot in self._slots[layer.output])
            most = max(most, sum(prod(shapes[name]) for name in live))
            live.discard(layer.output)
        # Between two signals a rule may hold two arrays as large as both.
        return record_bytes(self.net, recorded, self._pools.values()) + held + 3 * item * most

    def __call__(self, x: HostArray, targets: Ints, *, first: int = 0, beside: HostArray | None = None) -> Swept:
        """Take the signals of x [n, *input_shape] back for targets [n].

        beside: further samples [m, *input_shape] that are recorded but not explained; first: the position of x in the
        data, for messages. Raises InvalidData as `Recorder` does.
        """
        net = self.net
        record = self._recorder(x if beside is None else _both(x, beside), first)
        logits = record.values[net.logits].reshape(-1, net.classes)
        seed = self._seed(logits, targets)
        ride = self.ride() if beside is None and not self._besides else None
        kept = self._walked(record, seed) if ride is None else {self.at: ride(record, seed)}
        return Swept(record.values[self.at], logits, kept[self.at], besides=self._recorded(record), signals=kept)

    def ride(self) -> SweepRide | None:
        """The session of the way back, which stays open for the network; None where there is none."""
        net = self.net
        if not (self._may_ride and self.backend.rides and net.dtype == np.float32):
            return None
        given = [self._rules[layer.output] for layer in self.way]
        rules = [rule for rule in given if isinstance(rule, WrittenRule)]
        if len(rules) < len(given):
            return None
        # All else follows of these: which layers there are on the way, and what they do.
        key = self.at, *self._slots.items(), *rules
        return _rides.of(net, key, lambda: ridden(net, self.way, self._slots, rules, self.at))

    def _recorded(self, record: Record) -> dict[str, HostArray]:
        return {name: record.values[name] for name in self._besides}

    def _walked(self, record: Record, seed: HostArray) -> dict[str, Array]:
        """The signals at the explained tensor and at those asked for besides, in the array namespace."""
        net, backend = self.net, self.backend
        held = _Held(backend, record, self._pools)
        signals, kept = {net.logits: backend.put(seed)}, dict[str, Array]()
        for layer in self.way:
            signal = signals.pop(layer.output)
            if layer.output in self._besides:
                kept[layer.output] = signal
            context = self._context(layer, held)
            for slot in self._slots[layer.output]:
                name, part = layer.inputs[slot], self._rules[layer.output].back(context, signal, slot)
                signals[name] = signals[name] + part if name in signals else part
            held.let_go(name for name in self._names(layer) if self._last[name] == layer.output)
        return {**kept, self.at: signals[self.at]}

    def recorded(self, x: HostArray, first: int = 0) -> SweepRecord:
        """The forward pass alone. Raises InvalidData as `Recorder` does."""
        record = self._recorder(x, first)
        logits = record.values[self.net.logits].reshape(-1, self.net.classes)
        return SweepRecord(record.values[self.at], logits, besides=self._recorded(record))

    def entered(self, x: HostArray, first: int) -> HostArray:
        """What `net` takes in for samples x of the whole network."""
        return x

    def _seed(self, logits: HostArray, targets: Ints) -> HostArray:
        seed = np.zeros((len(targets), *self.net.shapes[self.net.logits]), self.backend.dtype)
        rows = np.arange(len(targets))
        seed.reshape(len(targets), -1)[rows, targets] = logits[rows, targets] if self._logit else 1
        return seed

    def _context(self, layer: Layer, held: _Held) -> LayerContext:
        reads = self._reads[layer.output]
        return LayerContext(
            self.backend,
            layer,
            tuple(held.value(name) for name in layer.inputs) if "inputs" in reads else None,
            held.value(layer.output) if "output" in reads else None,
            held.fired(layer) if "fired" in reads else None,
            held.taps(layer.output) if "taps" in reads else None,
            self._weights,
        )


def _slots(net: Network, at: str, held: Callable[[Layer], bool]) -> dict[str, tuple[int, ...]]:
    """The layers on the ways from a tensor to the logits, by output, with the inputs that signals come back to.

    held: whether the state of a layer takes none. Raises InvalidData where no way is left, UnsupportedModel where one
    leads through nodes of the file of which no derivative is known.
    """
    if at in net.hidden and not all(map(held, net.layers)):
        raise net.unreached(at)
    below, slots = {at}, dict[str, tuple[int, ...]]()
    for layer in net.layers:
        taken = layer.paths if held(layer) else range(len(layer.inputs))
        found = tuple(slot for slot in taken if layer.inputs[slot] in below)
        if found:
            slots[layer.output] = found
            below.add(layer.output)
    above, kept = {net.logits}, dict[str, tuple[int, ...]]()
    for layer in reversed(net.layers):
        if layer.output in above & slots.keys():
            kept[layer.output] = slots[layer.output]
            above.update(layer.inputs[slot] for slot in slots[layer.output])
    if at not in above:
        raise net.state(at)
    return kept


class _Held:
    """Recorded tensors on the device: each is put there once, when it is first read."""

    def __init__(self, backend: Backend, record: Record, pools: dict[str, Switched]) -> None:
        self._backend, self._record, self._pools = backend, record, pools
        self._values: dict[str, Array] = {}

    def value(self, name: str) -> Array:
        if name not in self._values:
            self._values[name] = self._backend.put(self._record.values[name])
        return self._values[name]

    def fired(self, layer: Layer) -> Array:
        return self._backend.put(passed(layer, self._record.values[layer.output]))

    def taps(self, name: str) -> Array:
        return self._backend.put(self._pools[name].taps(self._record.switches[name]))

    def let_go(self, names: Any) -> None:
        for name in names:
            self._values.pop(name, None)


def _both(x: HostArray, more: HostArray) -> HostArray:
    """Samples and further ones of the same kind, with what both carry along."""
    others, further = others_of(x), others_of(more)
    whole = np.concatenate([np.asarray(x), np.asarray(more, x.dtype)])
    return joined(whole, {name: np.concatenate([others[name], further[name]]) for name in others if name in further})
