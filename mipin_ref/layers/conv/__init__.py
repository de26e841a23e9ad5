"""The convolution and the transposed one: their kinds, and the products that they and their inverses are made of."""

from mipin_ref.layers.conv.kind import Conv
from mipin_ref.layers.conv.transposed import ConvTranspose

__all__ = ["Conv", "ConvTranspose"]
