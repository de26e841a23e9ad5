"""Files of weights: safetensors, with a JSON header that says which network, options and versions made them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from mipin_ref.errors import CorruptFile, InvalidData, MipinError
from mipin_ref.files import written_whole
from mipin_ref.reading import parse_json, reason, regular_file

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """What a file is: the name and version of its format, and what messages call it."""

    format: str
    version: int
    noun: str


INVERSE = Kind("mipin-inverse", 2, "a saved inverse")
PATTERNS = Kind("mipin-patterns", 1, "a file of patterns")

HEADER_BYTES = 16 << 20
"""Of a safetensors header, at most: for a hundred thousand tensors."""

_RECORDED = ("mipin_ref", "numpy", "scipy", "onnx", "onnxruntime")


def packages() -> dict[str, str]:
    """The versions that results depend on."""
    return {name: version(name) for name in _RECORDED}


def write(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Array], kind: Kind = INVERSE) -> None:
    """Write a file, whole or not at all; format, version and package versions are added to the header.

    Raises OSError where the disk refuses.
    """
    full = {"format": kind.format, "version": kind.version, "packages": packages(), **header}
    # safetensors writes the buffer as it lies, whatever the strides.
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content = safetensors.numpy.save(contiguous, {kind.format: json.dumps(full)})
    with written_whole(path) as file:
        file.write(content)


@contextmanager
def opened(path: Path, noun: str) -> Iterator[Any]:
    """A safetensors file, open for reading; noun: what messages call it.

    Raises CorruptFile where it is damaged, also while it is read in the block, or where its header is longer than is
    parsed; InvalidData where tensors do not fit in memory.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > HEADER_BYTES:
            raise ValueError(f"it claims a header of {length} bytes, which is more than is read")
        with safetensors.safe_open(path, framework="numpy") as found:
            yield found
    except MipinError:
        raise
    except MemoryError as error:
        raise InvalidData(f"{str(path)!r} does not fit in memory") from error
    except Exception as error:  # the library's own class has no common base with what damaged content finds in NumPy
        raise CorruptFile(f"{str(path)!r} is not {noun}, or is truncated or damaged: {reason(error)}") from error


def read(path: Path, kind: Kind = INVERSE) -> tuple[dict[str, Any], dict[str, Array]]:
    """Header and tensors of a file that `write` wrote.

    Raises InvalidData where there is no such file, CorruptFile where it is truncated, of another format or version.
    """
    regular_file(path)
    with opened(path, kind.noun) as file:
        told = (file.metadata() or {}).get(kind.format)
        if told is None:
            raise CorruptFile(f"{str(path)!r} is not {kind.noun}")
        header = parse_json(told, path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (kind.format, kind.version):
        found = header.get("version") if isinstance(header, dict) else None
        raise CorruptFile(f"{str(path)!r} has format version {found!r}; this package reads {kind.version}")
    return header, tensors
