"""The formats written byte by byte, independently of the readers."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(values: npt.NDArray[Any]) -> bytes:
    """values [N, ...] as an IDX file."""
    code = IDX_CODES[values.dtype.newbyteorder("=").str[1:]]
    header = bytes([0, 0, code, values.ndim]) + b"".join(struct.pack(">I", axis) for axis in values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def cifar_bytes(images: npt.NDArray[np.uint8], labels: list[int]) -> bytes:
    """images [N, 3, 32, 32] and labels [N] as a CIFAR-10 binary batch."""
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))


def npy_bytes(values: npt.NDArray[Any]) -> bytes:
    """values as a .npy file; object arrays are pickled."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def npy_header(text: str) -> bytes:
    """A version 1.0 .npy header of any text, true or not."""
    padded = text.encode("latin1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_image(path: Path, pixels: npt.NDArray[np.uint8], **options: Any) -> Path:
    """pixels [H, W] or [H, W, 3] in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path
