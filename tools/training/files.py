"""Where the embedded networks lie, and how a file or a network's folder is written: whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MODELS = Path(__file__).resolve().parents[2] / "models_onnx"


def write_whole(path: Path, content: bytes) -> None:
    """Write content so that path never holds half a file, and nothing else is left beside it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def packed(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Compress arrays into the bytes of an npz. Raises ValueError for those of objects, which would be pickled."""
    buffer = io.BytesIO()
    # The option that says so, allow_pickle, is another array's name to NumPy 2.0.
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"array {name} holds objects")
    stored: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer, **stored)
    return buffer.getvalue()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def write_folder(folder: Path, model: bytes, samples: bytes, card: Mapping[str, Any], sizes: str) -> None:
    """Write a network as a folder of models_onnx, model.onnx, calibration.npz and card.json, and print its accuracies
    and sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "model.onnx", model)
    write_whole(folder / "calibration.npz", samples)
    write_whole(folder / "card.json", (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    accuracies = ", ".join(f"{split} {value:.4f}" for split, value in card["accuracy"].items())
    print(f"  accuracy: {accuracies}; {sizes}", flush=True)
