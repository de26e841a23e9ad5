"""The transposed convolution: its parts against its adjoint, both against loops, and what the adjoint holds."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mipin_ref.backend import Backend
from mipin_ref.layers import ConvTranspose
from mipin_ref.layers.conv.adjoint import conv_adjoint
from mipin_ref.layers.conv.forward import conv_forward, forward_bytes
from mipin_ref.window import Window
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.oracles import spec
from tests.oracles.design import conv_transpose_design
from tests.oracles.forward import conv_transpose


@st.composite
def layers(draw: st.DrawFn) -> ConvTranspose:
    """Any geometry: pads wider than the window, strides that share a factor with the dilation or not, odd sizes."""
    rank = draw(st.integers(1, 2))
    axis = st.tuples(*(st.integers(*bounds) for bounds in ((1, 4), (1, 4), (1, 4), (0, 5), (0, 5), (0, 3), (1, 5))))
    axes = [draw(axis) for _ in range(rank)]
    groups, inputs, outputs = (draw(st.integers(1, 2)) for _ in range(3))
    kernel, strides, dilations, begin, end, more, size = (tuple(numbers) for numbers in zip(*axes, strict=True))
    out = tuple(
        (n - 1) * s + (k - 1) * d + 1 + m - b - e
        for n, s, k, d, m, b, e in zip(size, strides, kernel, dilations, more, begin, end, strict=True)
    )
    assume(min(out) > 0)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    layer = ConvTranspose(
        name="layer",
        inputs=("x",),
        output="y",
        in_shapes=((groups * inputs, *size),),
        out_shape=(groups * outputs, *out),
        weight=rng.standard_normal((groups * inputs, outputs, *kernel)),
        bias=rng.standard_normal(groups * outputs),
        window=Window(kernel, strides, begin, end, dilations),
        groups=groups,
    )
    assume(bool(layer.parts))
    return layer


def op_of(layer: ConvTranspose) -> spec.ConvTranspose:
    window = layer.window
    sizes = zip(
        layer.in_shape[1:], layer.out_shape[1:], window.strides, window.extent, window.begin, window.end, strict=True
    )
    more = tuple(out - ((n - 1) * s + e - b - f) for n, out, s, e, b, f in sizes)
    pads = (*window.begin, *window.end)
    return spec.ConvTranspose(
        ("x",), "y", layer.weight, layer.bias, window.strides, pads, window.dilations, more, layer.groups
    )


@on_drawn_backend
@settings(max_examples=150, derandomize=True, deadline=None)
@given(layer=layers(), pick=PICKS)
def test_forward_and_adjoint_equal_loops(layer: ConvTranspose, names: tuple[str, ...], pick: int) -> None:
    rng, device = np.random.default_rng(0), backend(picked(names, pick))
    x, s = rng.standard_normal((2, *layer.in_shape)), rng.standard_normal((2, *layer.out_shape))
    found = device.get(layer.forward(device, [device.put(x)]))
    assert relative_error(found, conv_transpose(op_of(layer), x)) < 1e-13
    kernel = rng.standard_normal(layer.weight.shape)
    back = device.get(layer.adjoint(device, device.put(s), device.put(kernel)))
    for m in range(layer.in_shape[0]):
        rows = conv_transpose_design(op_of(layer), s, layer.in_shape[1:], m)
        np.testing.assert_allclose(back[:, m], rows @ kernel[m].ravel(), rtol=1e-12, atol=1e-12)


@on_drawn_backend
@settings(max_examples=150, derandomize=True, deadline=None)
@given(layer=layers(), pick=PICKS)
def test_the_parts_add_up_to_the_adjoint(layer: ConvTranspose, names: tuple[str, ...], pick: int) -> None:
    """Adjoints of stride-1 convolutions of the interleaved parts, with kernels that assemble to the block."""
    rng, device = np.random.default_rng(0), backend(picked(names, pick))
    s = device.put(rng.standard_normal((2, *layer.out_shape)))
    per_group = layer.in_shape[0] // layer.groups
    kernels = [rng.standard_normal((part.outputs, per_group, *part.window.kernel)) for part in layer.parts]
    total: Any = 0.0
    for part, signal, kernel in zip(layer.parts, layer.divided(device, s), kernels, strict=True):
        assert tuple(signal.shape[1:]) == (part.outputs, *part.locations)
        # What cuts boxes of rows counts from the begin of the padding.
        assert min(part.window.begin) >= 0
        total = total + conv_adjoint(device, signal, device.put(kernel), part.window, layer.groups, layer.in_shape[1:])
    block = device.put(layer.assembled(kernels))
    assert relative_error(device.get(total), device.get(layer.adjoint(device, s, block))) < 1e-13


@on_drawn_backend
@settings(max_examples=40, derandomize=True, deadline=None)
@given(layer=layers(), pick=PICKS)
def test_correlate_is_the_gradient_by_the_weight(layer: ConvTranspose, names: tuple[str, ...], pick: int) -> None:
    rng, device = np.random.default_rng(0), backend(picked(names, pick))
    x, s = rng.standard_normal((3, *layer.in_shape)), rng.standard_normal((3, *layer.out_shape))
    found = device.get(layer.correlate(device, device.put(x), device.put(s)))
    for m in range(layer.in_shape[0]):
        rows = conv_transpose_design(op_of(layer), s, layer.in_shape[1:], m)
        expected = rows.reshape(-1, rows.shape[-1]).T @ x[:, m].ravel()
        np.testing.assert_allclose(found[m].ravel(), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("window", "size", "groups", "channels"),
    [
        (Window((3, 3), (2, 2), (1, 1), (1, 1), (1, 1)), (96, 96), 1, (6, 4)),
        (Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1)), (96, 96), 1, (6, 4)),
        (Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), (64, 64), 6, (6, 6)),
    ],
)
def test_what_the_adjoint_holds(
    window: Window, size: tuple[int, ...], groups: int, channels: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many the samples."""
    monkeypatch.setattr(Backend, "block_bytes", 1 << 20)
    device, (o, m), locations = backend("numpy"), channels, window.output_size(size)
    kernel = np.ones((o, m // groups, *window.kernel))
    expected = forward_bytes(device, kernel.shape, locations, window, groups, size)
    x = np.ones((60, m, *size))
    tracemalloc.start()
    y = conv_forward(device, x, kernel, window, groups, locations)
    peak = tracemalloc.get_traced_memory()[1] - y.nbytes
    tracemalloc.stop()
    assert 0.5 * expected < peak < 1.1 * expected + 200_000
