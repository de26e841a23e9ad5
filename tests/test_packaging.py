"""The wheel holds what the package needs to run, its types, and small golden cases; the extras go together."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from mipin_ref.export.page.runtime import CODE, WASM

ROOT = Path(__file__).parent.parent
MOST = 27 * 10**6
"""Bytes of the wheel: 15 are one network of the demo, 3.5 the runtime of pages."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = out.glob("*.whl")
    assert found.stat().st_size < MOST
    return zipfile.ZipFile(found)


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if not name.startswith("mipin_ref-")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mipin_ref").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    others = {Path(name).suffix for name in names if not name.endswith(".py")}
    # The runtime of pages is packed, and its licence has no suffix.
    told = {".gz", ""}
    assert others == {".typed", ".md", ".json", ".css", ".html", ".js", ".onnx", ".npz", ".safetensors"} | told


def test_the_wheel_holds_the_models_of_the_demo_and_the_small_golden_cases(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for network in ("mnist_cnn", "mnist_mlp"):
        for file in ("model.onnx", "card.json", "calibration.npz"):
            assert f"mipin_ref/models_onnx/{network}/{file}" in names
    cases = {path.parent.parent.name for path in (ROOT / "models_onnx").glob("golden_*/golden/manifest.json")}
    assert {name.split("/")[2] for name in names if name.endswith("/golden/manifest.json")} == cases
    assert len(cases) > 30


def test_the_wheel_holds_the_runtime_of_pages(wheel: zipfile.ZipFile) -> None:
    """Byte for byte what the digests in the code say."""
    for one in (CODE, WASM):
        packed = wheel.read(f"mipin_ref/export/runtime/{one.name}")
        assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == one.digest
    assert b"MIT License" in wheel.read("mipin_ref/export/runtime/LICENSE")


def test_extras_ask_for_versions_that_go_together() -> None:
    """Where two extras pin a package they pin the same version."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned: dict[str, set[str]] = {}
    for requirements in extras.values():
        for one in requirements:
            name, exactly, version = one.partition("==")
            if exactly:
                pinned.setdefault(name, set()).add(version)
    assert pinned
    assert {name: versions for name, versions in pinned.items() if len(versions) > 1} == {}
