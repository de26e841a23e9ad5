"""The paper's recipe minimises what the engine solves: the same geometry, the same objective, from above."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import mipin_ref as mr
from benchmarks import paper_recipe as recipe
from benchmarks import signals
from mipin_ref.backend import get_backend
from mipin_ref.layers import Conv
from mipin_ref.layers.conv.adjoint import conv_adjoint
from mipin_ref.window import Window
from tests.networks import to_onnx
from tests.oracles import spec

WINDOWS = [
    Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1)),
    Window((3, 2), (2, 3), (1, 0), (0, 1), (1, 1)),
    Window((3, 3), (2, 2), (2, 1), (1, 2), (1, 2)),
    Window((1, 1), (3, 3), (0, 0), (0, 0), (1, 1)),
]
RIDGE = 0.5


def layer(window: Window, groups: int = 1) -> Conv:
    """4 channels of 9×8 to 6 channels."""
    rng = np.random.default_rng(0)
    return Conv(
        name="conv",
        inputs=("x",),
        output="y",
        in_shapes=((4, 9, 8),),
        out_shape=(6, *window.output_size((9, 8))),
        weight=rng.standard_normal((6, 4 // groups, *window.kernel)),
        bias=np.zeros(6),
        window=window,
        groups=groups,
    )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", WINDOWS, ids=Window.describe)
def test_its_reconstruction_is_the_adjoint(window: Window, groups: int) -> None:
    conv, rng = layer(window, groups), np.random.default_rng(1)
    s, x = rng.standard_normal((2, *conv.out_shape)), rng.standard_normal((2, *conv.in_shape))
    kernel = torch.from_numpy(np.asarray(conv.weight))
    image = recipe.reconstruct(torch.from_numpy(s), kernel, conv).numpy()
    backend = get_backend("numpy")
    expected = conv_adjoint(backend, s, conv.weight, window, groups, conv.in_shape[1:])
    np.testing.assert_allclose(image, expected, rtol=1e-12, atol=1e-12)
    # And the adjoint of torch's own convolution: <S, conv(x)> = <X̂(S), x>.
    (top, left), (bottom, right) = window.begin, window.end
    padded = torch.nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    forward = torch.nn.functional.conv2d(padded, kernel, None, window.strides, 0, window.dilations, groups).numpy()
    assert np.sum(s * forward) == pytest.approx(np.sum(image * x), rel=1e-12)


@pytest.fixture(scope="module")
def given() -> Any:
    """S and X [60, ...] of the convolution of a small network, in memory."""
    rng = np.random.default_rng(2)
    ops: list[spec.Op] = [
        spec.Conv(("input",), "conv", rng.standard_normal((5, 2, 3, 3)), bias=rng.standard_normal(5)),
        spec.Activation(("conv",), "relu", "Relu"),
        spec.Reshape(("relu",), "flat", (5 * 16,)),
        spec.Dense(("flat",), "scores", rng.standard_normal((5 * 16, 3)), bias=np.zeros(3)),
    ]
    net = mr.load(to_onnx(ops, (2, 6, 6)))
    x = rng.standard_normal((60, 2, 6, 6)).astype(np.float32)
    inverse = mr.fit(net, x, 1)
    (step,) = signals.steps(inverse, "Conv")
    with signals.regression(inverse, step, x) as stored:
        return signals.in_memory(stored, "float32")


def objective(given: Any, kernel: NDArray[Any]) -> Any:
    """N times the recipe's loss, and its gradient, in float64."""
    weights = torch.from_numpy(np.array(kernel, np.float64)).requires_grad_(True)
    s, x = (torch.from_numpy(np.array(a, np.float64)) for a in (given.signal, given.value))
    loss = recipe.mean_loss(s, x, weights, given.layer, RIDGE / len(x)) * len(x)
    loss.backward()
    assert weights.grad is not None
    return float(loss.detach()), weights.grad.numpy()


def test_its_loss_is_the_engines_objective_and_least_at_the_engines_weights(given: Any) -> None:
    solved = signals.solve(given, "float64", RIDGE, batch=25)
    (kernel,) = solved.weights.blocks
    loss, gradient = objective(given, kernel)
    assert loss == pytest.approx(solved.squared_error + RIDGE * np.sum(kernel**2), rel=1e-9)
    _, elsewhere = objective(given, kernel + 0.01)
    assert np.abs(gradient).max() < 1e-9 * np.abs(elsewhere).max()
    error = recipe.squared_error(given.signal, given.value, kernel, given.layer)
    assert error == pytest.approx(solved.squared_error, rel=1e-9)


@pytest.mark.slow
def test_training_comes_down_to_the_exact_solution(given: Any) -> None:
    solved = signals.solve(given, "float64", RIDGE, batch=60)
    least, _ = objective(given, solved.weights.blocks[0])
    zero, _ = objective(given, np.zeros_like(solved.weights.blocks[0]))
    above = []
    for epochs in (2, 10, 60, 400):
        asked = recipe.Recipe(epochs=epochs, batch=20, rate=1e-3, ridge=RIDGE)
        trained = recipe.train(given.signal, given.value, given.layer, asked)
        assert len(trained.losses) == epochs
        above.append((objective(given, trained.kernel)[0] - least) / (zero - least))
    assert all(a > b for a, b in pairwise(above))
    assert above[0] < 1
    assert 0 < above[-1] < 0.02


def test_an_epoch_reads_every_image_once_and_a_seed_repeats_it(given: Any) -> None:
    class Counted(np.ndarray[Any, Any]):
        """Notes which rows are read."""

        seen: list[int] = []  # noqa: RUF012

        def __getitem__(self, rows: Any) -> Any:
            if isinstance(rows, np.ndarray):
                self.seen.extend(rows.tolist())
            return np.asarray(self)[rows]

    asked = recipe.Recipe(epochs=1, batch=7, seed=3)
    first = recipe.train(given.signal, given.value.view(Counted), given.layer, asked)
    assert sorted(Counted.seen) == list(range(60))
    assert Counted.seen != list(range(60))
    np.testing.assert_array_equal(recipe.train(given.signal, given.value, given.layer, asked).kernel, first.kernel)
    other = recipe.Recipe(epochs=1, batch=7, seed=4)
    assert not np.array_equal(recipe.train(given.signal, given.value, given.layer, other).kernel, first.kernel)
