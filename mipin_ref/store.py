"""Files of weights: safetensors, with a JSON header that says which network, options and versions made them.

**Whole or refused.** The header holds two checksums. `digest`, over all of the header but the two and what stands
`beside`, and over every tensor's name, dtype, shape and bytes, says what the file holds: it is equal where the same was
found again. `seal`, over the bytes of the safetensors header as they lie in the file (its length, names, offsets,
padding, and this header with `digest` in it), is looked at before anything is parsed. Together no bit is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
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
from mipin_ref.reading import decoding, parse_json, reason, regular_file
from mipin_ref.seal import OPEN, has_seal, is_whole, sealed

LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header, little-endian."""


@dataclass(frozen=True)
class Kind:
    """What a file is: the name and version of its format, and what messages call it.

    sealed: whether it holds its own checksums; else another file holds one of it.
    """

    format: str
    version: int
    noun: str
    sealed: bool = True


INVERSE = Kind("mipin-inverse", 3, "a saved inverse")
INVERSES = Kind("mipin-inverses", 1, "a file of inverses")
PATTERNS = Kind("mipin-patterns", 2, "a file of patterns")

HEADER_BYTES = 16 << 20
"""The most bytes of a safetensors header: for a hundred thousand tensors."""

_RECORDED = ("mipin_ref", "numpy", "scipy", "onnx", "onnxruntime")
_UNSIGNED = ("seal", "digest", "beside")
"""What of a header the digest is not of."""


def packages() -> dict[str, str]:
    """The versions that results depend on."""
    return {name: version(name) for name in _RECORDED}


def digest(header: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """The SHA-256 of what a file holds, however it is laid out there."""
    told = {name: value for name, value in header.items() if name not in _UNSIGNED}
    checksum = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        checksum.update(f"\n{json.dumps(name)} {tensor.dtype.str} {list(tensor.shape)}\n".encode())
        checksum.update(tensor.data)
    return checksum.hexdigest()


def write(
    path: str | Path,
    header: Mapping[str, Any],
    tensors: Mapping[str, npt.NDArray[Any]],
    kind: Kind = INVERSE,
    *,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Write a file, whole or not at all; format, version, package versions and checksums are added to the header.

    beside: what is kept in the header but not signed by the digest, such as the time something took.
    Raises InvalidData, naming the path, where it cannot be written.
    """
    full = {"format": kind.format, "version": kind.version, "packages": packages(), **header}
    # safetensors writes the buffer as it lies, whatever the strides.
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    if kind.sealed:
        full = {"seal": OPEN, "digest": digest(full, contiguous), **full, "beside": dict(beside or {})}
    content = memoryview(safetensors.numpy.save(contiguous, {kind.format: json.dumps(full)}))
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    head = bytes(content[:end])
    with written_whole(path) as file:
        file.write(sealed(head) if kind.sealed else head)
        file.write(content[end:])


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
        with safetensors.safe_open(path, framework="numpy") as content:
            yield content
    except MipinError:
        raise
    except MemoryError as error:
        raise InvalidData(f"{str(path)!r} does not fit in memory") from error
    except Exception as error:  # the library's own class has no common base with what damaged content finds in NumPy
        raise CorruptFile(f"{str(path)!r} is not {noun}, or is truncated or damaged: {reason(error)}") from error


def read(path: Path, kind: Kind = INVERSE) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Header and tensors of a file that `write` wrote.

    Raises InvalidData where there is no such file, CorruptFile where it is truncated, of another format or version, or
    a bit of it has changed.
    """
    with opened_sealed(path, kind) as (header, file):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    if kind.sealed and header.get("digest") != digest(header, tensors):
        raise CorruptFile(f"{str(path)!r} is damaged: its content has another checksum than the one in its header")
    return header, tensors


@contextmanager
def opened_sealed(path: Path, kind: Kind) -> Iterator[tuple[dict[str, Any], Any]]:
    """The header of a file that `write` wrote, of which no bit has changed, and the file, to read tensors from.

    Whoever reads some tensors alone has their checksums in the header. Raises as `read` does but for its content.
    """
    regular_file(path)
    if kind.sealed:
        with decoding(path, kind.noun):
            _check_head(path, kind)
    with opened(path, kind.noun) as file:
        told = (file.metadata() or {}).get(kind.format)
        if told is None:
            raise CorruptFile(f"{str(path)!r} is not {kind.noun}")
        header = parse_json(told, path)
        if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (kind.format, kind.version):
            other = header.get("version") if isinstance(header, dict) else None
            raise _other_version(path, other, kind)
        yield header, file


def holds(path: Path, kind: Kind) -> bool:
    """Whether a file says that it is of this kind, of whatever version. Raises InvalidData where there is none."""
    regular_file(path)
    with decoding(path, kind.noun), path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        return length <= HEADER_BYTES and f'"{kind.format}":'.encode() in file.read(length)


def _check_head(path: Path, kind: Kind) -> None:
    """Raises CorruptFile unless the safetensors header is, to the bit, the one that was sealed."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > min(size - LENGTH_BYTES, HEADER_BYTES):
            raise CorruptFile(f"{str(path)!r} is not {kind.noun}, or is truncated: it holds {size} bytes")
        file.seek(0)
        head = file.read(LENGTH_BYTES + length)
    if has_seal(head):
        if not is_whole(head):
            raise CorruptFile(f"{str(path)!r} is damaged: its header has another checksum than the one that it holds")
        return
    told = re.search(rf'\\"format\\": \\"{kind.format}\\", \\"version\\": ([0-9]{{1,9}})\b'.encode(), head)
    if told is not None and int(told[1]) < kind.version:
        raise _other_version(path, int(told[1]), kind)
    raise CorruptFile(f"{str(path)!r} is not {kind.noun}, or is damaged: it holds no checksum of its header")


def _other_version(path: Path, told: Any, kind: Kind) -> CorruptFile:
    return CorruptFile(
        f"{str(path)!r} has format version {told!r}; this package reads {kind.version}: make the file anew"
    )
