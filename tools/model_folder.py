"""A trained network as a folder of models_onnx: model.onnx, calibration.npz and card.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Write content so that path never holds half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def write_folder(folder: Path, model: bytes, samples: bytes, card: Mapping[str, Any], sizes: str) -> None:
    """The three files, and a line on the card's accuracies and on sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.onnx", model)
    write_atomically(folder / "calibration.npz", samples)
    write_atomically(folder / "card.json", (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    accuracies = ", ".join(f"{split} {value:.4f}" for split, value in card["accuracy"].items())
    print(f"  accuracy: {accuracies}; {sizes}", flush=True)
