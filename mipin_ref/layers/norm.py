"""Local response normalisation (ONNX LRN), its value and the product with its Jacobian, transposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipin_ref.backend import Array, Backend


def response_norm(backend: Backend, x: Array, options: Mapping[str, Any]) -> Array:
    """x [n, C, H, W] -> x[c] / d[c]^beta, d[c] = bias + alpha / size · Σ x² over the `size` channels around c."""
    return x / _divisor(backend, x, options) ** options["beta"]


def response_norm_adjoint(backend: Backend, s: Array, x: Array, options: Mapping[str, Any]) -> Array:
    """Jᵀ s of `response_norm` at x, both [n, C, H, W].

    ∂y[c] / ∂x[k] = δ_ck d[c]^-beta - 2 alpha beta / size · x[c] x[k] d[c]^(-beta - 1) where k is near c.
    """
    alpha, beta, size = options["alpha"], options["beta"], options["size"]
    divisor = _divisor(backend, x, options)
    scale = divisor ** (-beta)
    around = _around(backend, s * x * scale / divisor, size)
    return s * scale - (2 * alpha * beta / size) * x * around


def _divisor(backend: Backend, x: Array, options: Mapping[str, Any]) -> Array:
    return options["bias"] + (options["alpha"] / options["size"]) * _around(backend, x * x, options["size"])


def _around(backend: Backend, a: Array, size: int) -> Array:
    """The sum over the channels [c - size // 2, c + size // 2] that exist: its own adjoint, as size is odd."""
    channels = a.shape[1]
    total = backend.zeros(a.shape, a.dtype)
    for shift in range(-min(size // 2, channels - 1), min(size // 2, channels - 1) + 1):
        total[:, max(0, -shift) : channels - max(0, shift), ...] += a[:, max(0, shift) : channels - max(0, -shift), ...]
    return total
