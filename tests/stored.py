"""Saved files, changed on purpose: with the checksums that belong to the change, or by one bit without them."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from mipin_ref.store import Kind

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def digest_by_hand(content: bytes, name: str) -> str:
    """The digest by the description of the format alone, from the bytes of a file. name: of the format."""
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    header = json.loads(entries.pop("__metadata__")[name])
    for left_out in ("seal", "digest", "beside"):
        header.pop(left_out, None)
    text = json.dumps(header, sort_keys=True).encode()
    for tensor in sorted(entries):
        told = entries[tensor]
        kind = {"F64": "<f8", "F32": "<f4", "U8": "|u1", "I64": "<i8"}[told["dtype"]]
        begin, end = told["data_offsets"]
        text += f"\n{json.dumps(tensor)} {kind} {told['shape']}\n".encode()
        text += content[8 + length :][begin:end]
    return hashlib.sha256(text).hexdigest()


def seal_by_hand(content: bytes) -> bytes:
    """The file with the seal that belongs to its header."""
    (length,) = struct.unpack("<Q", content[:8])
    head, rest = content[: 8 + length], content[8 + length :]
    empty = re.sub(rb'(seal\\": \\")[0-9a-f]{64}', lambda m: m[1] + b"0" * 64, head, count=1)
    return empty.replace(b"0" * 64, hashlib.sha256(empty).hexdigest().encode(), 1) + rest


def resealed(path: Path, kind: Kind, change: Change) -> None:
    """Change header and tensors in place; seal and digest are then those of the changed file."""
    content = path.read_bytes()
    tensors = safetensors.numpy.load(content)
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][kind.format])
    change(header, tensors)

    def saved() -> bytes:
        return safetensors.numpy.save(tensors, {kind.format: json.dumps(header)})

    header["digest"] = digest_by_hand(saved(), kind.format)
    path.write_bytes(seal_by_hand(saved()))


def flips(path: Path, number: int, seed: int = 0) -> Iterator[int]:
    """The file with one bit after the other flipped, `number` of all, those of the first 16 bytes among them; whole
    again in the end. Yields the bit's position.
    """
    whole = path.read_bytes()
    bits = np.random.default_rng(seed).permutation(np.arange(128, 8 * len(whole)))[: number - 128]
    try:
        for bit in [*range(128), *bits.tolist()]:
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            yield bit
    finally:
        path.write_bytes(whole)
