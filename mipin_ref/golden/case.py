"""A case on disk: its manifest, checked, and its arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref import store
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.files import make_folder, written_whole
from mipin_ref.golden.regression import Array
from mipin_ref.graph.open import open_model

KIND = store.Kind("mipin-golden", 1, "the arrays of a golden case")
MANIFEST, ARRAYS = "manifest.json", "arrays.safetensors"
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


def cases() -> list[Path]:
    """The folders of the cases that come with the package, sorted by name."""
    package = Path(str(resources.files("mipin_ref")))
    for root in (package / "models_onnx", package.parent / "models_onnx"):
        found = sorted(path.parent for path in root.glob(f"*/golden/{MANIFEST}"))
        if found:
            return found
    return []


def read_case(folder: str | Path) -> Case:
    """The case of a folder.

    Raises InvalidData where there is none, CorruptFile where a file is truncated, of another version or not what the
    manifest says, or the model is not the one that the manifest names.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise InvalidData(f"there is no golden case in {str(folder)!r}: it has no {MANIFEST}")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{str(path)!r} is not JSON: {error}") from error
    _check_version(path, manifest)
    _, arrays = store.read(folder / ARRAYS, KIND)
    try:
        found = Case(folder, manifest, arrays, tuple(_tensors(manifest)))
        _check_arrays(found)
        _check_model(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFile(f"{str(path)!r} is not a manifest of this version: {error!r}") from error
    return found


def write_case(folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write the two files, each whole or not at all. Raises InvalidData where they cannot be written."""
    make_folder(folder)
    store.write(folder / ARRAYS, {}, arrays, KIND)
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(folder / MANIFEST) as file:
        # A path that is not UTF-8 holds lone surrogates: what comes out for them here are JSON's own escapes.
        file.write(text.encode("utf-8", "backslashreplace"))


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
    """Where the ONNX file is there at all: a case suffices without it."""
    if case.model.is_file():
        found, told = open_model(case.model).sha256, case.manifest["model"]["sha256"]
        if found != told:
            raise CorruptFile(
                f"{str(case.model)!r} is not the model of this case: its SHA-256 begins {found[:12]}, that of the "
                f"manifest {str(told)[:12]}"
            )
