"""Candidates and cases that are refused, in one sentence."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import mipin_ref as mr
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.golden.case import write_manifest
from mipin_ref.seal import OPEN, sealed
from tests.golden.arrays import PATHS, Candidate, candidate, copied, read

WEIGHT = "solve/weight/relu1/0"


def solve_stage() -> Candidate:
    return candidate(read("golden_mlp"), "solve")


def refused(given: Any, match: str, error: type[Exception] = InvalidData) -> None:
    with pytest.raises(error, match=match) as caught:
        mr.golden.verify(PATHS["golden_mlp"], given)
    assert "\n" not in str(caught.value)


def test_a_missing_tensor() -> None:
    given = solve_stage()
    del given[WEIGHT]
    refused(given, f"lacks '{WEIGHT}'")


def test_an_extra_tensor_and_another_name() -> None:
    given = solve_stage()
    refused(given | {"notes": np.zeros(3)}, "has no tensor 'notes'")
    given["solve/weights/relu1/0"] = given.pop(WEIGHT)
    refused(given, "has no tensor 'solve/weights/relu1/0' \\(did you mean 'solve/weight/relu1/0'\\?\\)")


def test_many_extra_tensors_are_told_in_one_sentence() -> None:
    refused(solve_stage() | {f"extra{i}": np.zeros(1) for i in range(40)}, "and 35 more")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a.T, "its axes seem to be in another order"),
        (lambda a: a.ravel(), "its axes seem to be joined"),
        (lambda a: a[:-1], r"has shape \[7, 7\], not \[8, 7\]$"),
        (lambda a: np.where(a == a.max(), np.nan, a), "holds NaN or Inf, first at"),
        (lambda a: np.where(a == a.max(), np.inf, a), "holds NaN or Inf"),
        (lambda a: a.astype(np.float16), "must be float64 or float32, not float16"),
        (lambda a: a.astype(np.int64), "must be float64 or float32, not int64"),
        (lambda a: a.astype(complex), "must be float64 or float32, not complex128"),
    ],
)
def test_a_wrong_array(change: Callable[[Any], Any], match: str) -> None:
    given = solve_stage()
    given[WEIGHT] = change(given[WEIGHT])
    refused(given, match)


def test_switches_that_are_no_integers() -> None:
    case = read("golden_cnn")
    given = candidate(case)
    given["forward/switch/pool1"] = given["forward/switch/pool1"].astype(np.float64)
    with pytest.raises(InvalidData, match="holds integers; the candidate's are float64"):
        mr.golden.verify(case, given)
    for kind in (np.int32, np.uint16, np.uint64):
        given["forward/switch/pool1"] = given["forward/switch/pool1"].astype(kind)
        assert mr.golden.verify(case, given).ok
    given["forward/mask/pool1"] = given["forward/mask/pool1"].astype(np.bool_)
    assert mr.golden.verify(case, given).ok


def test_stages_and_dtypes_that_are_not_there() -> None:
    with pytest.raises(InvalidData, match="there is no stage 'sove'; stages are forward, solve, propagate, end"):
        mr.golden.verify(PATHS["golden_mlp"], solve_stage(), stages=["sove"])
    with pytest.raises(InvalidData, match="no tensor of stage end"):
        mr.golden.verify(PATHS["golden_mlp"], solve_stage(), stages=["solve", "end"])
    with pytest.raises(InvalidData, match="dtype must be"):
        mr.golden.verify(PATHS["golden_mlp"], solve_stage(), dtype="float16")
    refused({}, "no tensor of stage forward, solve, propagate, end")
    refused(3, "a candidate is a path or arrays by name, not a int")


# Files.


def test_fortran_order_in_an_npz_has_the_right_values(tmp_path: Path) -> None:
    given = {name: np.asfortranarray(a) for name, a in candidate(read("golden_cnn")).items()}
    assert not given["solve/weight/pool1/0"].flags["C_CONTIGUOUS"]
    saves: tuple[Callable[..., None], ...] = (np.savez, np.savez_compressed)
    for save in saves:
        save(tmp_path / "candidate.npz", **given)
        with zipfile.ZipFile(tmp_path / "candidate.npz") as archive:
            assert b"'fortran_order': True" in archive.read("solve/weight/pool1/0.npy")[:128]
        assert mr.golden.verify(PATHS["golden_cnn"], tmp_path / "candidate.npz").ok


@pytest.mark.parametrize("name", ["golden_cnn", "mnist_mlp"])
def test_both_kinds_of_file(tmp_path: Path, name: str) -> None:
    """Also with tensor names that begin with a slash."""
    given = candidate(read(name))
    np.savez(tmp_path / "candidate.npz", **given)  # type: ignore[arg-type]
    safetensors.numpy.save_file(given, tmp_path / "candidate.safetensors")
    for kind in ("npz", "safetensors"):
        verified = mr.golden.verify(PATHS[name], tmp_path / f"candidate.{kind}")
        assert verified.ok, str(verified)
        assert sum(verified.compared.values()) == len(given)


def test_an_array_scrambled_on_its_way_into_safetensors_is_told(tmp_path: Path) -> None:
    """safetensors has C order alone: whoever writes a Fortran-ordered buffer as it lies writes other values."""
    given = candidate(read("golden_cnn"), "solve")
    given["solve/weight/pool1/0"] = np.asfortranarray(given["solve/weight/pool1/0"])
    name = "solve/weight/pool1/0"
    scrambled = given | {name: given[name].ravel("K").reshape(given[name].shape)}
    safetensors.numpy.save_file(scrambled, tmp_path / "candidate.safetensors")
    finding = mr.golden.verify(PATHS["golden_cnn"], tmp_path / "candidate.safetensors").first
    assert finding is not None
    assert (finding.name, finding.cause) == (name, "the values lie in Fortran order")


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "candidate.npz", **{**solve_stage(), WEIGHT: np.array([Trap()], dtype=object)})  # type: ignore[arg-type]
    refused(tmp_path / "candidate.npz", "pickled Python objects, which are never read")
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "candidate.pkl").write_bytes(pickle.dumps({}))
    refused(tmp_path / "candidate.pkl", "is a .npz or a .safetensors file")


def header(entries: object, *, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


DAMAGED = {
    "empty": b"",
    "short": b"\x10\x00",
    "no JSON": struct.pack("<Q", 4) + b"oops",
    "header beyond the file": header({}, length=1 << 20),
    "header of 2^60 bytes": header({}, length=1 << 60),
    "tensor of 2^60 bytes": header({WEIGHT: {"dtype": "F64", "shape": [1 << 57], "data_offsets": [0, 1 << 60]}}),
    "shape of 2^80 entries": header({WEIGHT: {"dtype": "F64", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}),
    "offsets the wrong way round": header({WEIGHT: {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]}}) + b"\0" * 8,
    "unknown dtype": header({WEIGHT: {"dtype": "Q64", "shape": [1], "data_offsets": [0, 8]}}) + b"\0" * 8,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_safetensors_candidate(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "candidate.safetensors"
    path.write_bytes(DAMAGED[damage])
    refused(path, "is not a safetensors file, or is truncated", CorruptFile)


def test_a_safetensors_dtype_that_numpy_lacks(tmp_path: Path) -> None:
    entries: dict[str, Any] = {}
    size = 0
    for tensor in read("golden_mlp").tensors:
        if tensor.stage == "end":
            start, size = size, size + 2 * int(np.prod(tensor.shape))
            entries[tensor.name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, size]}
    path = tmp_path / "candidate.safetensors"
    path.write_bytes(header(entries) + b"\0" * size)
    refused(path, "'end/output' must be float64 or float32, or integers, not BF16")


def test_a_truncated_archive(tmp_path: Path) -> None:
    path = tmp_path / "candidate.npz"
    np.savez(path, **solve_stage())  # type: ignore[arg-type]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "not a whole .npz archive", CorruptFile)
    path.write_bytes(b"no archive")
    refused(path, "not a whole .npz archive", CorruptFile)


def test_an_npz_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "candidate.npz"
    claim = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }"
    np.savez(path, **{name: a for name, a in solve_stage().items() if name != WEIGHT})  # type: ignore[arg-type]
    with zipfile.ZipFile(path, "a") as archive:
        text = claim.ljust(117) + b"\n"
        archive.writestr(f"{WEIGHT}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 8)
    refused(path, "the header claims", CorruptFile)


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "candidate.npz", "there is no file")
    with pytest.raises(InvalidData, match=r"no golden case in .* it has no manifest.json"):
        mr.golden.verify(tmp_path, {})


# Cases.


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    change(manifest)
    path.write_bytes(sealed(json.dumps({**manifest, "seal": OPEN}).encode()))
    return folder


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (lambda m: m.update(version=2), "has schema version 2; this package reads 1"),
    "no version": (lambda m: m.pop("version"), "has schema version None"),
    "format": (lambda m: m.update(format="other"), "is not the manifest of a golden case"),
    "hash": (lambda m: m["model"].update(sha256="0" * 64), "is not the model of this case: its SHA-256 begins"),
    "no stages": (lambda m: m.pop("stages"), "is not a manifest of this version"),
    "stages in another order": (lambda m: m["stages"].reverse(), "is not a manifest of this version"),
    "array that is not there": (lambda m: m["given"][0].update(array="y"), "is not a manifest of this version"),
    "shape": (lambda m: m["stages"][0]["tensors"][0].update(shape=[1]), "is not as the manifest says"),
    "dtype": (lambda m: m["stages"][0]["tensors"][0].update(dtype="float64"), "is not as the manifest says"),
    "tolerance": (lambda m: m["stages"][0]["tensors"][0]["tolerance"].update(float64=-1), "tolerance -1"),
    "not-a-number tolerance": (
        lambda m: m["stages"][0]["tensors"][0]["tolerance"].update(float64=float("nan")), "tolerance nan",
    ),
    "stages that are no list": (lambda m: m.update(stages=3), "is not a manifest of this version"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_manifest(tmp_path: Path, how: str) -> None:
    change, match = BROKEN[how]
    folder = rewritten(copied("golden_mlp", tmp_path), change)
    with pytest.raises(CorruptFile, match=match):
        mr.golden.verify(folder, solve_stage())


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_none(tmp_path: Path, content: bytes) -> None:
    folder = copied("golden_mlp", tmp_path)
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CorruptFile):
        mr.golden.verify(folder, solve_stage())


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_arrays_of_a_case(tmp_path: Path, damage: str) -> None:
    folder = copied("golden_mlp", tmp_path)
    (folder / "arrays.safetensors").write_bytes(DAMAGED[damage])
    with pytest.raises(CorruptFile, match="is not the arrays of this case, or is damaged"):
        mr.golden.verify(folder, solve_stage())
    write_manifest(folder, json.loads((folder / "manifest.json").read_bytes()))
    with pytest.raises(CorruptFile, match="is not the arrays of a golden case"):
        mr.golden.verify(folder, solve_stage())


def test_a_case_without_a_checksum(tmp_path: Path) -> None:
    """As earlier versions made them."""
    folder = copied("golden_mlp", tmp_path)
    path = folder / "manifest.json"
    manifest = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "seal"}
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CorruptFile, match="holds no checksum of itself; make the case anew"):
        mr.golden.read_case(folder)
    del manifest["arrays"]
    path.write_bytes(sealed(json.dumps({"seal": OPEN, **manifest}).encode()))
    with pytest.raises(CorruptFile, match="is not the arrays of this case"):
        mr.golden.read_case(folder)


def test_a_case_without_its_arrays(tmp_path: Path) -> None:
    folder = copied("golden_mlp", tmp_path)
    (folder / "arrays.safetensors").unlink()
    with pytest.raises(InvalidData, match="there is no file"):
        mr.golden.read_case(folder)


def test_another_model_beside_the_case(tmp_path: Path) -> None:
    folder = copied("golden_mlp", tmp_path)
    (folder.parent / "model.onnx").write_bytes((PATHS["golden_cnn"].parent / "model.onnx").read_bytes())
    with pytest.raises(CorruptFile, match="is not the model of this case"):
        mr.golden.verify(folder, solve_stage())


def test_a_case_suffices_without_its_model(tmp_path: Path) -> None:
    """Only causes that need the network stay unknown, and it cannot be made anew."""
    folder = copied("golden_cnn", tmp_path)
    (folder.parent / "model.onnx").unlink()
    given = candidate(read("golden_cnn"))
    assert mr.golden.verify(folder, given).ok
    flipped = given | {"solve/weight/pool1/0": given["solve/weight/pool1/0"][..., ::-1, ::-1]}
    finding = mr.golden.verify(folder, flipped).first
    assert finding is not None
    assert finding.cause == "the kernel is flipped in space"
    given["solve/intercept/flat"] = given["solve/intercept/flat"] + np.arange(16)
    finding = mr.golden.verify(folder, given).first
    assert finding is not None
    assert finding.cause is None
    with pytest.raises(InvalidData, match="there is no model"):
        mr.golden.remake(folder)


def test_layers_that_are_not_the_models(tmp_path: Path) -> None:
    folder = rewritten(copied("golden_cnn", tmp_path), lambda m: m["layers"][0]["window"].update(strides=[2, 2]))
    with pytest.raises(CorruptFile, match=r"the layers of .* are not those of its model"):
        mr.golden.remake(folder)
