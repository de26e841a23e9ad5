"""A minute of fuzzing from a fixed seed finds nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.parts import TOOLS, fuzz

PARTS, SECONDS = 4, 15
"""A quarter of a minute for each quarter of the kinds: as much as all together have in one minute."""


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(PARTS))
def test_a_quarter_of_a_minute_finds_nothing(part: int) -> None:
    kinds = ",".join(list(fuzz.KINDS)[part::PARTS])
    command = [sys.executable, str(TOOLS / "fuzz.py"), "--seconds", str(SECONDS), "--kinds", kinds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=80 * SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
