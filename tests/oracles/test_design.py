"""The oracle's design matrices, unpooling and least squares against torch, scikit-learn and the normal equations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.networks import random_window
from tests.oracles.design import block_design, conv_design, pull_back, ridge_fit, unpool
from tests.oracles.forward import apply_op, pool_switches
from tests.oracles.spec import (
    ALL,
    LRN,
    Array,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Pad,
    Shape,
    Slice,
    Transpose,
    element,
)


def torch_adjoint(op: Conv, kernel: Array, signal: Array, size: Shape) -> Array:
    """torch's transposed convolution without padding, cropped or zero-filled to the input's grid.

    kernel: [O, I/groups, *kernel]; signal: [N, O, *out]; returns [N, I, *size].
    """
    torch = pytest.importorskip("torch")
    transposed = getattr(torch.nn.functional, f"conv_transpose{len(size)}d")
    full = transposed(
        torch.from_numpy(signal),
        torch.from_numpy(np.ascontiguousarray(kernel)),
        stride=op.window.strides,
        dilation=op.window.dilations,
        groups=op.groups,
    ).numpy()
    result = np.zeros((*full.shape[:2], *(b + n for b, n in zip(op.window.begins, size, strict=True))))
    overlap = tuple(slice(min(a, b)) for a, b in zip(full.shape[2:], result.shape[2:], strict=True))
    result[element(ALL, ALL, *overlap)] = full[element(ALL, ALL, *overlap)]
    return result[element(ALL, ALL, *(slice(begin, None) for begin in op.window.begins))]


def explicit_adjoint(op: Conv, kernel: Array, signal: Array, size: Shape) -> Array:
    """X̂ = D w, channel by channel: Eq. 7 through conv_design."""
    channels = op.weight.shape[1] * op.groups
    per_group = op.weight.shape[0] // op.groups
    result = np.zeros((len(signal), channels, *size))
    for m in range(channels):
        group, local = divmod(m, op.weight.shape[1])
        weights = kernel[group * per_group : (group + 1) * per_group, local].reshape(-1)
        result[:, m] = conv_design(op, signal, size, m) @ weights
    return result


@st.composite
def conv_cases(draw: st.DrawFn) -> tuple[Conv, Array, Array, Shape]:
    """A Conv of any geometry, a kernel K, a signal and the input's spatial size."""

    def integer(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    rank = integer(1, 3)
    size = tuple(integer(1, {1: 9, 2: 5, 3: 4}[rank]) for _ in range(rank))
    geometry = random_window(integer, size, pooling=False)
    groups = integer(1, 2)
    shape = (groups * integer(1, 2), integer(1, 2), *geometry.kernel)
    rng = np.random.default_rng(integer(0, 99))
    op = Conv(
        ("x",),
        "y",
        rng.standard_normal(shape),
        None,
        geometry.strides,
        geometry.begins + geometry.ends,
        geometry.dilations,
        groups,
    )
    signal = rng.standard_normal((2, shape[0], *geometry.output_size(size)))
    return op, rng.standard_normal(shape), signal, size


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conv_cases())
def test_conv_design_is_torchs_transposed_convolution(case: tuple[Conv, Array, Array, Shape]) -> None:
    np.testing.assert_allclose(explicit_adjoint(*case), torch_adjoint(*case), rtol=1e-12, atol=1e-12)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conv_cases())
def test_conv_design_is_the_adjoint_of_the_forward_loops(case: tuple[Conv, Array, Array, Shape]) -> None:
    """⟨conv(x), s⟩ = ⟨x, adjoint(s)⟩ with the forward weight as kernel."""
    op, _, signal, size = case
    x = np.random.default_rng(0).standard_normal((len(signal), op.weight.shape[1] * op.groups, *size))
    left = float(np.sum(apply_op(op, [x]) * signal))
    assert left == pytest.approx(float(np.sum(x * explicit_adjoint(op, op.weight, signal, size))), abs=1e-9)


