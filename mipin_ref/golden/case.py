"""A case on disk: its manifest, checked, and its arrays."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from mipin_ref import store
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.files import written_whole
from mipin_ref.golden.regression import Array
from mipin_ref.graph.open import open_model
from mipin_ref.reading import parse_json, path_of, read_bytes, regular_file
from mipin_ref.seal import OPEN, has_seal, is_whole, sealed

KIND = store.Kind("mipin-golden", 1, "the arrays of a golden case", sealed=False)
MANIFEST, ARRAYS = "manifest.json", "arrays.safetensors"
BESIDE_MODEL = "golden"
"""The folder of a case in that of its model."""
STAGES = ("forward", "solve", "propagate", "end")


@dataclass(frozen=True, eq=False)
class Tensor:
    """One compared tensor.

    name: in a candidate; array: of the golden values; tensor: the network's tensor that it is about; exact: integers
    that must be equal; tolerance: by dtype of the candidate, None where it is not compared at that precision.
    """

    name: str
    stage: str
    array: str
    tensor: str
    shape: tuple[int, ...]
    exact: bool
    tolerance: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Case:
    """folder: of the two files; manifest: as it stands in its file; arrays: by name; tensors: in order of stages."""

    folder: Path
    manifest: Mapping[str, Any]
    arrays: Mapping[str, Array]
    tensors: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """Of the folder; of the one above where that is called "golden"."""
        folder = self.folder.resolve()
        return folder.parent.name if folder.name == "golden" else folder.name

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / str(self.manifest["model"]["file"])

    def golden(self, tensor: Tensor) -> Array:
        """Its golden values."""
        return self.arrays[tensor.array]

    def given(self, name: str) -> Array | None:
        """x, rows or labels; None where the case has none."""
        for entry in self.manifest["given"]:
            if entry["name"] == name:
                return self.arrays[entry["array"]]
        return None


def is_case(folder: Path) -> bool:
    """Whether a folder has a manifest."""
    try:
        return (folder / MANIFEST).is_file()
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False


def cases() -> list[Path]:
    """The folders of the cases that come with the package, sorted by name."""
    package = Path(str(resources.files("mipin_ref")))
    for root in (package / "models_onnx", package.parent / "models_onnx"):
        found = sorted(path.parent for path in root.glob(f"*/golden/{MANIFEST}"))
        if found:
            return found
    return []


def read_case(folder: str | Path) -> Case:
    """The case of a folder, which may be that of the model: then it lies in the one called "golden" there.

    Raises InvalidData where there is none, CorruptFile where a file is truncated, of another version or not what the
    manifest says, or the model is not the one that the manifest names.
    """
    folder = path_of(folder, "a golden case")
    if not is_case(folder) and is_case(folder / BESIDE_MODEL):
        folder = folder / BESIDE_MODEL
    path = folder / MANIFEST
    if not is_case(folder):
        raise InvalidData(f"there is no golden case in {shown(str(folder))}: it has no {MANIFEST}")
    manifest = _read_manifest(path)
    _check_digest(folder / ARRAYS, manifest.get("arrays"))
    _, arrays = store.read(folder / ARRAYS, KIND)
    try:
        found = Case(folder, manifest, arrays, tuple(_tensors(manifest)))
        _check_arrays(found)
        _check_model(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile(f"{str(path)!r} is not a manifest of this version: {error!r}") from error
    return found


def write_case(folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write the two files, each whole or not at all, and into the manifest the checksums of both."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidData(f"{str(folder)!r} cannot be made: {error.strerror or error}") from error
    store.write(folder / ARRAYS, {}, arrays, KIND)
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of the arrays that are in the folder already, with its own checksum and theirs."""
    beside = {"file": ARRAYS, "sha256": _sha256(folder / ARRAYS)}
    full = {"seal": OPEN, **{name: value for name, value in manifest.items() if name != "seal"}, "arrays": beside}
    text = json.dumps(full, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(folder / MANIFEST) as file:
        file.write(sealed(text.encode()))


def _read_manifest(path: Path) -> dict[str, Any]:
    """Raises CorruptFile where it is not the manifest of a case, of another version, or a bit of it has changed."""
    text = read_bytes(path)
    manifest = parse_json(text, path)
    _check_version(path, manifest)
    if not has_seal(text):
        raise CorruptFile(f"{str(path)!r} holds no checksum of itself; make the case anew")
    if not is_whole(text):
        raise CorruptFile(f"{str(path)!r} is damaged: it has another checksum than the one that it holds")
    found: dict[str, Any] = manifest
    return found


def _check_digest(path: Path, told: Any) -> None:
    regular_file(path)
    if told != {"file": ARRAYS, "sha256": _sha256(path)}:
        raise CorruptFile(f"{str(path)!r} is not the arrays of this case, or is damaged: its checksum is another")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_version(path: Path, manifest: Any) -> None:
    found = manifest if isinstance(manifest, dict) else {}
    if found.get("format") != KIND.format:
        raise CorruptFile(f"{str(path)!r} is not the manifest of a golden case")
    if found.get("version") != KIND.version:
        raise CorruptFile(
            f"{str(path)!r} has schema version {found.get('version')!r}; this package reads {KIND.version}"
        )


def _tensors(manifest: Mapping[str, Any]) -> Iterator[Tensor]:
    names = [stage["name"] for stage in manifest["stages"]]
    if names != list(STAGES):
        raise ValueError(f"stages {names}")
    for stage in manifest["stages"]:
        for entry in stage["tensors"]:
            tolerance = {}
            if not entry["exact"]:
                tolerance = {dtype: _bound(entry["tolerance"][dtype]) for dtype in ("float64", "float32")}
            shape = tuple(int(length) for length in entry["shape"])
            yield Tensor(
                str(entry["name"]), stage["name"], entry["array"], entry["tensor"], shape, entry["exact"], tolerance
            )


def _bound(value: Any) -> float | None:
    if value is None:
        return None
    bound = float(value)
    if not 0 <= bound < math.inf:
        raise ValueError(f"tolerance {value}")
    return bound


def _check_arrays(case: Case) -> None:
    entries = [entry for stage in case.manifest["stages"] for entry in stage["tensors"]]
    for entry in [*case.manifest["given"], *entries]:
        array = case.arrays[entry["array"]]
        if list(array.shape) != entry["shape"] or str(array.dtype) != entry["dtype"] or not np.all(np.isfinite(array)):
            raise ValueError(f"array {entry['array']!r} is not as the manifest says")


def _check_model(case: Case) -> None:
    """Where the ONNX file is there at all: a case suffices without it. The manifest names it from its own folder."""
    told = str(case.manifest["model"]["file"])
    if PurePosixPath(told).is_absolute() or PureWindowsPath(told).is_absolute() or "\0" in told:
        raise ValueError(f"the path of the model, {told!r}, is not relative")
    if case.model.is_file():
        found, told = open_model(case.model).sha256, case.manifest["model"]["sha256"]
        if found != told:
            raise CorruptFile(
                f"{str(case.model)!r} is not the model of this case: its SHA-256 begins {found[:12]}, that of the "
                f"manifest {str(told)[:12]}"
            )
