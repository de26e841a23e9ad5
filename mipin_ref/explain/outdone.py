"""What a person should know of MIP-IN where another method stood above it: which kinds of layer lie on the way."""

from __future__ import annotations

from mipin_ref.graph.network import Network
from mipin_ref.layers import Outdone


def told_outdone(net: Network, tensor: str) -> list[str]:
    """A line a method that ranked known evidence higher behind some kind of layer that lies between a tensor and the
    logits; none where no such layer does.
    """
    kinds: dict[str, dict[str, None]] = {}
    for layer in net.behind(tensor):
        if isinstance(layer, Outdone) and layer.output in net.carrying:
            kinds.setdefault(layer.outdone_by, {})[layer.kind] = None
    return [
        f"through {' and '.join(some)} mip-in, at its default ridge, ranked known evidence lower than {method} did "
        f"(tools/paper/text.md): see what method {method!r} says too"
        for method, some in kinds.items()
    ]
