"""Mutations of bytes, of text and of JSON values, by random numbers alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

SMALL = (0, 1, 2, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 1 << 20)
INTEGERS = (*SMALL, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 10**12, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)

TOKENS: tuple[bytes, ...] = (
    b"True",
    b"None",
    b"null",
    b"-1",
    b"-0.0",
    b"1e400",
    b"NaN",
    b"Infinity",
    b"9" * 400,
    b"9" * 5000,
    b"[" * 50,
    b"{" * 50,
    b"[" * 2000 + b"]" * 2000,
    b"()",
    b"(,)",
    b"''",
    b'""',
    b"\\ud800",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"../",
    b"\r\n",
    b"|O",
    b"|V8",
    b"<f16",
    b"<c16",
    b">f8",
    b"<U9",
    b"1_0",
    b"0x10",
    b"1L",
    b"#",
    b"'\\d'",
)

Edit = Callable[[Random, bytearray, Sequence[bytes]], None]


def mutated(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The content after one to eight edits. others: contents that a piece may come from."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 1, 2, 2, 4, 8))):
        random.choice(EDITS)(random, damaged, others)
    return bytes(damaged)


def _place(random: Random, damaged: bytearray) -> int:
    """A position; headers and what stands at the end are taken more often, for there damage does most harm."""
    size = len(damaged)
    if size < 2:
        return 0
    where = random.random()
    if where < 0.4:
        return random.randrange(min(size, 128))
    if where < 0.5:
        return random.randrange(max(0, size - 128), size)
    return random.randrange(size)


def _flip(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    if damaged:
        damaged[_place(random, damaged)] ^= 1 << random.randrange(8)


def _byte(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    if damaged:
        damaged[_place(random, damaged)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def _integer(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    width = random.choice((1, 2, 4, 8))
    value = random.choice(INTEGERS) & (256**width - 1)
    at = _place(random, damaged)
    damaged[at : at + width] = value.to_bytes(width, random.choice(("little", "big")))


def _delete(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    at = _place(random, damaged)
    del damaged[at : at + random.choice((1, 1, 2, 4, 16, 64, 1024))]


def _double(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    at, size = _place(random, damaged), random.choice((1, 4, 16, 64, 256))
    damaged[at:at] = damaged[at : at + size] * random.choice((1, 1, 1, 2, 20))


def _insert(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    at = _place(random, damaged)
    damaged[at:at] = random.randbytes(random.choice((1, 1, 2, 4, 8, 32)))


def _truncate(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    del damaged[random.randrange(len(damaged) + 1) :]


def _splice(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    if others:
        other = random.choice(others)
        start = random.randrange(len(other) + 1)
        at = _place(random, damaged)
        damaged[at : at + random.choice((0, 8, 64))] = other[start : start + random.choice((8, 32, 128, 4096))]


def _number(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    """Another number where digits stand in the first kilobytes."""
    places = list(re.finditer(rb"[0-9]+", bytes(damaged[:4096])))
    if places:
        start, end = random.choice(places).span()
        damaged[start:end] = random.choice(
            (*(str(n).encode() for n in INTEGERS), b"-1", b"9" * 400, b"9" * 5000, b"1e9")
        )


def _token(random: Random, damaged: bytearray, others: Sequence[bytes]) -> None:
    at = _place(random, damaged)
    damaged[at : at + random.choice((0, 0, 1, 4))] = random.choice(TOKENS)


EDITS: tuple[Edit, ...] = (
    _flip,
    _flip,
    _byte,
    _byte,
    _integer,
    _integer,
    _delete,
    _double,
    _insert,
    _truncate,
    _splice,
    _number,
    _token,
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    2**31,
    2**63,
    2**64,
    10**30,
    10**400,
    0.5,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "\x00",
    "\ud800",
    "x" * 300,
    "../../model.onnx",
    "/dev/zero",
    "/etc/passwd",
    [],
    {},
    [[]],
    [0],
    [-1],
    [2**63],
    {"a": 1},
    [[[[1]]]],
    "<f8",
)


def tree_mutated(random: Random, value: Any) -> Any:
    """A copy of a JSON value of which one to three places hold something else."""
    tree = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 2, 3))):
        places = _places(tree)
        if not places:
            return deepcopy(random.choice(VALUES))
        holder, key = random.choice(places)
        what = random.random()
        if what < 0.15 and isinstance(holder, dict):
            holder[random.choice(("", "x", "\ud800", "y" * 200))] = holder.pop(key)
        elif what < 0.3:
            del holder[key]
        elif what < 0.4:
            other, place = random.choice(places)
            if not (isinstance(other, list) and place >= len(other)) and place in _keys(other) and key in _keys(holder):
                holder[key] = json.loads(json.dumps(other[place]))
        elif what < 0.5 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            holder[key] = deepcopy(random.choice(VALUES))
    return tree


def _keys(holder: Any) -> Any:
    return range(len(holder)) if isinstance(holder, list) else holder


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every holder and key inside."""
    places: list[tuple[Any, Any]] = []
    left = [value]
    while left:
        holder = left.pop()
        if isinstance(holder, dict | list):
            for key in _keys(holder):
                places.append((holder, key))
                left.append(holder[key])
    return places
