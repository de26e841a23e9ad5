"""One handler an ONNX operator: how its node becomes draft layers, across opsets."""

from mipin_ref.graph.ops import arithmetic, box, dense, elementwise, mean, per_channel, shape, sliding
from mipin_ref.graph.ops.registry import HANDLERS

__all__ = ["HANDLERS", "arithmetic", "box", "dense", "elementwise", "mean", "per_channel", "shape", "sliding"]
