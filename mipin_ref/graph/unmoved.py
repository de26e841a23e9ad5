"""What does not change with the explained input: made of other inputs, as masks are, or of nothing but shapes."""

from __future__ import annotations

from onnx import ModelProto

from mipin_ref.graph.made_of import made_of
from mipin_ref.graph.network import Network


def unmoved(net: Network) -> frozenset[str]:
    """The tensors that stay as they are whatever values the explained input has."""
    found = {*net.given}
    if net.stem is not None:
        proto = ModelProto.FromString(net.stem.model)
        makers = {name: node for node in proto.graph.node for name in node.output}
        for source in net.sources.keys() - net.given:
            if net.input not in made_of(net.stem.names.get(source, source), makers):
                found.add(source)
    for layer in net.layers:
        if found.issuperset(layer.inputs):
            found.add(layer.output)
    return frozenset(found)
