"""Each deliberate fault is found on its case, and the first tensor that `verify` names is the one where it shows.

`pytest -s` or `python -m tests.golden.mutants` tells what was said of each.
"""

from __future__ import annotations

import pytest
import torch

import mipin_ref as mr
from tests.golden.mutants import MUTANTS, caught


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_is_named_where_it_is(name: str) -> None:
    mutant = MUTANTS[name]
    seen = caught(mutant.fault, mutant.case)
    assert seen is not None, f"'{name}' passes {mutant.case}"
    print(f"{name} | {mutant.case} | {seen.said}")
    assert (seen.stage, seen.first) == (mutant.stage, mutant.first), seen.said
    assert mutant.cause is None or f"likely cause: {mutant.cause}" in seen.said, seen.said


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_shows_in_float32(name: str) -> None:
    """At the tolerances of float32 too, at the same stage, unless the table says that it cannot."""
    mutant = MUTANTS[name]
    seen = caught(mutant.fault, mutant.case, torch.float32)
    assert (None if seen is None else seen.stage) == (mutant.stage if mutant.in_float32 else None)


def test_faults_are_planted_in_every_stage() -> None:
    assert len(MUTANTS) >= 20
    assert {mutant.stage for mutant in MUTANTS.values()} == {"forward", "solve", "propagate", "end"}


def test_a_fault_has_one_name() -> None:
    """No two rows of the table plant the same fault in the same case."""
    rows = [(mutant.fault, mutant.case) for mutant in MUTANTS.values()]
    assert len(rows) == len(set(rows))
    assert {mutant.case for mutant in MUTANTS.values()} <= {folder.parent.name for folder in mr.golden.cases()}
