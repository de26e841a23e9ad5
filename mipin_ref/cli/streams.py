"""What commands print: nothing that a terminal obeys, nothing that an encoding lacks, and no end where a pipe ends."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

from mipin_ref.text import printable


class Guarded(io.TextIOBase):
    """A text stream behind which `stream` may go away.

    Names of tensors, files and classes go through here: their control characters are escaped, as they would be obeyed.
    `| head -1` ends the reading, not the work, whose files are still wanted: what is printed later is dropped.
    failure: why writing failed; None where it did not, or where the reader went away.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._open = stream, True
        self.failure: OSError | None = None

    def write(self, text: str, /) -> int:
        self._attempt(lambda: self._stream.write(printable(text, keep="\n")))
        return len(text)

    def write_coloured(self, parts: Sequence[tuple[str, tuple[int, int, int] | None]]) -> None:
        """Write pieces of text, each black on a ground of its own colour, or as it is; without colours where nobody
        sees them, or the environment asks for none (NO_COLOR).
        """
        if not self.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            self.write("".join(text for text, _ in parts))
            return
        made = ""
        for text, ground in parts:
            shown = printable(text, keep="\n")
            if ground is not None:
                shown = f"\x1b[30;48;2;{';'.join(map(str, ground))}m{shown}\x1b[0m"
            made += shown
        self._attempt(lambda: self._stream.write(made))

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(getattr(self._stream, "encoding", "utf-8"))

    def _attempt(self, action: Any) -> None:
        if not self._open:
            return
        try:
            action()
        except OSError as error:
            self._open = False
            if not isinstance(error, BrokenPipeError):
                self.failure = error
            _drop(self._stream)


@contextlib.contextmanager
def guarded_output() -> Iterator[Guarded | None]:
    """Standard output, guarded while the block runs; None where the process has none.

    Both streams write characters that their encoding lacks as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        yield None
        return
    guarded = Guarded(sys.stdout)
    with contextlib.redirect_stdout(guarded):
        try:
            yield guarded
        finally:
            guarded.flush()


def tell_error(line: str) -> None:
    """Print a line to standard error, which nobody may read any more."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _drop(stream: IO[str]) -> None:
    """Send to nowhere what the stream still holds, which the interpreter would complain of as it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
