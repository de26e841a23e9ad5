"""A small network that recognises images of coloured noise, and a folder of them, for the grid pointing game."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

from paper import photographs
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Conv, Dense, GlobalAveragePool, MaxPool, Op, Reshape

SIDE = 24
CLASSES = 16


def residual(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> bytes:
    """Conv, a residual block, global average pooling and a Dense of weight [8, classes]; maps of 24×24, then 12×12."""
    rng = np.random.default_rng(0)

    def conv(source: str, name: str, inputs: int, outputs: int) -> Conv:
        kernel = rng.standard_normal((outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
        return Conv((source,), name, kernel, bias=rng.standard_normal(outputs) / 4, pads=(1, 1, 1, 1))

    ops: list[Op] = [
        conv("input", "stem", 3, 8),
        Activation(("stem",), "stem relu", "Relu"),
        MaxPool(("stem relu",), "pool", (2, 2), (2, 2)),
        conv("pool", "inner", 8, 8),
        Activation(("inner",), "inner relu", "Relu"),
        conv("inner relu", "branch", 8, 8),
        Add(("pool", "branch"), "sum"),
        Activation(("sum",), "features", "Relu"),
        GlobalAveragePool(("features",), "average"),
        Reshape(("average",), "flat", (8,)),
        Dense(("flat",), "scores", weight, bias=bias),
    ]
    model: bytes = to_onnx(ops, (3, SIDE, SIDE)).SerializeToString()
    return model


def logits_of(model: Path) -> Any:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})[0]


def recognisable(folder: Path, *, twice: bool = False) -> tuple[Path, Path]:
    """A model that recognises images by their features, and the folder of them: one a class, the first misnamed.

    twice: the right half of each image shows the left one once more, by other pixels, of one in opposite colours.
    """
    rng = np.random.default_rng(1)
    for i in range(CLASSES):
        coarse = rng.uniform(0, 155, 3) + rng.uniform(0, 100, (4, 4, 3))
        image = Image.fromarray(coarse.astype(np.uint8)).resize((40, 32), Image.Resampling.BICUBIC)
        if twice:
            again = image.rotate(2, Image.Resampling.BICUBIC, fillcolor=tuple(coarse.mean(axis=(0, 1)).astype(int)))
            image = Image.fromarray(
                np.hstack([np.asarray(image), np.asarray(ImageOps.invert(again) if i == 5 else again)])
            )
        image.save(folder / f"{i:02d}_{i or 1}.jpg")
    model = folder / "model.onnx"
    model.write_bytes(residual(np.eye(8), np.zeros(8)))
    shown = [one.pixels[:, :40] for one in photographs.photographs(folder)]
    x = np.stack([photographs.prepared(one, SIDE) for one in shown])
    features = logits_of(model)(x).astype(np.float64)
    # The nearest one's |f - f_i|² = |f|² - 2 f·f_i + |f_i|² is the smallest.
    model.write_bytes(residual(2 * features.T, -(features**2).sum(axis=1)))
    return model, folder
