"""The command that a command suggests as the next: one that can be pasted, with what was said of model and data."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from os import PathLike, fspath
from shlex import quote
from typing import Any

from mipin_ref.data import Preprocessing
from mipin_ref.data.presets import preset_of

OF_MODEL = ("output", "input_shape", "given", "input")
"""Options that say what of a model is opened."""
OF_PIXELS = ("preprocess", "scale", "mean", "std", "exif")
OF_DATA = ("key", *OF_PIXELS)
"""Options that say how data are read."""
OF_TOKENS = ("tokenizer", "vocabulary")
OF_CALIBRATION = ("calibration", "calibration_key", "calibration_limit")
DEFAULTS = {"backend": "numpy", "dtype": "float64", "memory": "2GB"}
"""Values of options that need not be said."""
PLACEHOLDERS = ("IMAGES", "DATA", "VALUES")
"""Words that stand for what only the user has."""
FEW = 10
"""Samples that a suggested `explain` of calibration data is limited to."""


def following(
    command: str, options: Namespace, *data: str, keep: Sequence[str] = (), more: Sequence[str | PathLike[str]] = ()
) -> str:
    """A command line of a model, quoted for a shell.

    command: such as "explain"; options: of the command that suggests it; data: what it reads beside the model; keep:
    names of the options that it takes over where they were given, beside those of the model; more: words behind them.
    """
    places = [_place(one) for one in (options.model, *data)]
    flags = [word for name in (*OF_MODEL, *keep) for word in _flags(name, getattr(options, name, None))]
    words = [*command.split(), *places, *flags, *(fspath(one) for one in more)]
    return f"mipin {' '.join(word if word in PLACEHOLDERS else quote(word) for word in words)}"


def preprocessing_flags(known: Preprocessing | None) -> list[str]:
    """The options that ask for a preprocessing, such as one that was guessed; none for None."""
    if known is None:
        return []
    exif = _flags("exif", known.exif)
    if (name := preset_of(known)) is not None:
        return ["--preprocess", name, *exif]
    return [*(word for one in ("scale", "mean", "std") for word in _flags(one, getattr(known, one))), *exif]


def _flags(name: str, value: Any) -> list[str]:
    """An option as it is written; nothing for one that was not given."""
    if value is None or value == [] or (name == "exif" and value) or value == DEFAULTS.get(name):
        return []
    if name == "exif":
        return ["--no-exif"]
    if name == "input_shape":
        return [word for one, sizes in value for word in _flag(name, f"{one}:{'x'.join(map(str, (1, *sizes)))}")]
    if name == "given":
        return [word for one, bound in value for word in _flag(name, f"{one}={_text(bound)}")]
    return _flag(name, _text(value))


def _flag(name: str, text: str) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    # Behind a space what begins with a dash would be taken for an option.
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _place(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path
