"""`mipin` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
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


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on stderr, exit code 2, no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mipin"), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
