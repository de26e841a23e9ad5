"""`mipin` as a process of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mipin_ref

COMMAND = [sys.executable, "-m", "mipin_ref"]


def environment(**extra: str) -> dict[str, str]:
    """This process's, in which the package is found from any folder."""
    return {**os.environ, "PYTHONPATH": str(Path(mipin_ref.__file__).parent.parent), **extra}


def mipin(
    *arguments: str | bytes, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command: Sequence[str | bytes] = [*COMMAND, *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        command, env=environment(**(env or {})), encoding="utf-8", errors="replace", timeout=120, check=False, **streams
    )


@contextmanager
def terminal_read() -> Iterator[tuple[int, list[bytes]]]:
    """The writing end of a terminal, and what is written there, whole when the block has ended.

    A terminal that nobody reads takes a few thousand bytes, and then whoever writes waits.
    """
    terminal, end = pty.openpty()
    shown: list[bytes] = []

    def drain() -> None:
        with suppress(OSError):
            while part := os.read(terminal, 1 << 16):
                shown.append(part)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        yield end, shown
    finally:
        os.close(end)
        reader.join()
        os.close(terminal)


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on stderr, exit code 2, no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mipin"), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
