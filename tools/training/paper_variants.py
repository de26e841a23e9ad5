"""The paper's networks trained another way: what Table 1 depends on besides the inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from training.export import export, repeatable
from training.paper_models import fit, in_unit
from training.paper_networks import RECIPES
from training.sets import Dataset

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Training:
    """How a network is trained. dropout: the rate of all dropout layers, None for the recipe's; weight_decay: of Adam;
    epochs: times the recipe's; normalised: whether the network takes each channel less its mean, over its deviation.
    """

    dropout: float | None = None
    weight_decay: float = 0.0
    epochs: float = 1.0
    normalised: bool = False


def moments(x: NDArray[np.uint8], normalised: bool = True) -> tuple[Floats, Floats]:
    """Mean and deviation [C] of the channels of x [N, C, H, W] as floats in 0..1; 0 and 1 where not normalised."""
    channels = x.shape[1]
    if not normalised:
        return np.zeros(channels, np.float32), np.ones(channels, np.float32)
    # Sums of bytes and of their squares are exact in integers.
    planes = [x[:, c].astype(np.int64) for c in range(channels)]
    mean = np.array([plane.mean() for plane in planes]) / 255
    square = np.array([(plane**2).mean() for plane in planes]) / 255**2
    return mean.astype(np.float32), np.sqrt(square - mean**2).astype(np.float32)


def trained(name: str, training: Training, data: Dataset, images: int, seed: int) -> bytes:
    """Train a network of the paper on the first images with one thread, and give it as an ONNX file."""
    repeatable(1)
    torch.manual_seed(seed)
    recipe = RECIPES[name]
    model = recipe.build()
    if training.dropout is not None:
        for layer in model:
            if type(layer) is nn.Dropout:
                layer.p = training.dropout
    mean, deviation = (
        torch.from_numpy(of)[:, None, None] for of in moments(data.x_train[:images], training.normalised)
    )

    def prepared(stored: torch.Tensor) -> torch.Tensor:
        return (in_unit(stored) - mean) / deviation

    epochs = max(1, round(recipe.epochs * training.epochs))
    fit(model, data, epochs, seed, images=images, weight_decay=training.weight_decay, prepared=prepared)
    return export(model, data.x_train.shape[1:])


def recentred(content: bytes, mean: Floats, deviation: Floats) -> bytes:
    """Write the same function of (x - mean) / deviation in place of x, which the file takes: another first layer.

    content: a network of the paper, whose first layer, a convolution without padding or a dense layer on the flattened
    image, can take both into its weights and bias exactly.
    """
    proto = onnx.load_model_from_string(content)
    first = next(node for node in proto.graph.node if node.op_type in ("Conv", "Gemm"))
    stored = {one.name: one for one in proto.graph.initializer}
    weight, bias = (numpy_helper.to_array(stored[of]).astype(np.float64) for of in first.input[1:])
    # [outputs, channels, places]: of a dense layer the channels of a flattened image come first.
    by_channel = weight.reshape(len(weight), len(mean), -1)
    changed: dict[str, Any] = {
        first.input[1]: (by_channel * deviation[:, None]).reshape(weight.shape),
        first.input[2]: bias + (by_channel * mean[:, None]).sum(axis=(1, 2)),
    }
    for key, value in changed.items():
        stored[key].CopyFrom(numpy_helper.from_array(value.astype(np.float32), key))
    return bytes(proto.SerializeToString(deterministic=True))