@pytest.mark.parametrize(
    "mutant",
    [
        lambda op, kernel: (op, kernel[:, :, ::-1, ::-1]),
        lambda op, kernel: (op, kernel[:, ::-1]),
        lambda op, kernel: (op, kernel.swapaxes(2, 3)),
        lambda op, kernel: (replace(op, pads=(1, 0, 1, 2)), kernel),
        lambda op, kernel: (replace(op, pads=(0, 2, 1, 1)), kernel),
        lambda op, kernel: (replace(op, dilations=(1, 2), pads=(1, 2, 0, 1)), kernel),
        lambda op, kernel: (replace(op, strides=(1, 2), pads=(1, 2, 0, 1)), kernel),
    ],
    ids=["flipped", "channels", "transposed", "pads", "begin-end", "dilations", "strides"],
)
def test_a_wrong_geometry_would_show(mutant: object) -> None:
    """The check of the transposed convolution fails for each of these mistakes."""
    rng = np.random.default_rng(3)
    size = (7, 7)
    op = Conv(("x",), "y", np.zeros((2, 2, 3, 3)), None, (2, 1), (1, 2, 1, 0), (2, 1))
    kernel = rng.standard_normal((2, 2, 3, 3))
    signal = rng.standard_normal((2, 2, *op.window.output_size(size)))
    right = torch_adjoint(op, kernel, signal, size)
    np.testing.assert_allclose(explicit_adjoint(op, kernel, signal, size), right, rtol=1e-12, atol=1e-12)
    assert callable(mutant)
    wrong, wrong_kernel = mutant(op, kernel)
    outputs = wrong.window.output_size(size)
    moved = np.zeros((2, 2, *outputs))
    shared = tuple(slice(min(a, b)) for a, b in zip(outputs, signal.shape[2:], strict=True))
    moved[element(ALL, ALL, *shared)] = signal[element(ALL, ALL, *shared)]
    assert np.abs(explicit_adjoint(wrong, wrong_kernel, moved, size) - right).max() > 0.1


