"""The files of the graph room import each other one way, imports inside functions included."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import mipin_ref

ROOT = Path(mipin_ref.__file__).parent
FILES = {
    ".".join(("mipin_ref", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted((ROOT / "graph").rglob("*.py"))
}


def imported(path: Path) -> set[str]:
    """The modules of the room that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{one.name}" for one in node.names} & FILES.keys()
            names |= inside or {str(node.module)} & FILES.keys()
    return names


def test_no_file_imports_one_that_imports_it() -> None:
    known = {name: imported(path) for name, path in FILES.items()}
    assert known["mipin_ref.graph.load"] >= {"mipin_ref.graph.network", "mipin_ref.graph.verify"}
    TopologicalSorter(known).prepare()  # raises CycleError, which names the circle
