"""Cases of one's own model, their tolerances, and the fit written out that they are checked against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.errors import CorruptFile, InvalidData, MipinError
from mipin_ref.golden import build, regression
from mipin_ref.golden.case import write_case
from mipin_ref.golden.perturb import changes
from mipin_ref.golden.reread import reread
from mipin_ref.inverse.inverse import Inverse
from tests.golden.arrays import NAMES, PATHS, Array, candidate, copied, read


def model(name: str) -> Path:
    return PATHS[name].parent / "model.onnx"


def test_a_case_of_ones_own(tmp_path: Path) -> None:
    """The folder need not lie beside the model; what is returned is what is read again."""
    x = np.random.default_rng(5).standard_normal((12, 2, 8, 8)).astype(np.float32)
    case = mr.golden.make(model("golden_cnn"), x, 2, tmp_path / "mine", ridge=0.1, conv_bias=True)
    assert case.name == "mine"
    assert case.model.resolve() == model("golden_cnn").resolve()
    assert case.manifest["options"]["ridge"] == 0.1
    assert mr.golden.verify(tmp_path / "mine", candidate(case)).ok
    assert mr.golden.remake(tmp_path / "mine").ok
    inverse = mr.fit(mr.load(model("golden_cnn")), x, 2, ridge=0.1, conv_bias=True)
    res = inverse.attribute(x)
    given = {"end/S": res.source, "end/A": res.attribution, "end/output": res.output}
    assert mr.golden.verify(case, given).ok
    other = mr.fit(mr.load(model("golden_cnn")), x, 2, ridge=0.11, conv_bias=True).attribute(x)
    assert not mr.golden.verify(case, given | {"end/S": other.source}).ok


def test_the_engine_in_float32_passes() -> None:
    for name in ("golden_cnn", "golden_residual", "golden_average_pool"):
        case = read(name)
        x, options = case.given("x"), dict(case.manifest["options"])
        target = options.pop("target")
        inverse = mr.fit(mr.load(case.model), x, target, **{**options, "dtype": "float32"})
        res = inverse.attribute(x)
        given = {"end/S": res.source, "end/A": res.attribution, "end/output": res.output}
        assert {a.dtype for a in given.values()} == {np.dtype(np.float32)}
        verified = mr.golden.verify(case, given)
        assert verified.ok, str(verified)


def test_data_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="at least 2"):
        mr.golden.make(model("golden_mlp"), np.zeros((1, 6), np.float32), 0, tmp_path / "a")
    with pytest.raises(InvalidData, match="the network takes"):
        mr.golden.make(model("golden_mlp"), np.zeros((4, 5), np.float32), 0, tmp_path / "b")
    with pytest.raises(InvalidData, match="target 9 is out of range"):
        mr.golden.make(model("golden_mlp"), np.zeros((4, 6), np.float32), 9, tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_rows_that_take_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "ROWS_BYTES", 10_000)
    x = read("golden_cnn").given("x")
    with pytest.raises(InvalidData, match="make the case of fewer samples"):
        mr.golden.make(model("golden_cnn"), x, 0, tmp_path / "mine")


def test_an_engine_that_disagrees_with_the_fit_written_out_makes_no_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slightly_wrong(*args: object, **options: object) -> Inverse:
        inverse: Inverse = mr.fit(*args, **options)  # type: ignore[call-overload]
        weights = dict(inverse.weights)
        weights["pool1"] = replace(weights["pool1"], blocks=(weights["pool1"].blocks[0] * (1 + 1e-7),))
        return replace(inverse, weights=weights)

    monkeypatch.setattr(build, "fit", slightly_wrong)
    x = read("golden_cnn").given("x")
    with pytest.raises(MipinError, match="the engine's fit of tensor 'pool1' disagrees"):
        mr.golden.make(model("golden_cnn"), x, 1, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_what_is_not_determined_is_not_compared(tmp_path: Path) -> None:
    """Made again, a case with a nearly singular fit leaves out the same tensors at both precisions."""
    old = read("golden_ill_conditioned")
    case = mr.golden.make(old.model, old.given("x"), 1, tmp_path / "mine", ridge=old.manifest["options"]["ridge"])
    for dtype in ("float64", "float32"):
        left = [{t.name for t in one.tensors if t.tolerance.get(dtype, 0.0) is None} for one in (old, case)]
        assert left[0] == left[1]
        assert "solve/weight/input/0" in left[1]


def test_large_arrays_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of 7 × 8 float64 give way to predictions alone; propagation goes on below from the golden signals."""
    monkeypatch.setattr(build, "PARAMETER_LIMIT", 7 * 8 * 8 - 1)
    case = mr.golden.make(model("golden_mlp"), read("golden_mlp").given("x"), 1, tmp_path / "mine")
    names = {tensor.name for tensor in case.tensors}
    assert "solve/weight/relu1/0" not in names
    assert {"solve/weight/input/0", "solve/intercept/relu1", "solve/prediction/relu1"} <= names
    steps = {step["tensor"]: [branch["weight"] for branch in step["branches"]] for step in case.manifest["steps"]}
    assert steps["relu1"] == [None]
    assert steps["input"] == ["solve/weight/input/0"]
    verified = mr.golden.remake(tmp_path / "mine")
    assert verified.ok, str(verified)
    monkeypatch.setattr(build, "PARAMETER_LIMIT", 16 * 6 * 4 - 1)
    case = mr.golden.make(model("golden_cnn"), read("golden_cnn").given("x"), 1, tmp_path / "cnn")
    dense = [layer["parameters"]["weight"] for layer in case.manifest["layers"] if layer["kind"] == "Dense"]
    assert dense == [None, "layer/8/weight"]


