"""What the network computes on the calibration data: recorded by forward passes, as few as room allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from math import prod

from mipin_ref.data import Samples
from mipin_ref.data.seen import Extent, channels_of
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.descent.batch import Recorded, asked, recorded
from mipin_ref.inverse.passes.row_store import RowStore, worth_keeping
from mipin_ref.inverse.passes.spec import Key
from mipin_ref.layers import Layer, stateful

FORWARD = 2e10
"""A rough rate: operations of the network a second."""


class Recordings:
    """Values of tensors and winning taps of max-pools, sample after sample; what later passes need is kept."""

    def __init__(
        self,
        net: Network,
        data: Samples,
        kept: RowStore,
        *,
        first: int = 0,
        recorder: Callable[[Network, Sequence[str], Sequence[str]], Recorder] | None = None,
        lasting: bool = False,
    ) -> None:
        """kept: where they are kept; first: position of the data's first sample, for messages; recorder: makes one;
        lasting: what is kept serves others later, so that it is let go of only where there is no room for more.

        extent: of the data, once `passes` was to look at them.
        """
        self._lasting, self._spare = lasting, set(kept.keys)
        self._net, self._data, self._kept, self._first = net, data, kept, first
        self._recorder = recorder or (lambda net, values, taps: Recorder(net, values, taps))
        self._axis = channels_of(net.input_shape, net.channel_axis(net.input))[0]
        self.extent: Extent | None = None
        self._pools = stateful(net.layers)
        front = 0.0 if net.stem is None else float(net.stem.work)
        self._cost = {net.input: 0.0} | dict.fromkeys(net.sources, front)
        behind: dict[str, frozenset[Layer]] = dict.fromkeys((net.input, *net.sources), frozenset())
        for layer in net.layers:
            behind[layer.output] = frozenset([layer]).union(*(behind[name] for name in layer.inputs))
            self._cost[layer.output] = front + sum(needed.operations for needed in behind[layer.output])

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._kept.held

    def passes(
        self, tensors: Collection[str], pools: Collection[str], later: Sequence[Key], size: int, *, look: bool = False
    ) -> Generator[tuple[int, int, Recorded]]:
        """The data in batches [start, stop) of `size` samples, with these tensors and the taps of these pools.

        later: what later passes need, those that come next first. Where a forward pass must be made anyway, it is kept
        along with it as far as there is room. look: note the data's extent, in a pass that reads them.
        """
        wanted: list[Key] = [*(("value", t) for t in tensors), *(("taps", t) for t in pools)]
        missing = [key for key in wanted if key not in self._kept]
        forward = any(name != self._net.input for _, name in missing)
        # What is read now, or by the passes that come next, makes no room for what comes later still.
        self._spare -= {*wanted, *later}
        extra = self._open(later) if forward else []
        made = [*missing, *extra]
        chosen = {name: self._pools[name] for kind, name in made if kind == "taps"}
        values_read, switches_read = asked(chosen.values())
        recorder = self._recorder(self._net, [*(n for k, n in made if k == "value"), *values_read], switches_read)
        for start in range(0, len(self._data), size):
            stop = min(start + size, len(self._data))
            values, taps = {}, {}
            if made or (look and self._lasting):
                x = self._data[start:stop]
                if look:
                    extent = Extent.of(x, self._axis)
                    self.extent = extent if self.extent is None else self.extent.merged(extent)
            if made:
                record = recorded(recorder(x, self._first + start), chosen)
                values, taps = dict(record.values), dict(record.taps)
            for kind, name in extra:
                self._kept.append((kind, name), values[name] if kind == "value" else taps[name])
            for kind, name in wanted:
                if (kind, name) not in missing:
                    (values if kind == "value" else taps)[name] = self._kept.read((kind, name), start, stop)
            yield start, stop, Recorded(values, taps)

    def _open(self, later: Sequence[Key]) -> list[Key]:
        """Take up, in order, as much of what comes later as there is room for and as is worth its way to the disk."""
        opened: list[Key] = []
        samples = len(self._data)
        for kind, name in later:
            if (kind, name) in self._kept or name == self._net.input:
                continue
            layer = self._pools.get(name) if kind == "taps" else None
            shape = self._net.shapes[name] if layer is None else layer.state_shape
            dtype = self._net.dtype if layer is None else layer.state_dtype(self._net.dtype)
            size = samples * prod(shape) * dtype.itemsize
            disk = not self._kept.room(size, disk=False)
            if disk and self._spare:
                self._kept.drop(self._spare.__contains__)
                self._spare.clear()
                disk = not self._kept.room(size, disk=False)
            worth = worth_keeping(size, samples * self._cost[name] / FORWARD)
            if disk and not (worth and self._kept.room(size, disk=True)):
                break
            self._kept.open((kind, name), samples, shape, dtype, disk=disk)
            opened.append((kind, name))
        return opened

    def drop(self, *, but: Collection[Key]) -> None:
        """Let go of all that no later pass needs."""
        if self._lasting:
            self._spare = {key for key in self._kept.keys if key not in but}
        else:
            self._kept.drop(lambda key: key not in but)

    def close(self) -> None:
        """Let go of everything, but for what others need."""
        if not self._lasting:
            self._kept.close()
