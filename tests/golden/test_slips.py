"""Every kind has its regressors and its known slips; slips are mistakes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.golden.regressors import REGRESSORS, regressors_of
from mipin_ref.golden.reread import reread
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages.end import _ties_kept
from mipin_ref.golden.stages.pull_slips import PULL_SLIPS, pull_slips
from mipin_ref.golden.values import Golden
from mipin_ref.inverse.descent.pull_back import pull_back
from mipin_ref.inverse.plan import Branch, Step
from mipin_ref.layers import KINDS, Dense, Shared, Unweighted
from tests.backends import backend
from tests.golden.arrays import NAMES, read
from tests.layers.made_up import negation


def golden_of(name: str) -> Golden:
    case = read(name)
    return reread(case, mr.load(case.model, output=case.manifest["model"]["output"]))


def test_every_kind_with_shared_weights_has_its_regressors() -> None:
    assert set(REGRESSORS) == {kind for kind in KINDS if issubclass(kind, Shared)}

    class Heir(Dense):
        kind = "Heir"

    shapes = {"in_shapes": ((3,),), "out_shape": (2,)}
    layer = Heir(name="odd", inputs=("t",), output="u", weight=np.ones((3, 2)), bias=np.ones(2), **shapes)  # type: ignore[arg-type]
    with pytest.raises(mr.UnsupportedModel, match=r"the regressors of layer 'odd' \(Heir\) are not written out"):
        regressors_of(layer)


def test_every_kind_without_has_its_known_slips_on_the_way_back() -> None:
    assert set(PULL_SLIPS) == {kind for kind in KINDS if issubclass(kind, Unweighted)}
    step = Step("t", (3, 4, 4), (Branch((negation(),), 0),), False, False)
    with pytest.raises(mr.UnsupportedModel, match="the slips on the way back through Negation are not known"):
        next(pull_slips(step, golden_of("golden_mlp").material))


def test_every_slip_is_a_mistake_somewhere() -> None:
    """Of each kind that some case holds, each slip changes the signal of some step."""
    seen: set[str] = set()
    told: set[str] = set()
    for name in (name for name in NAMES if not name.startswith("mnist")):
        golden = golden_of(name)
        for step in golden.material.plan.steps:
            signals = golden.material.read(step, golden.s)
            for branch in step.own:
                right = pull_back(backend("numpy"), branch, signals, golden.material.taps)
                for cause, pull in pull_slips(step, golden.material):
                    with np.errstate(all="ignore"):
                        wrong = pull(backend("numpy"), branch, signals, golden.material.taps)
                    assert wrong.shape == right.shape
                    told.add(cause)
                    if not np.allclose(wrong, right, rtol=1e-9):
                        seen.add(cause)
    assert seen == told
    assert told == {cause for slips in PULL_SLIPS.values() for cause, _ in slips}


def test_winners_of_equal_values_stay_when_everything_is_rounded() -> None:
    golden = golden_of("golden_extremum")
    values = golden.material.values
    equal = values["clip1"] == values["clip2"]
    assert np.any(equal & (values["clip1"] != 0))
    noisy = replace(golden.material, values={**values, "clip2": values["clip2"] + np.float32(1e-3)})
    assert np.all(noisy.taps["largest"][equal] == 1)
    kept = _ties_kept(golden.material, noisy)
    assert np.all(kept.taps["largest"][equal] == 0)
    assert np.array_equal(kept.taps["largest"][~equal], noisy.taps["largest"][~equal])


def test_what_layers_start_from_is_rounded_too() -> None:
    golden = golden_of("golden_frontier")
    noisy = Rounding(1e-3, np.random.default_rng(0)).forward(golden.material)
    for name in ("running", "summed"):
        before, after = golden.material.values[name], noisy.values[name]
        assert 0 < np.max(np.abs(after - before)) <= 1.001e-3 * np.max(np.abs(before))
