"""Scripts in tools/ are commands, their parts lie in rooms, and most rooms need the public names alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mipin_ref as mr

TOOLS = Path(__file__).parents[2] / "tools"
COMMANDS = {path.name for path in TOOLS.glob("*.py")}
ROOMS = {path.parent.name for path in TOOLS.glob("*/__init__.py")}
INSIDE = {"benchmarks", "fuzzing"}
"""What measures parts of the engine, or breaks them."""
LONGEST = 300
"""Lines."""


def inner_imports(text: str) -> list[str]:
    """The modules of the package that a tool imports and that are not public."""
    modules = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "mipin_ref":
            modules += [f"mipin_ref.{one.name}" for one in node.names if one.name not in mr.__all__]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mipin_ref."):
            modules.append(node.module or "")
        elif isinstance(node, ast.Import):
            modules += [one.name for one in node.names if one.name.startswith("mipin_ref.")]
    return [name for name in modules if name.removeprefix("mipin_ref.") not in mr.__all__]


def test_every_room_says_what_it_is_for() -> None:
    assert {path.name for path in TOOLS.iterdir() if path.is_dir() and path.name != "__pycache__"} == ROOMS
    for room in ROOMS:
        told = ast.get_docstring(ast.parse((TOOLS / room / "__init__.py").read_text()))
        assert told, f"{room} does not say what it is for"


def test_only_what_looks_inside_imports_more_than_is_public() -> None:
    inner = {
        path.relative_to(TOOLS).as_posix(): modules
        for path in TOOLS.rglob("*.py")
        if (modules := inner_imports(path.read_text()))
    }
    assert {name.split("/")[0] for name in inner} == INSIDE, inner


def test_what_is_not_public_is_told_apart() -> None:
    text = (
        "import mipin_ref\nimport mipin_ref.solve.ridge\nfrom mipin_ref import golden, store\n"
        "from mipin_ref.data import open_data\nfrom mipin_ref.panel import MIPIN\n"
    )
    assert inner_imports(text) == ["mipin_ref.solve.ridge", "mipin_ref.store", "mipin_ref.panel"]


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(TOOLS).as_posix(): len(path.read_text().splitlines()) for path in TOOLS.rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_runs_from_elsewhere(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TOOLS / name), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name}")
