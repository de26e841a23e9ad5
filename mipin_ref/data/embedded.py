"""The models that come with the package, each with its card and a small calibration set."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.reading import read_json

FOLDER = "models_onnx"
FILES = ("model.onnx", "card.json", "calibration.npz")


@dataclass(frozen=True)
class Builtin:
    """An embedded model.

    model: the ONNX file; card: how it was made; calibration: .npz of x [N, ...] uint8, y [N], x_test, y_test.
    """

    model: Path
    card: dict[str, Any]
    calibration: Path


def builtin_names() -> list[str]:
    """The names of the embedded models, sorted.

    >>> import mipin_ref as mr
    >>> "mnist_cnn" in mr.data.builtin_names()
    True
    """
    return sorted(_folders())


def builtin(name: str) -> Builtin:
    """The embedded model `name`. Raises InvalidData that lists the names, CorruptFile where the card is not JSON.

    >>> import mipin_ref as mr
    >>> mr.data.builtin("mnist_cnn").model.name
    'model.onnx'
    """
    folders = _folders()
    if not isinstance(name, str) or name not in folders:
        available = ", ".join(sorted(folders)) or "none in this installation"
        raise InvalidData(f"no embedded model {shown(name)}; available: {available}")
    model, card_file, calibration = (folders[name] / file for file in FILES)
    card = read_json(card_file)
    if not isinstance(card, dict):
        raise CorruptFile(f"{card_file}: a model card is a JSON object, not a {type(card).__name__}")
    return Builtin(model=model, card=card, calibration=calibration)


def _roots() -> tuple[Path, ...]:
    """Where models may lie: inside an installed package, or beside it in a checkout; the first one wins."""
    package = Path(str(resources.files("mipin_ref.data"))).parent
    return package / FOLDER, package.parent / FOLDER


def _folders() -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for root in _roots():
        if root.is_dir():
            for folder in root.iterdir():
                if all((folder / file).is_file() for file in FILES):
                    folders.setdefault(folder.name, folder)
    return folders
