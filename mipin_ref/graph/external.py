"""Weights that lie beside the model: found, measured against the declared shapes, then read."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import TensorProto, checker, external_data_helper, helper

from mipin_ref.errors import CorruptFile
from mipin_ref.graph.limits import CONSTANT, MiB
from mipin_ref.graph.text import first_line

if TYPE_CHECKING:
    from hashlib import _Hash

HOLES = 64 * MiB
"""Bytes that may come from parts of a file that nobody has written, or from one part many times."""


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def read_external(tensors: Sequence[TensorProto], folder: Path, what: str, digest: _Hash) -> None:
    """Put the data of `tensors` into them, and into the digest: what the model uses of the files, and nothing else.

    Raises CorruptFile where a file is missing, leaves the folder (by `..`, an absolute path, a symbolic or a hard
    link), or is not as long as the shapes say.
    """
    try:
        _check_extents(tensors, folder, what)
        for tensor in tensors:
            # onnx opens no link, and nothing outside the folder.
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            digest.update(tensor.raw_data)
    except (checker.ValidationError, ValueError, OSError, RuntimeError, MemoryError) as error:
        raise CorruptFile(f"external data of {what} cannot be read: {first_line(error)}") from error


def _check_extents(tensors: Sequence[TensorProto], folder: Path, what: str) -> None:
    """Raises ValueError where a tensor's part of its file is not as long as its shape says."""
    used: dict[str, int] = {}
    for tensor in tensors:
        location, length = entry(tensor, "location"), _length(tensor)
        file = folder / location
        if not location or not file.is_file():
            raise CorruptFile(f"external data file {location!r} of {what} is missing (it holds {tensor.name!r})")
        present = file.stat().st_size - int(entry(tensor, "offset") or 0)
        told = int(entry(tensor, "length") or present)
        # Types below a byte are packed: their length is at most one byte an element.
        if not 0 <= told <= present or told > length:
            raise ValueError(
                f"tensor {tensor.name!r} has shape {list(tensor.dims)}, its data {min(told, present)} bytes"
            )
        used[location] = used.get(location, 0) + told
    for location, count in used.items():
        # A download that has not ended leaves a file that is long and empty.
        written = 512 * getattr((folder / location).stat(), "st_blocks", count)
        if count > HOLES + 2 * written:
            raise ValueError(f"the tensors take {count:,} bytes from {location!r}, of which {written:,} are written")


def _length(tensor: TensorProto) -> int:
    """Bytes of a tensor of the declared shape, a byte an element where several share one."""
    size = int(prod(tensor.dims))
    if min(tensor.dims, default=0) < 0 or size > CONSTANT:
        raise ValueError(f"tensor {tensor.name!r} asks for shape {list(tensor.dims)}")
    return size * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def entry(tensor: TensorProto, key: str) -> str:
    # Of several the last counts, as in onnx.
    return next((entry.value for entry in reversed(tensor.external_data) if entry.key == key), "")
