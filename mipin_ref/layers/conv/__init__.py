"""The convolution: its kind, and the products that it and its inverse are made of."""

from mipin_ref.layers.conv.kind import Conv

__all__ = ["Conv"]
