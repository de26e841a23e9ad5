"""How objects of this package show themselves: in one line at a prompt, as a small page in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

from mipin_ref.text import printable

LONGEST = 60
"""Characters of one value in a line, at most."""
FEW = 6
"""Entries of a collection that are written out, at most."""
SMALL = ("builtins", "numpy", "pathlib", "torch")
"""Packages whose other objects have a short text; that of a model of ONNX holds all its weights."""

Presenter = Callable[[Any], str | None]
_presenter: Presenter | None = None


def present_with(presenter: Presenter) -> None:
    """Have `presenter` make the HTML of what a notebook shows; it returns None for what it knows no picture of.

    The package itself says who that is when it is imported: rooms that hold results know nothing of pictures, and
    pictures know the results.
    """
    global _presenter
    _presenter = presenter


class InNotebook:
    """What a notebook shows as HTML where somebody presents it, and in one line where not."""

    def _repr_html_(self) -> str | None:
        return None if _presenter is None else _presenter(self)


class OneLine:
    """A record whose `repr` is one line that tells arrays by dtype and shape: `print` may show more.

    The decorator `dataclass` writes a `repr` of every value into each class that has none of its own, so each gets the
    one that it inherits.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        told = ", ".join(f"{one.name}={brief(getattr(self, one.name))}" for one in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({told})"


def brief(value: object) -> str:
    """A value in a few words: an array as dtype and shape, a record as its name, a long collection as its length."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape and dtype is not None:
        return f"{dtype}[{', '.join(map(str, shape))}]"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}(...)"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return f"{{{len(value)} of {_kinds(value.values())}}}" if value else "{}"
    if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes):
        inside = ", ".join(map(brief, value)) if len(value) <= FEW else "..."
        if len(value) > FEW or len(inside) > LONGEST:
            return f"[{len(value)} of {_kinds(value)}]"
        if isinstance(value, tuple):
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        return f"[{inside}]"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if type(value).__module__.partition(".")[0] not in SMALL:
        return type(value).__name__
    text = printable(" ".join(repr(value).split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _kinds(values: Any) -> str:
    """The type of the values, where it is one."""
    names = {type(one).__name__ for one in values}
    return names.pop() if len(names) == 1 else "several kinds"
