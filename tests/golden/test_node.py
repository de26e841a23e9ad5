"""Plain JavaScript, without a package, recomputes an MLP and CNNs from the golden files; `verify` finds it right."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mipin_ref as mr

SCRIPTS = Path(__file__).parents[2] / "tools" / "golden" / "js"
FOLDERS = {folder.parent.name: folder for folder in mr.golden.cases()}
CASES = ("golden_mlp", "golden_cnn", "golden_groups", "golden_stride_pad", "golden_target_class")


@pytest.fixture(scope="module")
def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.fail("Node.js (20 or later) is needed to run the JavaScript that recomputes golden cases.")
    return program


def recompute(node: str, case: Path, candidate: Path) -> subprocess.CompletedProcess[str]:
    command = [node, str(SCRIPTS / "recompute.mjs"), str(case), str(candidate)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES)
def test_javascript_passes(node: str, case: str, tmp_path: Path) -> None:
    run = recompute(node, FOLDERS[case], tmp_path / "candidate.safetensors")
    assert run.returncode == 0, run.stderr
    result = mr.golden.verify(FOLDERS[case], tmp_path / "candidate.safetensors")
    assert result.ok, result.first
    assert set(result.compared) == {"forward", "solve", "propagate", "end"}


def test_javascript_passes_on_the_command_line(node: str, tmp_path: Path) -> None:
    """The whole of what another implementation does: two commands."""
    case, candidate = FOLDERS["golden_cnn"], tmp_path / "candidate.safetensors"
    assert recompute(node, case, candidate).returncode == 0
    command = [sys.executable, "-m", "mipin_ref", "golden", "verify", str(case), str(candidate)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_network_with_branches_is_refused(node: str, tmp_path: Path) -> None:
    run = recompute(node, FOLDERS["golden_residual"], tmp_path / "candidate.safetensors")
    assert run.returncode == 1
    assert "Add is not written here" in run.stderr
    assert not (tmp_path / "candidate.safetensors").exists()


def test_a_header_longer_than_its_file_is_refused(node: str, tmp_path: Path) -> None:
    case = shutil.copytree(FOLDERS["golden_mlp"], tmp_path / "case")
    (case / "arrays.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    run = recompute(node, case, tmp_path / "candidate.safetensors")
    assert run.returncode == 1
    assert "claims a header of 1152921504606846976 bytes" in run.stderr


def test_the_scripts_import_nothing_but_node_and_each_other() -> None:
    sources = [path.read_text(encoding="utf-8") for path in SCRIPTS.glob("*.mjs")]
    imported = [name for text in sources for name in re.findall(r'from "([^"]+)"', text)]
    assert len(sources) == 5
    assert all(name.startswith(("node:", "./")) for name in imported)
