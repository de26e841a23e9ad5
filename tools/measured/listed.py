"""A program of its own: python -m measured.listed MODEL.onnx ... prints a digest of the layer list of each, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import mipin_ref as mr
from measured.syntax import short

WORDS = ("sha256", "problems", "metadata", "labels", "problem")
"""Fields that say something to people, or of the file's bytes."""
KEYS = ("apart", "hides")
"""Fields of which the names count, that nothing can be taken back through, and not what is said of them."""


def listed(value: Any) -> str:
    """A network, and all that it is made of, as text: equal where all numbers are. Raises TypeError for what it does
    not know.
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = [f"{name}={text}" for name, text in _fields(value)]
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{short(np.ascontiguousarray(value).tobytes().hex())}"
    if isinstance(value, bytes):
        return short(value.hex())
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{listed(key)}: {listed(one)}' for key, one in value.items())}}}"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(listed, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(listed, value))}]"
    if isinstance(value, Enum | np.dtype | np.generic | str | int | float | None):
        return repr(value)
    if isinstance(value, type | Callable):
        return str(value.__qualname__)
    raise TypeError(f"nobody knows how {type(value)} is listed")


def _fields(value: Any) -> Iterator[tuple[str, str]]:
    """The fields of a record that count. One at its default is as one that there is not yet: what is made of it, the
    functions say that ask for it.
    """
    for one in fields(value):
        if one.name in WORDS:
            continue
        own = getattr(value, one.name)
        text = listed({key: [*of] for key, of in own.items()} if one.name in KEYS and own else own)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is MISSING or text != listed(default):
            yield one.name, text


def of_file(path: Path) -> str:
    """The digest of a file's network; of one with several outputs, of all that it can be read into."""
    outputs = [one.name for one in onnx.load(path).graph.output]
    return short(listed([mr.load(path, output=name) for name in outputs]))


if __name__ == "__main__":
    print(json.dumps([of_file(Path(path)) for path in sys.argv[1:]]))
