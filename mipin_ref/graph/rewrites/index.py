"""Where the layers of a list are, and who reads what: kept up to date, as thousands of layers are asked thousands of
times.
"""

from __future__ import annotations

from collections.abc import Collection

from mipin_ref.layers import Wired


class Index:
    """An index of a list of layers, which it changes in place."""

    def __init__(self, layers: list[Wired]) -> None:
        self._layers = layers
        self._outputs = [layer.output for layer in layers]
        self._made = {layer.output: layer for layer in layers}
        # A dict in place of a set, for the order.
        self._readers: dict[str, dict[str, None]] = {}
        for layer in layers:
            self._enter(layer)

    def covers(self, layers: list[Wired]) -> bool:
        """Whether it is of this list, and nothing was appended since."""
        return layers is self._layers and len(layers) == len(self._outputs)

    def maker(self, tensor: str) -> Wired | None:
        """The layer whose output is `tensor`."""
        return self._made.get(tensor)

    def latest(self, tensors: Collection[str]) -> str | None:
        """The tensor, of some, that is made last; None where no layer makes any."""
        made = [name for name in tensors if name in self._made]
        return max(made, key=self._outputs.index) if made else None

    def readers(self, tensor: str) -> list[str]:
        """The outputs of the layers that read a tensor."""
        return list(self._readers.get(tensor, ()))

    def put(self, output: str, layer: Wired) -> None:
        """Put a layer in the place of the one that makes `output`."""
        place = self._outputs.index(output)
        self._leave(self._made.pop(output))
        self._layers[place], self._outputs[place], self._made[layer.output] = layer, layer.output, layer
        self._enter(layer)

    def remove(self, output: str) -> Wired:
        """Take out the layer that makes `output`, and return it."""
        place = self._outputs.index(output)
        del self._layers[place], self._outputs[place]
        gone = self._made.pop(output)
        self._leave(gone)
        return gone

    def _enter(self, layer: Wired) -> None:
        for name in layer.inputs:
            self._readers.setdefault(name, {})[layer.output] = None

    def _leave(self, layer: Wired) -> None:
        for name in layer.inputs:
            self._readers.get(name, {}).pop(layer.output, None)
