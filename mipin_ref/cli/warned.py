"""Warnings of the package as lines on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mipin_ref import errors
from mipin_ref.cli.streams import tell_error
from mipin_ref.text import one_line

TOLD: tuple[type[Warning], ...] = (
    errors.CalibrationWarning,
    errors.InputRangeWarning,
    errors.OverflowWarning,
    errors.PrecisionWarning,
    errors.RidgeWarning,
    errors.SharingWarning,
)


@contextmanager
def warned_in_a_line() -> Iterator[None]:
    """The first of each of TOLD in a command is a line on stderr; what further batches repeat is not told again.

    Warnings of other kinds are shown as ever.
    """
    usual, told = warnings.showwarning, set[type[Warning]]()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category not in TOLD:
            usual(message, category, filename, lineno, file, line)
        elif category not in told:
            told.add(category)
            tell_error(f"warning: {one_line(str(message))}")

    with warnings.catch_warnings():
        for category in TOLD:
            warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield
