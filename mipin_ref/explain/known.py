"""The preprocessing that a model's file, or a file beside it, tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipin_ref.data import Preprocessing
from mipin_ref.data.presets import PRESETS
from mipin_ref.errors import MipinError
from mipin_ref.explain.predict import Net
from mipin_ref.reading import parse_json, read_json

RANGES = {
    "NominalRange_0_255": PRESETS["raw"],
    "Normalized_0_1": PRESETS["unit"],
    "Normalized_1_1": PRESETS["inception"],
}
"""ONNX's own metadata of image models, `Image.NominalPixelRange` (onnx, docs/MetadataProps.md)."""


@dataclass(frozen=True)
class Known:
    """A preprocessing, and where it is told."""

    preprocessing: Preprocessing
    origin: str


def known_preprocessing(net: Net, model: Path | None) -> Known | None:
    """The preprocessing that the model's metadata tell, or a preprocessor_config.json or card.json beside `model`, or
    the model itself, where it divides pixels first of all: it takes them as they are.

    Metadata: `preprocessing` (a preset's name, or JSON as a card has it), `mean` and `std` of pixels divided by 255, or
    ONNX's `Image.NominalPixelRange` and `Image.BitmapPixelFormat`. What is told otherwise is passed over.
    """
    for read, origin in ((_of_metadata, "the model's metadata"), (_of_image_metadata, "the model's metadata")):
        if told := read(net.metadata):
            return Known(told, origin)
    if model is not None:
        for name, of in (("preprocessor_config.json", _of_config), ("card.json", _of_card)):
            path = model.parent / name
            if path.is_file() and (told := _tried(path, of)):
                return Known(told, name)
    if net.divides is not None:
        return Known(PRESETS["raw"], f"the model, which divides pixels by {net.divides:.4g} itself,")
    return None


def _of_metadata(metadata: Mapping[str, str]) -> Preprocessing | None:
    text = metadata.get("preprocessing", "")
    if text in PRESETS:
        return PRESETS[text]
    try:
        if text:
            return _record(parse_json(text, "metadata"))
        if "mean" in metadata and "std" in metadata:
            mean, std = (parse_json(metadata[key], "metadata") for key in ("mean", "std"))
            return Preprocessing(255.0, mean, std)
    except (MipinError, TypeError, ValueError):
        pass
    return None


def _of_image_metadata(metadata: Mapping[str, str]) -> Preprocessing | None:
    told = RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if told is None:
        return None
    bgr = metadata.get("Image.BitmapPixelFormat", "").startswith("Bgr")
    return Preprocessing(told.scale, told.mean, told.std, bgr=bgr)


def _tried(path: Path, of: Any) -> Preprocessing | None:
    try:
        stored = read_json(path)
        return of(stored) if isinstance(stored, dict) else None
    except (MipinError, TypeError, ValueError, ZeroDivisionError):
        return None


def _of_config(stored: Mapping[str, Any]) -> Preprocessing | None:
    """Hugging Face's: pixels times rescale_factor, less image_mean, divided by image_std, where they say so."""
    factor = stored.get("rescale_factor", 1 / 255) if stored.get("do_rescale", True) else 1.0
    normalised = stored.get("do_normalize", "image_mean" in stored)
    mean, std = (stored.get(key) if normalised else None for key in ("image_mean", "image_std"))
    if not ({"rescale_factor", "do_rescale", "image_mean"} & stored.keys()):
        return None
    # A factor is written with as many digits as a double has, and 255 is what is meant.
    scale = float(f"{1 / factor:.9g}")
    return Preprocessing(scale, mean, std)


def _of_card(stored: Mapping[str, Any]) -> Preprocessing | None:
    """This package's: `preprocessing` with scale, mean, std, bgr."""
    return _record(stored.get("preprocessing"))


def _record(told: Any) -> Preprocessing | None:
    if not isinstance(told, dict) or not told.keys() & {"scale", "mean", "std", "bgr"}:
        return None
    return Preprocessing(told.get("scale"), told.get("mean"), told.get("std"), bgr=bool(told.get("bgr", False)))