def test_a_kernel_is_recovered_only_with_the_right_geometry() -> None:
    """A tensor that is the adjoint of a signal is reconstructed exactly; with a flipped tap order it is not."""
    rng = np.random.default_rng(4)
    op = Conv(("x",), "y", np.zeros((2, 1, 3)), None, (2,), (1, 0))
    kernel = rng.standard_normal((2, 1, 3))
    signal = rng.standard_normal((5, 2, *op.window.output_size((7,))))
    x = torch_adjoint(op, kernel, signal, (7,))
    design = conv_design(op, signal, (7,), 0).reshape(5 * 7, -1)
    weights, _ = ridge_fit(design, x.reshape(-1), 0.0, False)
    np.testing.assert_allclose(weights, kernel.reshape(-1), rtol=1e-10)
    flipped = conv_design(op, signal, (7,), 0).reshape(5, 7, -1)[:, ::-1].reshape(5 * 7, -1)
    wrong, _ = ridge_fit(flipped, x.reshape(-1), 0.0, False)
    assert np.linalg.norm(flipped @ wrong - x.reshape(-1)) > 0.3 * np.linalg.norm(x)


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 50.0])
def test_dense_fit_is_sklearns_ridge(ridge: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(5)
    signal, x = rng.standard_normal((20, 4)) + 1, rng.standard_normal((20, 6)) + 2
    op = Dense(("x",), "y", np.zeros((6, 4)))
    model = linear_model.Ridge(alpha=ridge, solver="svd").fit(signal, x)
    for f in range(6):
        weights, intercept = ridge_fit(block_design(op, 0, signal, [(6,)], None, f), x[:, f], ridge, True)
        np.testing.assert_allclose(weights, model.coef_[f], rtol=1e-10)
        assert intercept == pytest.approx(float(model.intercept_[f]), rel=1e-10)


def gradient(design: Array, wanted: Array, ridge: float, weights: Array, intercept: float) -> Array:
    """Half the gradient of ‖wanted − design w − b‖² + ridge ‖w‖², for w and then b."""
    residual = design @ weights + intercept - wanted
    return np.append(design.T @ residual + ridge * weights, residual.sum())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 12), st.integers(1, 8), st.sampled_from([0.0, 1e-6, 1e-3, 1.0]), st.booleans(), st.integers(0, 999)
)
def test_fits_solve_the_normal_equations(rows: int, unknowns: int, ridge: float, intercept: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((rows, unknowns)) * (rng.random((rows, unknowns)) < 0.6)
    wanted = rng.standard_normal(rows) + 1
    weights, offset = ridge_fit(design, wanted, ridge, intercept)
    slope = gradient(design, wanted, ridge, weights, offset)
    # A nearly singular unridged system has weights, and so rounding, as large as its condition number.
    scale = 1e-11 * (1 + np.abs(weights).max())
    assert np.abs(slope[:unknowns]).max() < scale
    assert abs(slope[unknowns]) < scale if intercept else offset == 0


@pytest.mark.parametrize("intercept", [False, True])
def test_without_ridge_the_weights_have_minimum_norm(intercept: bool) -> None:
    rng = np.random.default_rng(6)
    base = rng.standard_normal((9, 2)) + 1
    design = np.concatenate([base, base, np.zeros((9, 1)), base[:, :1] - base[:, 1:]], axis=1)
    wanted = rng.standard_normal(9)
    weights, offset = ridge_fit(design, wanted, 0.0, intercept)
    assert np.abs(gradient(design, wanted, 0.0, weights, offset)[:-1]).max() < 1e-10
    limit, limit_offset = ridge_fit(design, wanted, 1e-9, intercept)
    np.testing.assert_allclose(weights, limit, atol=1e-6)
    assert offset == pytest.approx(limit_offset, abs=1e-6)
    np.testing.assert_allclose(weights[:2], weights[2:4], atol=1e-12)
    assert weights[4] == 0


def torch_pool_gradient(op: MaxPool, x: Array, signal: Array) -> Array:
    torch = pytest.importorskip("torch")
    leaf = torch.from_numpy(x).requires_grad_()
    begins, ends = op.window.begins, op.window.ends
    assert begins == ends
    pooled = torch.nn.functional.max_pool2d(leaf, op.kernel, op.strides, begins, op.window.dilations, op.ceil_mode)
    pooled.backward(torch.from_numpy(signal))
    return np.asarray(leaf.grad.numpy(), dtype=np.float64)


@pytest.mark.parametrize("ties", [False, True])
def test_unpooling_is_torchs_max_pool_backward(ties: bool) -> None:
    rng = np.random.default_rng(7)
    x = rng.integers(0, 2, (2, 3, 6, 7)).astype(np.float64) if ties else rng.standard_normal((2, 3, 6, 7))
    op = MaxPool(("x",), "y", (2, 3), (2, 3))
    signal = rng.standard_normal((2, 3, *op.window.output_size((6, 7))))
    np.testing.assert_array_equal(
        unpool(pool_switches(op, x), signal, (6, 7)), torch_pool_gradient(op, x, signal), strict=True
    )


def test_overlapping_windows_give_the_mean() -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((2, 3, 6, 7))
    op = MaxPool(("x",), "y", (3, 3), (1, 2), (1, 1, 1, 1), (), True)
    signal = rng.standard_normal((2, 3, *op.window.output_size((6, 7))))
    total, count = torch_pool_gradient(op, x, signal), torch_pool_gradient(op, x, np.ones(signal.shape))
    assert count.max() > 1
    np.testing.assert_allclose(
        unpool(pool_switches(op, x), signal, (6, 7)), total / np.maximum(count, 1), rtol=1e-12, atol=1e-12
    )


def stacked(designs: Sequence[Array], size: Shape) -> Array:
    return np.stack([design.reshape(-1, *size) for design in designs], axis=1)


def test_pools_over_the_whole_map_agree() -> None:
    rng = np.random.default_rng(9)
    signal = rng.standard_normal((2, 3, 1, 1))
    whole, everywhere = AveragePool(("x",), "y", (4, 5)), GlobalAveragePool(("x",), "y")
    left, right = (
        stacked([block_design(op, 0, signal, [(3, 4, 5)], None, m) for m in range(3)], (4, 5))
        for op in (whole, everywhere)
    )
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(right, np.broadcast_to(signal, right.shape))


def test_average_pool_takes_the_mean_of_the_covering_windows() -> None:
    signal = np.array([[[2.0, 4.0]]])
    overlapping = AveragePool(("x",), "y", (3,), (2,))
    gaps = AveragePool(("x",), "y", (2,), (3,))
    assert block_design(overlapping, 0, signal, [(1, 5)], None, 0)[:, 0].tolist() == [2, 2, 3, 4, 4]
    assert block_design(gaps, 0, signal, [(1, 5)], None, 0)[:, 0].tolist() == [2, 2, 0, 4, 4]


def test_channel_affine_and_rows_of_the_design() -> None:
    signal = np.arange(12.0).reshape(2, 3, 2)
    op = ChannelAffine(("x",), "y", np.ones(3), np.ones(3))
    assert block_design(op, 0, signal, [(3, 2)], None, 1)[:, 0].tolist() == [2, 3, 8, 9]


def test_shape_ops_are_undone() -> None:
    rng = np.random.default_rng(10)
    x = rng.standard_normal((2, 3, 4, 5))
    op = Transpose(("x",), "y", (0, 2, 3, 1))
    np.testing.assert_array_equal(pull_back(op, 0, apply_op(op, [x]), [(3, 4, 5)], None), x)
    both = [x, rng.standard_normal((2, 2, 4, 5))]
    join = Concat(("a", "b"), "y", 1)
    for slot in range(2):
        np.testing.assert_array_equal(
            pull_back(join, slot, apply_op(join, both), [part.shape[1:] for part in both], None), both[slot]
        )
    assert math.isclose(float(np.sum(x)), float(np.sum(apply_op(op, [x]))))


BOXES = [((0, 1, 0), (3, 3, 5)), ((1, 0, 2), (2, 4, 5)), ((0, 0, 0), (3, 4, 1))]


@pytest.mark.parametrize(("begin", "end"), BOXES)
def test_slices_and_pads_of_zeros_are_undone_by_each_other(begin: Shape, end: Shape) -> None:
    """Their pulled-back signals are their adjoints: ⟨f(x), s⟩ = ⟨x, back(s)⟩, and f(back(s)) = s."""
    rng = np.random.default_rng(11)
    size = (3, 4, 5)
    for op in (Slice(("x",), "y", begin, end), Pad(("x",), "y", begin, tuple(n - 1 for n in end))):
        x = rng.standard_normal((2, *size))
        y = apply_op(op, [x])
        signal = rng.standard_normal(y.shape)
        back = pull_back(op, 0, signal, [size], None)
        assert back.shape == x.shape
        assert float(np.sum(y * signal)) == pytest.approx(float(np.sum(x * back)), abs=1e-12)
        inside = apply_op(replace(op, value=0.0), [back]) if isinstance(op, Pad) else apply_op(op, [back])
        reached = apply_op(op, [np.ones(x.shape)])
        np.testing.assert_array_equal(inside, signal * reached)
        columns = stacked([block_design(op, 0, signal, [size], None, m) for m in range(3)], size[1:])
        np.testing.assert_array_equal(columns, back)


def test_a_padded_constant_is_dropped() -> None:
    op = Pad(("x",), "y", (0, 1), (1, 0), 7.0)
    assert apply_op(op, [np.array([[[1.0, 2.0]]])])[0].tolist() == [[7, 1, 2], [7, 7, 7]]
    signal = np.arange(6.0).reshape(1, 2, 3)
    assert pull_back(op, 0, signal, [(1, 2)], None)[0].tolist() == [[1, 2]]


def test_response_normalisation_passes_the_signal() -> None:
    signal = np.random.default_rng(12).standard_normal((2, 3, 4))
    np.testing.assert_array_equal(pull_back(LRN(("x",), "y", 3), 0, signal, [(3, 4)], None), signal)


def test_dilated_average_pool_takes_the_mean_of_the_covering_windows() -> None:
    dilated = AveragePool(("x",), "y", (2,), (1,), (), dilations=(3,))
    signal = np.array([[[2.0, 4.0]]])
    assert block_design(dilated, 0, signal, [(1, 5)], None, 0)[:, 0].tolist() == [2, 4, 0, 2, 4]
