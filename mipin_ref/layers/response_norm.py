"""Local response normalisation (ONNX LRN), its value and the product with its Jacobian, transposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import ElementWise, Untrained, Unweighted
from mipin_ref.layers.kind import ELEMENT, BackWriter, States, Writer
from mipin_ref.layers.traced import Traced, TracedBackend

Around = Callable[[Backend, Array, int], Array]
"""Sums a [n, C, ...] over so many channels around each."""


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

    def emit_adjoint(self, writer: BackWriter, signal: str) -> str:
        """Write the gradient as ONNX: the name of signals [n, C, H, W] of those at the output."""
        backend, shape = TracedBackend.of(writer), self.in_shape
        x, s = backend.value(self.input, shape), backend.tensor(signal, shape)
        name: str = response_norm_adjoint(backend, s, x, self.options, _written_around).name
        return name

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal


def response_norm(backend: Backend, x: Array, options: Mapping[str, Any]) -> Array:
    """x [n, C, H, W] -> x[c] / d[c]^beta, d[c] = bias + alpha / size · Σ x² over the `size` channels around c."""
    return x / _divisor(backend, x, options, _around) ** options["beta"]


def response_norm_adjoint(
    backend: Backend, s: Array, x: Array, options: Mapping[str, Any], around: Around | None = None
) -> Array:
    """Jᵀ s of `response_norm` at x, both [n, C, H, W]. around: what sums channels, by default `_around`.

    ∂y[c] / ∂x[k] = δ_ck d[c]^-beta - 2 alpha beta / size · x[c] x[k] d[c]^(-beta - 1) where k is near c.
    """
    alpha, beta, size = options["alpha"], options["beta"], options["size"]
    sums = _around if around is None else around
    divisor = _divisor(backend, x, options, sums)
    scale = divisor ** (-beta)
    return s * scale - (2 * alpha * beta / size) * x * sums(backend, s * x * scale / divisor, size)


def _divisor(backend: Backend, x: Array, options: Mapping[str, Any], sums: Around) -> Array:
    return options["bias"] + (options["alpha"] / options["size"]) * sums(backend, x * x, options["size"])


def _written_around(backend: Backend, a: Traced, size: int) -> Traced:
    """The sums of `_around`, written: of as many cuts of what has zeros around the channels."""
    writer, channels, rank = a.writer, a.shape[1], a.ndim
    more = min(size // 2, channels - 1)

    def make() -> str:
        around = [more if axis == 1 else 0 for axis in range(rank)]
        whole = writer.append("Pad", [a.name, writer.whole("around", *around, *around)], "padded")
        axis = writer.whole("channel axis", 1)
        cuts = [
            writer.append(
                "Slice", [whole, writer.whole("first", shift), writer.whole("last", shift + channels), axis], "shifted"
            )
            for shift in range(2 * more + 1)
        ]
        return writer.append("Sum", cuts, "neighbours")

    return Traced(writer, a.shape, a.dtype, make)


def _around(backend: Backend, a: Array, size: int) -> Array:
    """The sum over the channels [c - size // 2, c + size // 2] that exist: its own adjoint, as size is odd."""
    channels = a.shape[1]
    total = backend.zeros(a.shape, a.dtype)
    for shift in range(-min(size // 2, channels - 1), min(size // 2, channels - 1) + 1):
        total[:, max(0, -shift) : channels - max(0, shift), ...] += a[:, max(0, shift) : channels - max(0, -shift), ...]
    return total
