"""An LSTM that reads a digit row by row, trained with a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.keras import SOURCE_SIDE
from training.schedule import learning_rate

HIDDEN, CLASSES = 64, 10
BATCH, STEPS = 128, 1000


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
    optimiser = torch.optim.Adam(model.parameters())
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(0, len(images), (BATCH,), generator=rng)
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        optimiser.param_groups[0]["lr"] = learning_rate(step, steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
