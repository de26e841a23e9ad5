"""Grad-CAM."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.feature_maps import last_feature_map
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.sweep import Ints, Sweep


class GradCAM(BackwardMethod):
    """The mean of ∂y_c / ∂X over the map of each channel, the same at every location (Selvaraju et al., Grad-CAM,
    2017): the positive channel sum of A * X, `saliency` of the result, is the map of the paper.

    By default the last feature map is explained, the first that `feature_maps` proposes.
    """

    name = "grad-cam"
    multiplier = True
    follows_logit = False
    even = True

    def default_at(self, net: Network) -> str:
        """The last feature map. Raises InvalidData where the network has none."""
        return last_feature_map(net)

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        if not _has_map(net, at):
            raise InvalidData(f"grad-cam needs a tensor with channels and a map; {at!r} has shape {net.shapes[at]}")
        return super().sweep(net, backend, at)

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        swept, xp = sweep(x, targets, first=first), sweep.backend.xp
        channels = sweep.net.channel_axis(sweep.at)
        axes = tuple(axis for axis in range(1, swept.signal.ndim) if axis != channels)
        mean = sweep.backend.get(xp.mean(swept.signal, axis=axes, keepdims=True))
        return BatchResult(swept.value, mean, swept.output(targets))


def _has_map(net: Network, name: str) -> bool:
    shape, axis = net.shapes[name], net.channel_axis(name)
    return axis is not None and len(shape) > 1 and prod(shape) > shape[axis - 1]
