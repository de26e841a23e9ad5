"""tools/make_golden.py: its cases are those on disk, networks come out of it byte by byte, and its check can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import make_golden
from golden.recipe import CASES
from mipin_ref.golden.case import write_manifest
from tests.golden.arrays import NAMES, PATHS, copied, read


def test_the_cases_are_those_on_disk() -> None:
    assert sorted(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_recipes_make_what_is_on_disk(name: str) -> None:
    recipe, case = CASES[name](), read(name)
    if recipe.model is not None:
        assert recipe.model == (PATHS[name].parent / "model.onnx").read_bytes()
    x = case.given("x")
    assert x is not None
    assert np.array_equal(recipe.x, x)
    target = case.manifest["model"].get("target", case.manifest["options"]["target"])
    assert recipe.target == (tuple(target) if isinstance(target, list) else target)


def test_check_tells_the_same_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_golden, "MODELS", tmp_path)
    folder = copied("golden_mlp", tmp_path)
    assert make_golden.main(["--check", "golden_mlp"]) == 0
    with safetensors.safe_open(folder / "arrays.safetensors", framework="numpy") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays["solve/weight/relu1/0"][0, 0] *= 1 + 1e-9
    safetensors.numpy.save_file(arrays, folder / "arrays.safetensors", metadata)
    write_manifest(folder, json.loads((folder / "manifest.json").read_bytes()))
    capsys.readouterr()
    assert make_golden.main(["--check", "golden_mlp"]) == 1
    assert "'solve/weight/relu1/0' (stage solve) is off by" in capsys.readouterr().out


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_golden.main(["--check", "other"])
    assert "no case other" in capsys.readouterr().err


def test_write_makes_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_golden, "MODELS", tmp_path)
    assert make_golden.main(["golden_mlp"]) == 0
    assert make_golden.main(["--check", "golden_mlp"]) == 0
