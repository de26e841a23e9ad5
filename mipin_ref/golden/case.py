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
from mipin_ref.display import OneLine
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.files import make_folder, written_whole
from mipin_ref.golden.perturb import DTYPES
from mipin_ref.golden.stages import STAGE_NAMES
from mipin_ref.graph.open import open_model
from mipin_ref.layers import HostArray
from mipin_ref.reading import parse_json, path_of, read_bytes, regular_file
from mipin_ref.seal import OPEN, has_seal, is_whole, sealed

KIND = store.Kind("mipin-golden", 1, "the arrays of a golden case", sealed=False)
MANIFEST, ARRAYS = "manifest.json", "arrays.safetensors"
SOURCE = "source/"
"""What the name of a given array begins with that is the value of a tensor which no layer makes."""
BESIDE_MODEL = "golden"
"""The folder of a case in that of its model."""


@dataclass(frozen=True, eq=False)
class Tensor(OneLine):
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
class Case(OneLine):
    """folder: of the two files; manifest: as it stands in its file; arrays: by name; tensors: in order of stages."""

    folder: Path
    manifest: Mapping[str, Any]
    arrays: Mapping[str, HostArray]
    tensors: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """The name of the folder, or of the one above where that is called "golden"."""
        folder = self.folder.resolve()
        return folder.parent.name if folder.name == "golden" else folder.name

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / str(self.manifest["model"]["file"])

    def golden(self, tensor: Tensor) -> HostArray:
        """Its golden values."""
        return self.arrays[tensor.array]

    @property
    def array_names(self) -> dict[str, str]:
        """The name of each compared tensor -> that of its golden array."""
        return {tensor.name: tensor.array for tensor in self.tensors}

    def given(self, name: str) -> HostArray | None:
        """x, rows, labels or SOURCE + tensor; None where the case has none."""
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
    """The folders of the cases that come with the package, sorted by name.

    >>> import mipin_ref as mr
    >>> len(mr.golden.cases()) > 30
    True
    """
    package = Path(str(resources.files("mipin_ref")))
    for root in (package / "models_onnx", package.parent / "models_onnx"):
        folders = sorted(path.parent for path in root.glob(f"*/golden/{MANIFEST}"))
        if folders:
            return folders
    return []


def read_case(folder: str | Path) -> Case:
    """The case of a folder, which may be that of the model: then it lies in the one called "golden" there.

    Raises InvalidData where there is none, CorruptFile where a file is truncated, of another version or not what the
    manifest says, or the model is not the one that the manifest names.

    >>> import mipin_ref as mr
    >>> folder = next(folder for folder in mr.golden.cases() if folder.parent.name == "golden_mlp")
    >>> mr.golden.read_case(folder).name
    'golden_mlp'
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
        case = Case(folder, manifest, arrays, tuple(_tensors(manifest)))
        _check_arrays(case)
        _check_model(case)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile(f"{str(path)!r} is not a manifest of this version: {error!r}") from error
    return case


def write_case(folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, HostArray]) -> None:
    """Write the two files, each whole or not at all, and into the manifest the checksums of both.

    Raises InvalidData where they cannot be written.
    """
    make_folder(folder)
    store.write(folder / ARRAYS, {}, arrays, KIND)
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of the arrays that are in the folder already, with its own checksum and theirs."""
    beside = {"file": ARRAYS, "sha256": _sha256(folder / ARRAYS)}
    full = {"seal": OPEN, **{name: value for name, value in manifest.items() if name != "seal"}, "arrays": beside}
    text = json.dumps(full, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(folder / MANIFEST) as file:
        # A path that is not UTF-8 holds lone surrogates: what comes out for them here are JSON's own escapes.
        file.write(sealed(text.encode("utf-8", "backslashreplace")))


def _read_manifest(path: Path) -> dict[str, Any]:
    """Raises CorruptFile where it is not the manifest of a case, of another version, or a bit of it has changed."""
    text = read_bytes(path)
    manifest: dict[str, Any] = parse_json(text, path)
    _check_version(path, manifest)
    if not has_seal(text):
        raise CorruptFile(f"{str(path)!r} holds no checksum of itself; make the case anew")
    if not is_whole(text):
        raise CorruptFile(f"{str(path)!r} is damaged: it has another checksum than the one that it holds")
    return manifest


def _check_digest(path: Path, told: Any) -> None:
    regular_file(path)
    if told != {"file": ARRAYS, "sha256": _sha256(path)}:
        raise CorruptFile(f"{str(path)!r} is not the arrays of this case, or is damaged: its checksum is another")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_version(path: Path, manifest: Any) -> None:
    fields = manifest if isinstance(manifest, dict) else {}
    if fields.get("format") != KIND.format:
        raise CorruptFile(f"{str(path)!r} is not the manifest of a golden case")
    if fields.get("version") != KIND.version:
        raise CorruptFile(
            f"{str(path)!r} has schema version {fields.get('version')!r}; this package reads {KIND.version}"
        )


def _tensors(manifest: Mapping[str, Any]) -> Iterator[Tensor]:
    names = [stage["name"] for stage in manifest["stages"]]
    if names != list(STAGE_NAMES):
        raise ValueError(f"stages {names}")
    for stage in manifest["stages"]:
        for entry in stage["tensors"]:
            tolerance = {}
            if not entry["exact"]:
                tolerance = {dtype: _bound(entry["tolerance"][dtype]) for dtype in DTYPES}
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
        digest, told = open_model(case.model).sha256, case.manifest["model"]["sha256"]
        if digest != told:
            raise CorruptFile(
                f"{str(case.model)!r} is not the model of this case: its SHA-256 begins {digest[:12]}, that of the "
                f"manifest {str(told)[:12]}"
            )
