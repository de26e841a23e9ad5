"""Another implementation of the method passes every golden case, stage by stage and end to end, in both precisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import mipin_ref as mr
from tests.golden.independent import Case, Independent
from tests.golden.independent.case import read_safetensors

STAGES = ("forward", "solve", "propagate", "end")
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


def name(folder: Path) -> str:
    return folder.parent.name


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("folder", mr.golden.cases(), ids=name)
def test_every_case_passes(folder: Path, dtype: str) -> None:
    candidate = Independent(Case(folder, PRECISIONS[dtype])).candidate()
    for stage in STAGES:
        own = {key: array.numpy() for key, array in candidate.items() if key.startswith(f"{stage}/")}
        result = mr.golden.verify(folder, own, stages=[stage])
        assert result.ok, result.first
        assert result.compared[stage] > 0


def test_there_are_cases() -> None:
    assert {"mnist_mlp", "mnist_cnn"} <= {name(folder) for folder in mr.golden.cases()}
    assert len(mr.golden.cases()) >= 18


@pytest.mark.parametrize("folder", mr.golden.cases(), ids=name)
def test_the_fit_uses_the_rows_that_the_method_says(folder: Path) -> None:
    case = Case(folder, torch.float64)
    assert torch.equal(Independent(case).rows(), case.golden("rows").bool())


@pytest.mark.parametrize("folder", mr.golden.cases(), ids=name)
def test_the_files_layout_is_as_described(folder: Path) -> None:
    """Read by the description alone, the arrays are those that the safetensors library finds."""
    own, library = read_safetensors(folder / "arrays.safetensors"), load_file(folder / "arrays.safetensors")
    assert own.keys() == library.keys()
    for key, array in own.items():
        np.testing.assert_array_equal(array.numpy(), library[key])


def test_a_candidate_from_a_file_passes(tmp_path: Path) -> None:
    folder = next(folder for folder in mr.golden.cases() if name(folder) == "golden_cnn")
    candidate = Independent(Case(folder, torch.float32)).candidate()
    arrays = {key: np.ascontiguousarray(array.numpy()) for key, array in candidate.items()}
    save_file(arrays, tmp_path / "candidate.safetensors")
    np.savez(tmp_path / "candidate.npz", **arrays)  # type: ignore[arg-type]
    for file in ("candidate.safetensors", "candidate.npz"):
        result = mr.golden.verify(folder, tmp_path / file)
        assert result.ok, result.first
        assert set(result.compared) == set(STAGES)
