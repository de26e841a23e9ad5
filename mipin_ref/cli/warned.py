"""Warnings of the package as lines on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mipin_ref.cli.streams import tell_error
from mipin_ref.errors import InputRangeWarning
from mipin_ref.text import one_line


@contextmanager
def warned_in_a_line() -> Iterator[None]:
    """The first InputRangeWarning of a command is a line on stderr; what further batches repeat is not told again.

    Warnings of other kinds are shown as ever.
    """
    usual, told = warnings.showwarning, False

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        nonlocal told
        if not issubclass(category, InputRangeWarning):
            usual(message, category, filename, lineno, file, line)
        elif not told:
            told = True
            tell_error(f"warning: {one_line(str(message))}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputRangeWarning)
        warnings.showwarning = show
        yield
