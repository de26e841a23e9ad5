"""Methods that take a signal back from the logits: rules, and what they make of one or more sweeps.

Such a method states `rules` (a rule a class of layer, most of them from DERIVATIVES) and `logit` (whether the signal
starts as y_c, for relevance, or as 1). Where the rule depends on more than the class of the layer it overrides `rule`;
where one sweep a batch is not all there is to do, `explain`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend
from mipin_ref.data import Calibration
from mipin_ref.data.calibration import samples_like
from mipin_ref.data.seen import Watch
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import check_batch
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import faced
from mipin_ref.graph.targets import checked_targets, is_one
from mipin_ref.layers import HostArray, Layer
from mipin_ref.memory import batch_rows
from mipin_ref.methods.method import Method, Run
from mipin_ref.methods.products import DERIVATIVES
from mipin_ref.methods.rules import Rule, Rules, rule_of
from mipin_ref.methods.sweep import Ints, Sweep
from mipin_ref.options import check_size
from mipin_ref.progress import progress_bar


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What a batch gives, on the host: see Attribution for the fields."""

    value: HostArray
    attribution: HostArray
    output: HostArray
    signal: HostArray | None = None
    delta: HostArray | None = None


class BackwardMethod(Method):
    """A method that sweeps back over the layers, batch by batch."""

    rules: Rules = DERIVATIVES
    logit: ClassVar[bool] = False
    frozen: bool = False
    """Whether state, as gates are, is taken for constant, so that nothing comes back to it."""
    constant: Set[type[Layer]] = frozenset()
    """Kinds of layer whose state is, in any case."""

    @property
    def calibration(self) -> Calibration | None:
        """What the method was fitted on; None where nothing was."""
        return None

    def rule(self, net: Network, layer: Layer) -> Rule:
        """The rule of one layer of a network. Raises UnsupportedModel where the method has none."""
        return rule_of(self.rules, layer, self.name)

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        """The way back that `explain` takes. Raises InvalidData where the method cannot explain `at`."""
        return Sweep(net, backend, at, lambda layer: self.rule(net, layer), logit=self.logit, held=self.held)

    def held(self, layer: Layer) -> bool:
        """Whether nothing comes back to the state of a layer."""
        return self.frozen or type(layer) in self.constant

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        """Attribute one batch x [n, *input_shape] to targets [n].

        rows: how many samples may be swept at a time, n or more; first: the position of x in the data.
        """
        swept = sweep(x, targets, first=first)
        return BatchResult(swept.value, sweep.backend.get(swept.signal), swept.output(targets))

    def attribute(self, net: Network, x: Any, target: Any, at: str | None, run: Run) -> Attribution:
        """See `Method.attribute`. Results do not depend on the size of batches but for rounding."""
        data, device = samples_like(self.calibration, x, whole=net.whole, inputs=net.inputs), run.backend
        watch = Watch(None if self.calibration is None else self.calibration.seen, "the patterns were fitted")
        count = len(data)
        check_size("x", count)
        asked = checked_targets(net, target, count)
        one = net.target(int(asked[0])) if is_one(target) and count else None
        net, targets = faced(net, asked)
        tensor = self.explained(net, at)
        check_batch(net, data)
        sweep = self.sweep(net, device, tensor)
        rows = batch_rows(run.batch_size, run.memory, sweep.sample_bytes)
        shape = net.shapes[tensor]
        check_size("x", count * prod(shape))
        value, attribution = (np.empty((count, *shape), device.dtype) for _ in range(2))
        signal = np.empty((count, *shape), device.dtype) if self.signals else None
        output = np.empty(count, device.dtype)
        delta = np.empty(count, device.dtype) if self.completes else None
        with progress_bar(run.progress) as begin:
            advance = begin(f"{self.name} of {tensor}", count)
            for start in range(0, count, rows):
                cut = slice(start, min(start + rows, count))
                values = data[cut]
                batch = self.explain(sweep, values, targets[cut], rows, start)
                watch.note(values)
                value[cut], attribution[cut], output[cut] = batch.value, batch.attribution, batch.output
                if signal is not None:
                    signal[cut] = batch.signal
                if delta is not None:
                    delta[cut] = batch.delta
                advance(cut.stop - start)
        if not np.isfinite(attribution).all():
            raise InvalidData(f"method {self.name!r}: the attribution of {tensor!r} holds NaN or Inf")
        watch.tell(stacklevel=3)
        return Attribution(
            value,
            signal,
            attribution,
            output,
            asked if one is None else one,
            tensor,
            net.channel_axis(tensor),
            self.name,
            self.multiplier,
            self.follows_logit,
            delta,
            net.input_size,
        )
