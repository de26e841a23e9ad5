"""`python -m tests.golden.mutants`: a row a mutant, in Markdown: what caught it, and what `verify` said.

With `--all` each one runs on every case of less than a second, and the row begins with how many catch it (minutes).
"""

from __future__ import annotations

import sys

import mipin_ref as mr
from tests.golden.mutants import MUTANTS, Mutant, caught

SLOW = {"mnist_cnn"}


def count(mutant: Mutant) -> str:
    cases = [folder.parent.name for folder in mr.golden.cases() if folder.parent.name not in SLOW]
    return f"{sum(catches(mutant, case) for case in cases)} of {len(cases)}"


def catches(mutant: Mutant, case: str) -> bool:
    """A fault written for maps of two axes need not run on others."""
    try:
        return caught(mutant.fault, case) is not None
    except (RuntimeError, ValueError, KeyError):
        return False


counted = "--all" in sys.argv[1:]
heads = ["mutant", *(["caught by"] if counted else []), "case", "stage", "first tensor", "verify says"]
print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
for name, mutant in MUTANTS.items():
    seen = caught(mutant.fault, mutant.case)
    told = ("SURVIVED", "", "") if seen is None else (seen.stage, f"`{seen.first}`", seen.said)
    cells = [name, *([count(mutant)] if counted else []), mutant.case, *told]
    print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |", flush=True)
