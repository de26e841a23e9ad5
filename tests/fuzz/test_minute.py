"""A minute of fuzzing from a fixed seed finds nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.parts import TOOLS

SECONDS = 60


@pytest.mark.fuzz
def test_a_minute_finds_nothing() -> None:
    command = [sys.executable, str(TOOLS / "fuzz.py"), "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