def rewritten(folder: Path, name: str, change: Callable[[Array], Array]) -> None:
    """Change the array of one given or compared tensor on disk."""
    case = mr.golden.read_case(folder)
    array = {entry["name"]: entry["array"] for entry in case.manifest["given"]} | {
        t.name: t.array for t in case.tensors
    }
    arrays = dict(case.arrays)
    arrays[array[name]] = change(arrays[array[name]])
    write_case(folder, case.manifest, arrays)


def test_every_stage_is_computed_anew(tmp_path: Path) -> None:
    for name in ("forward/value/relu1", "solve/weight/relu1/0", "propagate/A/input", "end/output"):
        folder = copied("golden_mlp", tmp_path / name.replace("/", "-"))
        rewritten(folder, name, lambda a: (a * 1.01).astype(a.dtype))
        verified = mr.golden.remake(folder)
        assert name in [finding.name for finding in verified.findings]


def test_rows_that_the_options_do_not_select(tmp_path: Path) -> None:
    for name in ("golden_target_class", "golden_target_prediction"):
        folder = copied(name, tmp_path)
        assert mr.golden.remake(folder).ok
        rewritten(folder, "rows", np.ones_like)
        with pytest.raises(CorruptFile, match=r"the rows of .* are not those that its options select"):
            mr.golden.remake(folder)


@pytest.mark.parametrize("name", ["golden_mlp", "golden_residual", "golden_min_norm"])
def test_the_recorded_changes_are_seen_again(name: str) -> None:
    """The perturbed runs are seeded: they end where the manifest says, to what another BLAS may round."""
    case = read(name)
    golden = reread(case, mr.load(case.model))
    entries = [entry for stage in case.manifest["stages"] for entry in stage["tensors"] if not entry["exact"]]
    moved = changes(golden, "float32", lambda runs: None)
    for entry in entries:
        told = entry["change"]["float32"]
        floor = 64 * 2**-52 * entry["largest"]
        assert told is not None
        if entry["tolerance"]["float32"] is not None:
            assert abs(moved[entry["name"]] - told) <= 0.05 * told + floor, entry["name"]


def test_tolerances_follow_the_condition() -> None:
    """Weights of a nearly singular fit may be off by far more than those of a well conditioned one."""
    bounds = {}
    for name, tensor in (("golden_large_ridge", "pool1"), ("golden_mlp", "relu1"), ("golden_ill_conditioned", "relu1")):
        for stage in read(name).manifest["stages"]:
            for entry in stage["tensors"]:
                if entry["name"].startswith("solve/weight/") and entry["tensor"] in (tensor, "input"):
                    bounds[name, entry["tensor"]] = entry["change"]["float64"] / entry["largest"]
    assert bounds["golden_large_ridge", "input"] < 1e-14
    assert bounds["golden_ill_conditioned", "input"] > 1e-4


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("golden")])
def test_a_case_read_again_is_the_one_that_was_made(name: str) -> None:
    """Blocks, signals and switches go round through the file: the fit written out gives the golden weights again."""
    case = read(name)
    golden = reread(case, mr.load(case.model, output=case.manifest["model"]["output"]))
    for step in golden.material.plan.fitted:
        twin = golden.material.invert(step, golden.s, golden.rows, golden.ridges[step.tensor])
        for number, block in enumerate(twin.blocks):
            tensor = next(t for t in case.tensors if t.name == f"solve/weight/{step.tensor}/{number}")
            bound = tensor.tolerance["float64"]
            if bound is not None:
                assert np.max(np.abs(block - case.golden(tensor))) <= bound
