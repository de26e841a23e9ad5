"""The parts of tools/fuzz.py, which stands beside the package."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parents[2] / "tools"
CORPUS = Path(__file__).parent / "corpus"

sys.path.insert(0, str(TOOLS))
fuzz = importlib.import_module("fuzz")
worker = importlib.import_module("fuzzing.worker")
mutate = importlib.import_module("fuzzing.mutate")
Kind = importlib.import_module("fuzzing.kind").Kind
WrongNumber = importlib.import_module("fuzzing.kind").WrongNumber
CASE = importlib.import_module("fuzzing.saved").CASE


@cache
def kind(name: str) -> Any:
    """A kind of input, made once a process: it fits what its seeds need."""
    return fuzz.KINDS[name]()
