"""The parts of tools/fuzz.py, which stands beside the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import fuzz
from fuzzing import mutate, worker
from fuzzing.kind import Kind, WrongNumber
from fuzzing.saved import CASE

__all__ = ["CASE", "CORPUS", "TOOLS", "Kind", "WrongNumber", "fuzz", "kind", "mutate", "worker"]

TOOLS = Path(__file__).parents[2] / "tools"
CORPUS = Path(__file__).parent / "corpus"


@cache
def kind(name: str) -> Any:
    """A kind of input, made once a process: it fits what its seeds need."""
    return fuzz.KINDS[name]()
