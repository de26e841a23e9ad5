"""One handler an ONNX operator: how its node becomes a draft layer, across opsets."""

from mipin_ref.graph.ops import dense, elementwise, per_channel, shape, sliding
from mipin_ref.graph.ops.registry import HANDLERS

__all__ = ["HANDLERS", "dense", "elementwise", "per_channel", "shape", "sliding"]
