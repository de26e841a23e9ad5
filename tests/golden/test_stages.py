"""Every stage is asked every question, and answers as cases, page and schema say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref import golden
from mipin_ref.golden.perturb import FLOOR, HOPELESS, SAFETY, tolerance
from mipin_ref.golden.reread import reread
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages import STAGE_NAMES, STAGE_OF, STAGES, Stage
from mipin_ref.golden.stages.stage import Deviation, what
from mipin_ref.golden.values import Golden
from tests.golden.arrays import read

FOLDER = Path(golden.__file__).parent
PAGE = (FOLDER / "FORMAT.md").read_text(encoding="utf-8")
SCHEMA = json.loads((FOLDER / "manifest.schema.json").read_text(encoding="utf-8"))
CASES = (
    *("golden_cnn", "golden_wide_dense", "golden_target_class", "golden_ill_conditioned"),
    *("golden_tokens", "golden_last", "golden_extremum", "golden_frontier", "golden_pixel", "golden_squeeze"),
    *("golden_sigma", "golden_share_locations"),
)

every_stage = pytest.mark.parametrize("stage", STAGES, ids=STAGE_NAMES)
some_cases = pytest.mark.parametrize("name", CASES)


def golden_of(name: str) -> Golden:
    case = read(name)
    return reread(case, mr.load(case.model, output=case.manifest["model"]["output"]))


def test_the_order_is_that_of_cases_page_and_schema() -> None:
    assert list(STAGE_NAMES) == [stage["name"] for stage in read("golden_cnn").manifest["stages"]]
    assert list(STAGE_NAMES) == SCHEMA["$defs"]["stage"]["properties"]["name"]["enum"]
    told = re.search(r"Stages in order: (.*?)\. Each tensor", PAGE)
    assert told is not None
    assert re.findall(r"`(\w+)`", told.group(1)) == list(STAGE_NAMES)
    assert {name: STAGE_OF[name] for name in STAGE_NAMES} == STAGE_OF


@every_stage
def test_the_page_names_what_a_stage_compares(stage: Stage) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{stage.name}` |"))
    assert set(re.findall(rf"`{stage.name}/(\w+)", row)) == set(stage.meanings)


@every_stage
@some_cases
def test_a_manifest_says_what_a_stage_answers(stage: Stage, name: str) -> None:
    case, values = read(name), golden_of(name)
    entries = next(one for one in case.manifest["stages"] if one["name"] == stage.name)
    assert entries["given"] == stage.given
    compared = dict(stage.compared(values))
    assert [entry["name"] for entry in entries["tensors"]] == list(compared)
    for entry in entries["tensors"]:
        kind = what(entry["name"])
        assert stage.names(entry["name"])
        assert entry["meaning"] == stage.meanings[kind]
        assert entry["exact"] == (kind in stage.exact)
        assert entry["tensor"] == stage.tensor(entry["name"], values.material)
        assert entry["axes"] == stage.axes(entry["name"], values.material, len(entry["shape"]))
        assert len(entry["axes"]) == len(entry["shape"])
        value = compared[entry["name"]]
        assert (str(value.dtype), list(value.shape)) == (entry["dtype"], entry["shape"])


@every_stage
@some_cases
def test_a_tolerance_comes_of_every_value_that_may_be_off(stage: Stage, name: str) -> None:
    """Perturbed are those that are compared, but the exact ones; without noise they stay where they are."""
    values = golden_of(name)
    compared = dict(stage.compared(values))
    still = dict(stage.perturbed(values, Rounding(0.0, np.random.default_rng(0))))
    moved = dict(stage.perturbed(values, Rounding(1e-2, np.random.default_rng(0))))
    assert set(still) == set(moved) == {one for one in compared if what(one) not in stage.exact}
    apart = {one: float(np.max(np.abs(moved[one] - compared[one]), initial=0.0)) for one in still}
    assert all(value > 0 for one, value in apart.items() if np.any(compared[one]))
    if name != "golden_ill_conditioned":
        for one, value in still.items():
            # A forward pass is rounded as float32 at least; a fit written out is not the engine's to the last digit.
            assert np.max(np.abs(value - compared[one]), initial=0.0) <= 1e-5 * np.max(np.abs(compared[one])) + 1e-12


def test_the_tolerance_as_the_page_says_it() -> None:
    eps = float(np.finfo(np.float32).eps)
    assert tolerance(1e-5, 2.0, "float32") == SAFETY * 1e-5 + FLOOR * eps * 2.0
    assert tolerance(0.0, 0.0, "float64") == 0.0
    assert tolerance(np.inf, 2.0, "float64") is None
    edge = HOPELESS * 2.0 / SAFETY
    assert tolerance(0.9 * edge, 2.0, "float64") is not None
    assert tolerance(1.1 * edge, 2.0, "float64") is None


class Unread:
    """Evidence of a case whose model is not there."""

    network = None

    @property
    def golden(self) -> Golden:
        raise AssertionError("there is no network to read the case with")

    def value(self, tensor: str) -> np.ndarray:
        return np.ones((2, 3, 4))

    def layer(self, output: str) -> None:
        raise AssertionError("there is no network")


@every_stage
def test_causes_that_need_the_network_are_left_out_without_it(stage: Stage) -> None:
    array = np.random.default_rng(0).standard_normal((2, 3, 4))
    for kind in stage.meanings:
        deviation = Deviation(f"{stage.name}/{kind}/t/0", "t", array, array * 2)
        causes = dict(stage.causes(deviation, Unread()))  # type: ignore[arg-type]
        assert ("the sign is wrong" in causes) == (kind not in stage.exact)
        for mistaken in causes.values():
            assert mistaken().size == array.size


def test_a_stage_without_its_facts_is_no_stage() -> None:
    with pytest.raises(TypeError, match="stage Silent does not say its given"):

        class Silent(Stage):
            name = "silent"


def test_what_a_stage_does_not_answer_it_cannot_be_made_without() -> None:
    class Mute(Stage):
        name, given, meanings, exact, optional = "mute", "", {}, frozenset(), frozenset()

    with pytest.raises(TypeError, match="abstract"):
        Mute()  # type: ignore[abstract]
