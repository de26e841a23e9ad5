"""Files of weights: safetensors, with a JSON header that says which network, options and versions made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.files import written_whole

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """What a file is: the name and version of its format, and what messages call it."""

    format: str
    version: int
    noun: str


INVERSE = Kind("mipin-inverse", 2, "a saved inverse")
PATTERNS = Kind("mipin-patterns", 1, "a file of patterns")

_RECORDED = ("mipin_ref", "numpy", "scipy", "onnx", "onnxruntime")


def packages() -> dict[str, str]:
    """The versions that results depend on."""
    return {name: version(name) for name in _RECORDED}


def write(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Array], kind: Kind = INVERSE) -> None:
    """Write a file, whole or not at all; format, version and package versions are added to the header.

    Raises InvalidData, naming the path, where it cannot be written.
    """
    full = {"format": kind.format, "version": kind.version, "packages": packages(), **header}
    # safetensors writes the buffer as it lies, whatever the strides.
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content = safetensors.numpy.save(contiguous, {kind.format: json.dumps(full)})
    with written_whole(path) as file:
        file.write(content)


def read(path: Path, kind: Kind = INVERSE) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and tensors of a file that `write` wrote.

    Raises InvalidData where there is no such file, CorruptFile where it is truncated, of another format or version.
    """
    if not path.is_file():
        raise InvalidData(f"there is no file {str(path)!r}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[kind.format])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except KeyError as error:
        raise CorruptFile(f"{str(path)!r} is not {kind.noun}") from error
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CorruptFile(f"{str(path)!r} is not {kind.noun}, or is truncated: {error}") from error
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (kind.format, kind.version):
        found = header.get("version") if isinstance(header, dict) else None
        raise CorruptFile(f"{str(path)!r} has format version {found!r}; this package reads {kind.version}")
    return header, tensors
