"""Local response normalisation (ONNX LRN), its value and the product with its Jacobian, transposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import ElementWise, Untrained, Unweighted
from mipin_ref.layers.kind import ELEMENT, BackWriter, States, Writer


@dataclass(frozen=True, eq=False, kw_only=True)
class ResponseNorm(Unweighted, ElementWise, Untrained):
    """ONNX's LRN, each value divided by a power of the mean square of the channels around it; its signal passes.

    options: alpha, beta, bias and size, an odd number of channels.
    """

    kind = "ResponseNorm"
    inverse = "passes"
    inverse_name = "passes"
    joint_name = "ResponseNorm"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = True
    channels = None
    fires = False
    no_way_back = None
    keeps_zero = True
    options: Mapping[str, float | int] = field(default_factory=dict)

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        # Each channel is summed as often as it is near another.
        near = min(int(self.options["size"]), 2 * self.in_shape[0])
        return self.touched + ELEMENT * near * prod(self.out_shape)

    def describe(self) -> str:
        return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.options.items())

    def details(self) -> dict[str, Any]:
        return {"options": dict(self.options)}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return response_norm(backend, inputs[0], self.options)

    def emit(self, writer: Writer) -> None:
        writer.node("LRN", **self.options)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return signal

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal


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
