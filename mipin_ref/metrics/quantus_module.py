"""A network as a module of torch, with its layers as children. Imports torch, so it is imported where it is needed.

Quantus changes models in place: it copies one deeply, draws the parameters of a child anew, adds noise to them, or
reads what children give. So children hold the trained arrays as parameters, and the network that is run has those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mipin_ref.backend import get_backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.graph.redraw import redrawable, reweighted
from mipin_ref.graph.turned import behind, channels_behind
from mipin_ref.layers import HostArray, Layer

BATCH = 256
"""Samples that are run at once."""


@dataclass(frozen=True, eq=False)
class Shared:
    """What a deep copy of a module has in common with the module."""

    value: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class LayerModule(torch.nn.Module):  # type: ignore[misc]
    """One layer: trained arrays as parameters without gradients; given a value, what the layer makes of it."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = Shared(layer)
        self.out_channels = layer.out_shape[0] if layer.out_shape else 1
        for role, array in layer.arrays.items():
            self.register_parameter(role, torch.nn.Parameter(torch.tensor(array), requires_grad=False))

    @property
    def layer(self) -> Layer:
        layer: Layer = self._layer.value
        return layer

    @property
    def arrays(self) -> dict[str, HostArray]:
        """The parameters by the names of the layer's arrays."""
        return {role: getattr(self, role).detach().cpu().numpy() for role in self.layer.arrays}

    def forward(self, *inputs: Any, made: Any = None) -> Any:
        """The layer's output; made: where that is known already."""
        if made is not None:
            return made
        changed: dict[str, Any] = {**self.arrays}
        layer = replace(self.layer, **changed)
        values = [one.detach().cpu().numpy() for one in inputs]
        return torch.as_tensor(np.asarray(layer.forward(get_backend("numpy"), values)))


class TrainedModule(LayerModule):
    """One whose arrays can be drawn anew, as `redraw` does it, from torch's own generator."""

    def reset_parameters(self) -> None:
        """Draw each array from a normal distribution of its own mean and standard deviation."""
        with torch.no_grad():
            for one in self.parameters():
                torch.nn.init.normal_(one, one.mean().item(), one.std(correction=0).item())


class Probabilities(torch.nn.Softmax):  # type: ignore[misc]
    """The head of a file where it is no softmax over all classes: Quantus takes it off, or leaves it, by its class."""

    def __init__(self, net: Network) -> None:
        super().__init__(dim=-1)
        self._net = Shared(net)

    def forward(self, logits: Any) -> Any:
        return torch.as_tensor(self._net.value.probabilities(logits.numpy())).to(logits.dtype)


class NetworkModule(torch.nn.Module):  # type: ignore[misc]
    """The module that `quantus_model` gives."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self._original = Shared(net)
        self._changed: Shared | None = None
        drawn = set(redrawable(net))
        for number, layer in enumerate(net.layers):
            kind = TrainedModule if layer.output in drawn else LayerModule
            self.add_module(f"{number} {layer.kind} {layer.output}".replace(".", "_"), kind(layer))
        # Quantus adds a softmax where it finds none; one number without a head has no probability and says so.
        self.head = Probabilities(net) if net.head == "sigmoid" or net.probability is None else None
        self.eval()

    @property
    def original(self) -> Network:
        """The network that the module was made of."""
        net: Network = self._original.value
        return net

    @property
    def network(self) -> Network:
        """The network with the parameters as they are now; the original itself while they are its own."""
        given: dict[str, dict[str, HostArray]] = {}
        for module in self._layers:
            own = module.layer.arrays
            if any(not np.array_equal(own[role], array) for role, array in module.arrays.items()):
                given[module.layer.output] = module.arrays
        if not given:
            return self.original
        if self._changed is None or not _same(self._changed.value[0], given):
            kept = {name: {role: array.copy() for role, array in some.items()} for name, some in given.items()}
            self._changed = Shared((kept, reweighted(self.original, kept)))
        changed: Network = self._changed.value[1]
        return changed

    @property
    def _layers(self) -> list[LayerModule]:
        return [one for one in self.children() if isinstance(one, LayerModule)]

    def forward(self, x: Any) -> Any:
        """The logits [n, classes] of x [n, *input_shape], behind the head where that is to be applied."""
        net, watched = self.network, [one for one in self._layers if one._forward_hooks]
        values = np.asarray(x.detach().cpu().numpy())
        values = behind(values) if channels_behind(net, values) else values
        if not len(values):
            raise InvalidData("Quantus asks for the scores of no sample")
        recorder = Recorder(net, [net.logits, *(one.layer.output for one in watched)], keep=True)
        made = [recorder(values[at : at + BATCH], at).values for at in range(0, len(values), BATCH)]

        def tensor(name: str) -> Any:
            return torch.as_tensor(np.concatenate([part[name] for part in made]))

        for one in watched:
            one(made=tensor(one.layer.output))
        logits = tensor(net.logits).reshape(len(values), -1)
        return (logits if self.head is None else self.head(logits)).to(x.device)


def _same(a: Mapping[str, Mapping[str, HostArray]], b: Mapping[str, Mapping[str, HostArray]]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(array, b[name][role]) for name, some in a.items() for role, array in some.items()
    )
