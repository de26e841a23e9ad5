"""What class activation maps share: they explain the last feature map, and weigh its channels."""

from __future__ import annotations

from math import prod

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.feature_maps import feature_maps, last_feature_map
from mipin_ref.graph.network import Network
from mipin_ref.graph.tokens import grid_of, token_axis
from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.sweep import Sweep


class ActivationMap(BackwardMethod):
    """A method that explains a tensor with channels and a map: `saliency` of the result is the map of its paper.

    By default the last feature map is explained, the first that `feature_maps` proposes. Of tokens that lie in a
    picture it is that picture: a class token takes no part in weights, and is left out of the map.
    """

    @classmethod
    def suits(cls, net: Network) -> bool:
        return bool(feature_maps(net))

    def default_at(self, net: Network) -> str:
        """The last feature map. Raises InvalidData where the network has none."""
        return last_feature_map(net)

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        if not has_map(net, at):
            raise InvalidData(f"{self.name} needs a tensor with channels and a map; {at!r} has shape {net.shapes[at]}")
        return super().sweep(net, backend, at)


def has_map(net: Network, name: str) -> bool:
    """Whether a tensor has channels, and more than one location."""
    shape, axis = net.shapes[name], net.channel_axis(name)
    return axis is not None and len(shape) > 1 and prod(shape) > shape[axis - 1]


def places_of(net: Network, name: str) -> tuple[int, ...]:
    """The axes of a tensor, counted with the batch, that are no channels."""
    channels = net.channel_axis(name)
    return tuple(axis for axis in range(1, len(net.shapes[name]) + 1) if axis != channels)


def in_the_map(net: Network, name: str, backend: Backend, x: Array) -> Array:
    """Values [n, *shape] of a tensor: of tokens that lie in a picture those that do, so that a class token is left out.

    Of any other tensor all of them.
    """
    grid, axis = grid_of(net, name), token_axis(net, name)
    if grid is None or axis is None or len(grid.rows) == net.shapes[name][axis]:
        return x
    return backend.xp.take(x, backend.put(grid.rows), axis=axis + 1)


def positive(backend: Backend, x: Array) -> Array:
    """relu(x)."""
    return backend.xp.where(x > 0, x, 0 * x)
