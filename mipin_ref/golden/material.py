"""What golden values are computed from: a network, a plan, and everything that was recorded on the samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.golden.regression import Arrays, Inverted, Noise, Regression, exactly
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.descent.batch import Batch
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray, Layer, Recording, Stateful, Switched, stateful, switched


@dataclass(frozen=True, eq=False)
class Material:
    """net: the part of the network that the target faces; target: its index into the logits of that.

    values: of every tensor [n, *shape]; switches: of every max-pool [n, C, *map], flat within sample and channel;
    kept: states of layers that are known and not made of these; taps: states of all layers by output, of a max-pool
    the winning taps.
    """

    net: Network
    plan: Plan
    target: int
    values: Arrays
    switches: Arrays
    kept: Arrays = field(default_factory=dict)
    taps: Arrays = field(init=False)

    def __post_init__(self) -> None:
        # Indices within a map are flat indices of its first sample and channel: the tap is the same.
        made: dict[Recording, HostArray] = {("switches", name): value for name, value in self.switches.items()}
        made |= {("value", name): value for name, value in self.values.items()}
        taps = {layer.output: layer.state(made) for layer in stateful(self.net.layers).values()}
        taps |= self.kept
        object.__setattr__(self, "taps", taps)

    @property
    def samples(self) -> int:
        return len(self.values[self.net.input])

    @property
    def sources(self) -> dict[str, HostArray]:
        """The values of the tensors that the layers start from beside the input."""
        return {name: self.values[name] for name in self.net.sources}

    def axis(self, tensor: str) -> int:
        """The axis of a tensor's channels, counted with the samples; 1 wherever no fit says another."""
        step = self.plan.step_of.get(tensor)
        if step is not None and step.axis != 1:
            return step.axis
        elsewhere = any(step.axis != 1 for step in self.plan.fitted)
        return (self.net.channel_axis(tensor) or 1) if elsewhere else 1

    @property
    def batch(self) -> Batch:
        fired = {step.tensor: step.fired(self.values[step.tensor]) for step in self.plan.steps if step.mask}
        return Batch(fired, self.taps)

    def seed(self) -> HostArray:
        """y_c where the steps read it: [n, 1] for a Dense, else among zeros."""
        logits = self.values[self.net.logits].astype(np.float64)
        return np.asarray(seed(get_backend(), self.plan, logits, self.target))

    def placed_seed(self) -> HostArray:
        """y_c among zeros [n, classes]."""
        logits = self.values[self.net.logits].astype(np.float64)
        placed = np.zeros_like(logits)
        placed[..., self.target] = logits[..., self.target]
        return placed

    def regression(self, step: Step) -> Regression:
        return Regression(step, self.plan.is_column(step))

    def read(self, step: Step, signals: Arrays) -> dict[str, HostArray]:
        """The signals that a step reads, as it reads them. signals: by tensor, the logits' [n, classes]."""
        above = {name: signals[name] for name in step.reads}
        if self.plan.is_column(step):
            above[self.net.logits] = above[self.net.logits][:, self.target : self.target + 1]
        return above

    def invert(
        self,
        step: Step,
        signals: Arrays,
        rows: HostArray,
        ridge: float,
        noise: Noise = exactly,
        row_noise: Noise = exactly,
    ) -> Inverted:
        """The weights of a step from the signals above it."""
        x = self.values[step.tensor]
        return self.regression(step).solve(self.read(step, signals), self.taps, x, rows, ridge, noise, row_noise)

    def predict(self, step: Step, signals: Arrays, inverted: Inverted, *, affine: bool) -> HostArray:
        return self.regression(step).predict(self.read(step, signals), self.taps, inverted, affine=affine)

    def descend(self, step: Step, weights: Inverted | None, s: dict[str, HostArray], a: dict[str, HostArray]) -> None:
        """Put the signals of a step's tensor into s and a, from those above it; the logits' as [n, classes]."""
        backend, n = get_backend(), self.samples
        both = {name: np.concatenate([one, self.read(step, a)[name]]) for name, one in self.read(step, s).items()}
        given = {}
        if weights is not None:
            given[step.tensor] = DeviceWeights.of(backend, Weights(weights.blocks, weights.intercept))
        batch = self.batch.twice(backend)
        below = descend(backend, [step], given, batch, both, affine=n, keep=[step.tensor])[step.tensor]
        s[step.tensor], a[step.tensor] = below[:n], below[n:]


def pools(net: Network) -> list[Switched]:
    return list(switched(net.layers).values())


def contests(layers: Iterable[Layer]) -> list[Stateful]:
    """The layers whose state is which of their inputs won, each number for itself."""
    pooled = switched(layers := [*layers])
    return [
        layer
        for layer in stateful(layers).values()
        if layer.output not in pooled and layer.state_dtype(np.dtype(np.float64)).kind in "iu"
    ]


def recorded(
    net: Network, plan: Plan, target: int, x: HostArray, sources: Mapping[str, HostArray] | None = None
) -> Material:
    """All values and switches of the network on x [n, *input_shape]; sources: see Recorder.

    Raises InvalidData as the recorder does.
    """
    recording = Recorder(net, list(net.shapes), [layer.output for layer in pools(net)])(x, sources=sources)
    sizes = {layer.output: int(np.prod(layer.in_shape[1:])) for layer in pools(net)}
    switches = {output: recording.switches[output] % size for output, size in sizes.items()}
    return Material(net, plan, target, dict(recording.values), switches)
