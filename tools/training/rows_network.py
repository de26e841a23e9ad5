"""An LSTM that reads a digit row by row, trained with a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.descent import descend
from training.keras import SOURCE_SIDE

HIDDEN, CLASSES = 64, 10
STEPS = 1000


class RowReader(nn.Module):  # type: ignore[misc]
    """Images [N, 28, 28] to logits [N, 10], read off the last row's step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.end = nn.LSTM(SOURCE_SIDE, HIDDEN, batch_first=True), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.end(self.lstm(x)[0][:, -1])


def trained(x: NDArray[np.float32], y: NDArray[np.int64], seed: int, steps: int = STEPS) -> Any:
    """The network, trained on images x [N, 28, 28] in 0..1 and their labels y [N]."""
    torch.manual_seed(seed)
    model = RowReader()
    images, labels = torch.from_numpy(x), torch.from_numpy(y)

    def loss_of(rows: Any, rng: Any) -> Any:
        return nn.functional.cross_entropy(model(images[rows]), labels[rows])

    descend(torch.optim.Adam(model.parameters()), len(images), seed, steps, loss_of)
    return model.eval()
