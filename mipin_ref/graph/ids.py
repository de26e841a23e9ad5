"""Whether a network looks rows of a table up by the values of its input, which are ids then."""

from __future__ import annotations

from onnx import ModelProto

from mipin_ref.graph.embeddings import looked_up
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network


def looks_up(net: Network | ForwardOnly) -> bool:
    """Whether the values of the input are ids of rows, in the part of the file that onnxruntime runs as it stands."""
    front = net.stem or net.file if isinstance(net, Network) else net.stem
    return front is not None and looked_up(ModelProto.FromString(front.model), net.input)
