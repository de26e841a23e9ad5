"""Cases whose ridges were picked on samples held out: each step states its own."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch

import mipin_ref as mr
from mipin_ref.errors import CorruptFile
from mipin_ref.golden.reread import reread
from tests.golden.arrays import candidate
from tests.golden.independent import Case, Independent
from tests.golden.test_cases import SCHEMA
from tests.golden.test_make import model

STAGES = ("forward", "solve", "propagate", "end")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> mr.golden.Case:
    x = np.random.default_rng(5).standard_normal((20, 2, 8, 8)).astype(np.float32)
    return mr.golden.make(model("golden_cnn"), x, 2, tmp_path_factory.mktemp("case") / "held", ridge="held-out")


def test_each_step_states_its_ridge(made: mr.golden.Case) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(made.manifest)
    x = made.given("x")
    inverse = mr.fit(mr.load(model("golden_cnn")), x, 2, ridge="held-out")
    told = {step["tensor"]: step.get("ridge") for step in made.manifest["steps"] if step["fitted"]}
    assert made.manifest["options"]["ridge"] == "held-out"
    assert told == {row.tensor: row.ridge for row in inverse.report}
    assert len(set(told.values())) > 1


def test_it_comes_out_again(made: mr.golden.Case) -> None:
    assert mr.golden.verify(made.folder, candidate(made)).ok
    assert mr.golden.remake(made.folder).ok


def test_another_implementation_passes_and_with_another_ridge_does_not(made: mr.golden.Case) -> None:
    torch.set_num_threads(1)
    own = {key: array.numpy() for key, array in Independent(Case(made.folder, torch.float64)).candidate().items()}
    assert mr.golden.verify(made.folder, own, stages=STAGES).ok
    case = Case(made.folder, torch.float64)
    for step in case.manifest["steps"]:
        step.pop("ridge", None)
    case.options["ridge"] = 1e-3
    other = {key: array.numpy() for key, array in Independent(case).candidate().items()}
    assert not mr.golden.verify(made.folder, other, stages=["solve"]).ok


def test_a_wrong_ridge_is_named(made: mr.golden.Case) -> None:
    """The engine's causes start from the step's own ridge."""
    case = Case(made.folder, torch.float64)
    for step in case.manifest["steps"]:
        if "ridge" in step:
            step["ridge"] *= 2
    other = {key: array.numpy() for key, array in Independent(case).candidate().items() if key.startswith("solve/")}
    told = mr.golden.verify(made.folder, other, stages=["solve"])
    assert "λ is twice as large" in str(told)


def test_a_case_that_states_none_is_damaged(made: mr.golden.Case) -> None:
    manifest = json.loads(json.dumps(made.manifest))
    for step in manifest["steps"]:
        step.pop("ridge", None)
    with pytest.raises(CorruptFile, match="does not say which ridge was picked"):
        reread(replace(made, manifest=manifest), mr.load(model("golden_cnn")))
