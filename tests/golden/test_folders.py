"""A case is read by its model's folder, is a candidate itself, and names its model from where it lies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.cli.main import main
from mipin_ref.errors import CorruptFile, InvalidData, MipinError
from mipin_ref.golden.case import write_manifest
from tests.golden.arrays import PATHS, candidate, read

CASE = PATHS["golden_mlp"]


def test_a_case_is_read_by_its_models_folder() -> None:
    case = mr.golden.read_case(CASE.parent)
    assert (case.name, case.folder) == ("golden_mlp", CASE)
    assert mr.golden.verify(CASE.parent, candidate(read("golden_mlp"))).ok


@pytest.mark.parametrize("given", [CASE, CASE / "arrays.safetensors", CASE.parent])
def test_a_case_is_its_own_candidate(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if given == CASE.parent:  # a folder is a case's, not a model's, where it stands for arrays
        with pytest.raises(InvalidData):
            mr.golden.verify(CASE, given)
        return
    verified = mr.golden.verify(CASE, given)
    assert verified.ok
    assert verified.worst == 0
    assert verified.compared == {"forward": 7, "solve": 12, "propagate": 12, "end": 3}
    assert main(["golden", "verify", str(CASE.parent), str(given)]) == 0
    assert "all within tolerance" in capsys.readouterr().out


def test_another_case_of_the_same_model_is_compared(tmp_path: Path) -> None:
    """The names are those of its manifest: equal arrays are stored once, under names that depend on their values."""
    case = read("golden_mlp")
    x = case.given("x")
    assert x is not None
    mr.golden.make(case.model, x + np.float32(0.5), 1, tmp_path / "moved")
    verified = mr.golden.verify(CASE, tmp_path / "moved" / "arrays.safetensors")
    assert verified.first is not None
    assert verified.first.name == "forward/value/dense1"
    assert mr.golden.verify(tmp_path / "moved", tmp_path / "moved").ok


def test_arrays_of_a_damaged_case_are_no_candidate(tmp_path: Path) -> None:
    shutil.copytree(CASE, tmp_path / "case")
    (tmp_path / "case" / "manifest.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"manifest\.json"):
        mr.golden.verify(CASE, tmp_path / "case" / "arrays.safetensors")


def test_the_model_is_named_from_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(CASE.parent / "model.onnx", tmp_path / "models" / "m.onnx")
    x = np.random.default_rng(0).standard_normal((8, 6), np.float32)
    monkeypatch.chdir(tmp_path)
    for model in (tmp_path / "models" / "m.onnx", "models/m.onnx", "./models/../models/m.onnx"):
        mr.golden.make(model, x, 0, "cases/one")
        text = (tmp_path / "cases" / "one" / "manifest.json").read_text()
        assert json.loads(text)["model"]["file"] == "../../models/m.onnx"
        assert str(tmp_path) not in text
    # What is moved together stays together.
    shutil.move(tmp_path, tmp_path.with_name("elsewhere"))
    assert mr.golden.read_case(tmp_path.with_name("elsewhere") / "cases" / "one").model.is_file()


def changed(folder: Path, change: Any) -> Path:
    """A copy of the case whose manifest, honestly sealed, says something else."""
    shutil.copytree(CASE.parent, folder)
    manifest = json.loads((CASE / "manifest.json").read_bytes())
    change(manifest)
    write_manifest(folder / "golden", manifest)
    return folder / "golden"


@pytest.mark.parametrize("file", ["/etc/hostname", "/dev/zero", "C:\\model.onnx", "\\\\host\\share\\m.onnx", "a\0b"])
def test_a_manifest_that_names_an_absolute_path_is_refused(tmp_path: Path, file: str) -> None:
    case = changed(tmp_path / "case", lambda manifest: manifest["model"].update(file=file))
    with pytest.raises(CorruptFile, match="is not relative"):
        mr.golden.read_case(case)


CHANGES = {
    "no options": lambda manifest: manifest["options"].clear(),
    "no target": lambda manifest: manifest["options"].pop("target"),
    "target of a list": lambda manifest: manifest["options"].update(target=[]),
    "target out of range": lambda manifest: manifest["options"].update(target=10**9),
    "ridge of 400 digits": lambda manifest: manifest["options"].update(ridge=1e308),
    "no samples": lambda manifest: manifest["given"].clear(),
    "other output": lambda manifest: manifest["model"].update(output="relu1"),
    "no stage": lambda manifest: manifest["stages"].clear(),
    "tensors of another name": lambda manifest: [t.update(name="x/y/z") for t in manifest["stages"][0]["tensors"]],
    "shape of text": lambda manifest: manifest["stages"][0]["tensors"][0].update(shape="12"),
    "a tolerance of 39 digits": lambda manifest: manifest["stages"][0]["tensors"][0]["tolerance"].update(
        float64=10**38
    ),
    "a tolerance that is no number": lambda manifest: manifest["stages"][0]["tensors"][0].update(tolerance="much"),
    "the model is a list": lambda manifest: manifest.update(model=[]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_of_other_content_is_read_or_refused(tmp_path: Path, name: str) -> None:
    """Honestly sealed, so that its content is what is judged; also where the cause of a difference is looked for."""
    case = changed(tmp_path / "case", CHANGES[name])
    off = {key: value + 1 for key, value in candidate(read("golden_mlp")).items() if value.dtype.kind == "f"}
    for given in (candidate(read("golden_mlp")), off):
        told = _told(case, given)
        assert "\n" not in told
        assert told


def _told(case: Path, given: Any) -> str:
    try:
        return str(mr.golden.verify(case, given))
    except MipinError as error:
        return str(error)


def test_a_tolerance_of_400_digits(tmp_path: Path) -> None:
    case = changed(tmp_path / "case", lambda manifest: None)
    manifest = json.loads((case / "manifest.json").read_bytes())
    manifest["stages"][0]["tensors"][0]["tolerance"]["float64"] = 10**400
    write_manifest(case, manifest)
    with pytest.raises(CorruptFile, match="an integer of 401 digits"):
        mr.golden.read_case(case)
