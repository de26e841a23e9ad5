"""Values that no argument is meant to get."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np


class _Angry:
    """Refuses to be anything, in every way."""

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, index: Any) -> Any:
        raise ZeroDivisionError("no item")

    def __repr__(self) -> str:
        raise AttributeError("no text")

    def __array__(self, *given: Any, **named: Any) -> Any:
        raise LookupError("no array")


class _Long:
    """Says that it is long, and has nothing."""

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: Any) -> Any:
        return []


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    return nested


VALUES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "numpy true": lambda: np.True_,
    "zero": lambda: 0,
    "one": lambda: 1,
    "two": lambda: 2,
    "minus": lambda: -1,
    "half": lambda: 0.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "small": lambda: 5e-324,
    "large": lambda: 1e308,
    "2^63": lambda: 2**63,
    "2^31": lambda: 2**31,
    "-2^63": lambda: -(2**63) - 1,
    "10^400": lambda: 10**400,
    "10^5000": lambda: 10**5000,
    "-10^400": lambda: -(10**400),
    "complex": lambda: 1j,
    "decimal": lambda: Decimal("1e999"),
    "signalling": lambda: Decimal("sNaN"),
    "fraction": lambda: Fraction(10**400, 3),
    "float32 nan": lambda: np.float32("nan"),
    "int8": lambda: np.int8(-1),
    "uint64": lambda: np.uint64(2**64 - 1),
    "longdouble": lambda: np.longdouble("1e4000"),
    "datetime": lambda: np.datetime64("NaT"),
    "numpy text": lambda: np.str_("x"),
    "empty text": lambda: "",
    "nul": lambda: "a\0b",
    "surrogate": lambda: "a\ud800",
    "long text": lambda: "a" * 5000,
    "path of many": lambda: "/".join(["a" * 200] * 60),
    "digits": lambda: "9" * 5000,
    "gigabytes": lambda: "9" * 5000 + "GB",
    "inf bytes": lambda: "1" + "0" * 400 + ".5GB",
    "arabic": lambda: "٣GB",
    "escape": lambda: "\x1b[2J",
    "bytes": lambda: b"x.npy",
    "bytes not text": lambda: b"\xff\xfe",
    "bytearray": lambda: bytearray(4),
    "slash": lambda: "/",
    "null device": lambda: "/dev/null",
    "zero device": lambda: "/dev/zero",
    "memory": lambda: "/proc/self/mem",
    "path": lambda: Path("nothing"),
    "folder": lambda: ".",
    "model": lambda: Path("model.onnx"),
    "case": lambda: "case",
    "manifest": lambda: Path("case/manifest.json"),
    "list": list,
    "nested": lambda: [[[]]],
    "ragged": lambda: [[1], [1, 2]],
    "deep": _deep,
    "tuple": lambda: (),
    "numbers": lambda: [0, 1, 2],
    "floats": lambda: [0.5, float("nan")],
    "large list": lambda: [10**400],
    "texts": lambda: ["a", "b"],
    "surrogates": lambda: ["\ud800"],
    "mixed": lambda: [None, 1, "a"],
    "dict": dict,
    "of dict": lambda: {"a": 1},
    "by number": lambda: {1: 1},
    "set": lambda: {1, 2},
    "range": lambda: range(3),
    "endless": lambda: range(2**62),
    "iterator": lambda: iter([1, 2]),
    "object": object,
    "class": lambda: int,
    "function": lambda: lambda *given, **named: None,
    "angry": _Angry,
    "long": _Long,
    "module": lambda: os,
    "numpy": lambda: np,
    "empty array": lambda: np.empty(0),
    "scalar array": lambda: np.array(1.0),
    "array 1": lambda: np.zeros(3),
    "array 2": lambda: np.ones((2, 6), np.float32),
    "array 3": lambda: np.ones((2, 4, 4)),
    "integers": lambda: np.arange(2),
    "many axes": lambda: np.zeros((1,) * 40),
    "no samples": lambda: np.zeros((0, 6), np.float32),
    "nan array": lambda: np.full((2, 6), np.nan, np.float32),
    "huge values": lambda: np.full((2, 6), 3e38, np.float32),
    "huge maps": lambda: np.full((2, 4, 4), 1e308),
    "halves": lambda: np.ones((2, 6), np.float16),
    "complexes": lambda: np.ones((2, 6), complex),
    "objects": lambda: np.array([None, "a"], object),
    "object maps": lambda: np.full((2, 4, 4), None, object),
    "text array": lambda: np.array(["a", "b"]),
    "dates": lambda: np.zeros((2, 6), "M8[s]"),
    "records": lambda: np.zeros(2, [("a", "f4")]),
    "masked": lambda: np.ma.masked_array(np.ones((2, 6)), mask=True),
    "strided": lambda: np.ones((4, 12), np.float32)[::2, ::2],
    "broadcast": lambda: np.broadcast_to(np.float32(1), (10**12, 6)),
    "wide": lambda: np.broadcast_to(np.float32(1), (2, 10**12)),
    "long doubles": lambda: np.ones((2, 6), np.longdouble),
    "booleans": lambda: np.ones((2, 4, 4), bool),
    "box": lambda: np.array([[0, 0, 2, 2], [1, 1, 3, 3]]),
    "uint64s": lambda: np.full(2, 2**64 - 1, np.uint64),
}
"""Made anew for every call."""
