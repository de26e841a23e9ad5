"""The door of the command line: what must be so before anything heavy is imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

INTERRUPTED = 2
_TOLD = b"mipin: interrupted\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: of `argv`, or, as the process `mipin`, of the process's arguments.

    Returns 0 when done, 1 where a check failed or some of the images were unreadable, 2 on a usage or input error or
    after Ctrl-C, told in one line. The parser leaves by SystemExit: with 0 after --help, with 2 on a usage error.
    """
    if argv is not None:
        from mipin_ref.cli.dispatch import run

        return run(argv)
    # Ctrl-C may come while libraries are imported, and would show a traceback through them; nothing is lost then.
    _on_interrupt(_leave)
    from mipin_ref.cli.dispatch import run

    try:
        return run(sys.argv[1:], ready=lambda: _on_interrupt(signal.default_int_handler))
    finally:
        # What is left is the interpreter's own end, which another Ctrl-C ends silently.
        _on_interrupt(signal.SIG_DFL)


def _on_interrupt(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    # A process that was started deaf to Ctrl-C, as by nohup, stays so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, _TOLD)
    os._exit(INTERRUPTED)
