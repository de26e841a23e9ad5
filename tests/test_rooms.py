"""Tests lie in the rooms of what they test; which of them run is what the markers of pyproject.toml say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mipin_ref

TESTS = Path(__file__).parent
ROOMS = {path.parent.name for path in Path(mipin_ref.__file__).parent.glob("*/__init__.py")}
BESIDE = {"backend", "fuzz", "networks", "oracles", "pages", "tools"}
"""Tests of backend.py, of what lies beside the package, and of what tests are made of."""


def chosen(*arguments: str) -> list[str]:
    """The tests that a run with these arguments would run."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_every_room_has_tests_of_its_own() -> None:
    tested = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    assert tested == ROOMS | BESIDE


@pytest.mark.slow
def test_tests_of_the_gpu_run_where_they_are_asked_for_alone() -> None:
    folder = "tests/solve/test_fourier.py"
    on_cupy = {name for name in chosen("-m", "gpu or not gpu", folder) if "cupy" in name}
    assert on_cupy
    assert set(chosen("-m", "gpu", folder)) == on_cupy
    for markers in ([], ["-m", "not slow"], ["-m", "not browser"]):
        named = set(chosen(*markers, folder))
        assert named
        assert not named & on_cupy


def test_what_every_test_imports_is_little() -> None:
    heavy = "torch", "captum", "zennit", "dask", "skimage", "sklearn", "matplotlib", "selenium"
    program = f"import sys, tests.conftest; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS.parent, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
