"""Score-CAM."""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.graph.tokens import grid_of
from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BatchResult
from mipin_ref.methods.cam import ActivationMap, places_of
from mipin_ref.methods.interpolate import resized
from mipin_ref.methods.sweep import Ints, Sweep


class ScoreCAM(ActivationMap):
    """The softmax over channels of the logits y_c that the network gives of X ⊙ H_k, the input under the map of each
    channel, brought to the input's size and to 0..1 (Wang et al., Score-CAM, 2020, Eq. 7 to 9 and Algorithm 1; the
    logit of the baseline, which the paper takes away, is the same for all channels and no part of a softmax).

    It takes a forward pass a channel. A map that is the same everywhere hides the whole input.
    """

    name = "score-cam"
    multiplier = True
    follows_logit = False
    even = True
    many_passes = True

    @classmethod
    def suits(cls, net: Network) -> bool:
        return super().suits(net) and not net.whole and not net.embeddings

    def passes(self, net: Network, at: str) -> int:
        axis = net.channel_axis(at)
        return 1 if axis is None else 1 + net.shapes[at][axis - 1]

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        super().sweep(net, backend, at)  # which refuses what has no map
        return _Masking(net, backend, at, lambda layer: self.rule(net, layer))

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        net = sweep.net
        _check_places(net, sweep.at)
        recorded = sweep.recorded(x, first)
        recorder = Recorder(net, [net.logits], keep=True)
        axis = net.channel_axis(sweep.at)
        assert axis is not None
        maps, grid = np.moveaxis(recorded.value.astype(np.float64), axis, 1), grid_of(net, sweep.at)
        maps = maps if grid is None else grid.laid_out(maps)
        weight = np.empty(maps.shape[:2])
        for number, (sample, channels) in enumerate(zip(x, maps, strict=True)):
            for start in range(0, len(channels), rows):
                cut = slice(start, start + rows)
                masked = _masked(net, sample, channels[cut])
                logits = recorder(masked, first + number).values[net.logits].reshape(len(masked), -1)
                weight[number, cut] = logits[:, targets[number]]
        weight = np.exp(weight - weight.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        shape = [len(weight), *(1 for _ in net.shapes[sweep.at])]
        shape[axis] = weight.shape[1]
        return BatchResult(recorded.value, weight.reshape(shape), recorded.output(targets))


class _Masking(Sweep):
    """The forward pass of masked inputs, which is what takes memory here."""

    @property
    def sample_bytes(self) -> int:
        return max(super().sample_bytes, self.net.forward_bytes + 4 * 8 * prod(self.net.input_shape))


def _check_places(net: Network, at: str) -> None:
    if net.whole or net.embeddings:
        held = "integers" if net.whole else "ids"
        raise InvalidData(f"score-cam hides parts of the input by degrees, and this network's input holds {held}")
    grid, there = grid_of(net, at), len(places_of(net, net.input))
    here = len(places_of(net, at)) if grid is None else grid.places.ndim
    if here != there:
        raise InvalidData(
            f"score-cam lays the map of {at!r}, of {here} axes, over the input, which has {there}; explain a "
            "tensor with as many"
        )


def _masked(net: Network, sample: HostArray, maps: HostArray) -> HostArray:
    """The sample [*input_shape] under each of some maps [m, ...], brought to its size and to 0..1."""
    shape, places = net.input_shape, places_of(net, net.input)
    grown = resized(maps, [shape[axis - 1] for axis in places])
    flat = grown.reshape(len(grown), -1)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    span = np.where(high > low, high - low, 1)
    masks = ((flat - low) / span).reshape(grown.shape)
    if (channels := net.channel_axis(net.input)) is not None:
        masks = np.expand_dims(masks, channels)
    return np.asarray(sample * masks, net.dtype)
