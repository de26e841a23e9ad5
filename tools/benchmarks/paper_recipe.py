"""The paper's own way to a convolutional inverse: its kernel trained by gradient descent (section 5), in torch.

Minimises the mean over images of ‖X - X̂‖², X̂ the adjoint convolution of S with a kernel K (Eq. 7), and the ridge of
Eq. 6 shared out among the images, by Adam on shuffled mini-batches for 20 epochs. N times that mean is the objective
that the engine minimises exactly. The paper names neither batch nor learning rate nor initial kernel: `Recipe` does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mipin_ref.layers import Conv

Floats = NDArray[np.floating[Any]]

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Recipe:
    """rate: Adam's learning rate; ridge: λ >= 0, absolute, on sums; seed: of the order of images.

    On 2,000 digits a rate of 0.01 ends lower than 0.003, and 0.001 far higher; with more images, and so more steps, the
    smaller one has time to arrive and fluctuates less.
    """

    epochs: int = 20
    batch: int = 128
    rate: float = 3e-3
    ridge: float = 1e-3
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Trained:
    """kernel: [o, m / groups, *kernel]; seconds: of the steps, without fetching batches; losses: an epoch each."""

    kernel: NDArray[np.float32]
    seconds: float
    losses: tuple[float, ...]


def reconstruct(signal: Any, kernel: Any, layer: Conv) -> Any:
    """X̂ [n, m, h, w], the adjoint of a 2-D convolution on exactly its input's grid, from S [n, o, *map]."""
    window = layer.window
    canvas = functional.conv_transpose2d(
        signal, kernel, stride=window.strides, dilation=window.dilations, groups=layer.groups
    )
    (top, left), (height, width) = window.begin, layer.in_shape[1:]
    # What no output touches lies beyond the canvas, and is zero.
    missing = [max(0, b + n - have) for b, n, have in zip((top, left), (height, width), canvas.shape[2:], strict=True)]
    canvas = functional.pad(canvas, (0, missing[1], 0, missing[0]))
    return canvas[:, :, top : top + height, left : left + width]


def mean_loss(signal: Any, value: Any, kernel: Any, layer: Conv, penalty: float) -> Any:
    """The mean over images of ‖X - X̂‖², plus penalty·‖K‖²: λ / N for the ridge λ on sums over N images."""
    error = value - reconstruct(signal, kernel, layer)
    return (error * error).sum() / len(value) + penalty * (kernel * kernel).sum()


def train(signal: Floats, value: Floats, layer: Conv, recipe: Recipe) -> Trained:
    """Fit K to S [N, o, *map] and X [N, m, h, w], float32 arrays or maps of files."""
    order = np.random.default_rng(recipe.seed)
    # The problem is convex, so zero is as good a start as any; it ended lower than torch's random one for convolutions.
    kernel = torch.zeros(layer.weight.shape, device=recipe.device, requires_grad=True)
    optimizer = torch.optim.Adam([kernel], lr=recipe.rate)
    penalty, seconds, losses = recipe.ridge / len(value), 0.0, []
    for _ in range(recipe.epochs):
        shuffled, total = order.permutation(len(value)), torch.zeros((), dtype=torch.float64, device=recipe.device)
        for first in range(0, len(value), recipe.batch):
            # Sorted, a batch is read from a file in one direction; which images it holds stays random.
            rows = np.sort(shuffled[first : first + recipe.batch])
            s, x = (torch.from_numpy(np.asarray(a[rows])).to(recipe.device) for a in (signal, value))
            began = time.perf_counter()
            optimizer.zero_grad()
            loss = mean_loss(s, x, kernel, layer, penalty)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            if recipe.device != "cpu":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - began
        losses.append(float(total) / len(value))
    return Trained(kernel.detach().cpu().numpy(), seconds, tuple(losses))


def squared_error(signal: Floats, value: Floats, kernel: Floats, layer: Conv) -> float:
    """Σ‖X - X̂‖² of any kernel, in float64."""
    weights, total = torch.from_numpy(np.asarray(kernel, np.float64)), 0.0
    for first in range(0, len(value), EVALUATION_BATCH):
        rows = slice(first, first + EVALUATION_BATCH)
        s, x = (torch.from_numpy(np.array(a[rows], np.float64)) for a in (signal, value))
        total += float(((x - reconstruct(s, weights, layer)) ** 2).sum())
    return total
