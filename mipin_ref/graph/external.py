"""Weights that lie beside the model: found, measured against the declared shapes, then read."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import TensorProto, checker, external_data_helper, helper

from mipin_ref.errors import CorruptFile, shown
from mipin_ref.graph.limits import CONSTANT, MiB
from mipin_ref.text import first_line

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
            # Before onnx 1.23 the tensor would still be said to lie beside the model, and be read again from there.
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
            digest.update(tensor.raw_data)
    except (checker.ValidationError, ValueError, OSError, RuntimeError, MemoryError) as error:
        raise CorruptFile(f"external data of {what} cannot be read: {first_line(error)}") from error


def _check_extents(tensors: Sequence[TensorProto], folder: Path, what: str) -> None:
    """Raises ValueError where a tensor's part of its file is not as long as its shape says."""
    used: dict[str, int] = {}
    for tensor in tensors:
        location, (least, most) = entry(tensor, "location"), _lengths(tensor)
        file = folder / location
        if not location or not file.is_file():
            raise CorruptFile(f"external data file {location!r} of {what} is missing (it holds {tensor.name!r})")
        size, offset = file.stat().st_size, _number(tensor, "offset", 0)
        told = _number(tensor, "length", size - offset)
        if min(offset, told) < 0 or offset + told > size:
            raise ValueError(
                f"tensor {tensor.name!r} is said to take {told} bytes at {offset} of {location!r}, which has {size}"
            )
        if not least <= told <= most:
            needed = f"{most}" if least == most else f"{least} to {most}"
            raise ValueError(
                f"tensor {tensor.name!r} has shape {list(tensor.dims)}, which takes {needed} bytes, "
                f"and {told} in {location!r}"
            )
        used[location] = used.get(location, 0) + told
    for location, count in used.items():
        # A download that has not ended leaves a file that is long and empty.
        written = 512 * getattr((folder / location).stat(), "st_blocks", count)
        if count > HOLES + 2 * written:
            raise ValueError(f"the tensors take {count:,} bytes from {location!r}, of which {written:,} are written")


def _lengths(tensor: TensorProto) -> tuple[int, int]:
    """The fewest and the most bytes of a tensor of the declared shape: of types below a byte several may share one."""
    size = int(prod(tensor.dims))
    if min(tensor.dims, default=0) < 0 or size > CONSTANT:
        raise ValueError(f"tensor {tensor.name!r} asks for shape {list(tensor.dims)}")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    most = size * int(dtype.itemsize)
    return (0 if dtype.itemsize == 1 else most), most


def _number(tensor: TensorProto, key: str, default: int) -> int:
    text = entry(tensor, key)
    try:
        return int(text) if text else default
    except ValueError:  # not digits, or thousands of them
        raise ValueError(f"the {key} of tensor {tensor.name!r} is {shown(text)}, and no number of bytes") from None


def entry(tensor: TensorProto, key: str) -> str:
    # Of several the last counts, as in onnx.
    return next((entry.value for entry in reversed(tensor.external_data) if entry.key == key), "")
