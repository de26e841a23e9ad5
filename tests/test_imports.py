"""Imports point one way: each room may know only the rooms named here, and some libraries stay behind their doors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import mipin_ref

ROOT = Path(mipin_ref.__file__).parent

GROUND = {"text", "errors", "window", "table", "files", "progress", "threads", "options", "reading", "display"}
ALLOWED: dict[str, set[str]] = {
    "text": set(),
    "errors": {"text"},
    "window": set(),
    "display": {"text"},
    "table": {"text"},
    "files": {"errors", "text"},
    "progress": {"errors", "options", "text"},
    "threads": set(),
    "options": {"errors"},
    "reading": {"errors", "text"},
    "memory": {"errors", "options"},
    "seal": set(),
    "store": {"errors", "files", "reading", "seal"},
    "attribution": {"errors", "display"},
    "backend": {"errors", "threads", "options"},
    "beside": {"errors"},
    "data": {"text", "display", "errors", "options", "reading", "beside"},
    "graph": GROUND | {"layers", "beside"},
    "layers": {"display", "errors", "window", "backend"},
    "solve": {"errors", "window", "backend"},
    "inverse": GROUND | {"memory", "store", "attribution", "backend", "data", "graph", "layers", "solve"},
    "methods": {"display", "errors", "window", "threads", "progress", "options", "reading", "memory", "store"}
    | {"attribution", "backend", "data", "graph", "layers", "beside"},
    "panel": {"errors", "options", "reading", "memory", "attribution", "backend"}
    | {"data", "layers", "graph", "inverse", "methods"},
    "report": {"text", "errors", "files", "options", "attribution", "graph", "inverse"},
    "export": {"display", "errors", "files", "options", "reading", "attribution", "data", "layers", "graph", "inverse"}
    | {"report", "explain", "text", "beside"},
    "explain": {
        "text",
        "errors",
        "table",
        "files",
        "progress",
        "options",
        "reading",
        "memory",
        "attribution",
        "backend",
        "data",
    }
    | {"beside", "layers", "graph", "inverse", "methods", "panel", "report"},
    "metrics": {"display", "errors", "table", "options", "attribution", "backend", "layers", "graph", "beside"},
    "golden": {
        "text",
        "display",
        "errors",
        "window",
        "files",
        "options",
        "progress",
        "reading",
        "seal",
        "store",
        "backend",
        "data",
        "graph",
        "layers",
        "inverse",
    },
    "cli": GROUND
    | {
        "memory",
        "store",
        "backend",
        "attribution",
        "data",
        "graph",
        "layers",
        "inverse",
        "methods",
        "report",
        "metrics",
    }
    | {"panel", "explain", "export", "golden", ""},
    "__main__": {"cli"},
    "": {
        "text",
        "display",
        "errors",
        "attribution",
        "data",
        "explain",
        "export",
        "golden",
        "graph",
        "inverse",
        "methods",
        "report",
        "metrics",
        "panel",
    },
}
"""Room -> rooms it may import; "" is the package itself, the public names."""

INSIDE: dict[str, dict[str, set[str]]] = {
    "inverse": {
        "options": set(),
        "plan": {"options"},
        "report": set(),
        "descent": {"plan"},
        "passes": {"options", "report", "plan", "descent"},
        "cluster": {"plan", "descent", "passes"},
        "inverse": {"options", "report", "plan", "descent", "passes"},
        "targets": {"plan"},
        "family": {"options", "report", "plan", "descent", "passes", "inverse", "common"},
        "load": {"options", "report", "plan", "descent", "inverse", "family"},
        "common": {"report", "plan", "descent", "passes", "inverse", "targets"},
        "fit": {"options", "report", "plan", "descent", "passes", "cluster", "common", "inverse", "family", "targets"},
    },
}
"""Room -> its own rooms and files -> those of them that each may import."""

DOORS = {
    "onnx": "graph",
    "onnxruntime": "graph",
    "cupy": "backend",
    "cupyx": "backend",
    "dask": "inverse",
    "distributed": "inverse",
    "tokenizers": "explain",
}


def imports() -> Iterator[tuple[str, str, str]]:
    """(room, file, imported module) for every import statement, those inside functions included."""
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        room = "" if relative == Path("__init__.py") else relative.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield room, str(relative), name.name
            elif isinstance(node, ast.ImportFrom) and node.module == "mipin_ref":
                for name in node.names:
                    inside = (ROOT / name.name).is_dir() or (ROOT / f"{name.name}.py").is_file()
                    yield room, str(relative), f"mipin_ref.{name.name}" if inside else "mipin_ref"
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{relative}: relative import"
                yield room, str(relative), node.module or ""


def test_rooms_know_only_the_rooms_above_them() -> None:
    wrong = []
    for room, file, module in imports():
        if module.split(".")[0] != "mipin_ref":
            continue
        other = [*module.split("."), ""][1]
        if other != room and other not in ALLOWED[room]:
            wrong.append(f"{file} imports {module}")
    assert not wrong


def test_the_allowed_imports_have_no_cycle() -> None:
    for allowed in (ALLOWED, *INSIDE.values()):
        left = {room: set(known) for room, known in allowed.items()}
        while left:
            free = {room for room, known in left.items() if not known}
            assert free, f"cycle among {sorted(left)}"
            left = {room: known - free for room, known in left.items() if room not in free}


def test_rooms_within_a_room_know_only_those_before_them() -> None:
    wrong, seen = [], set()
    for room, file, module in imports():
        parts = Path(file).with_suffix("").parts
        if room not in INSIDE or parts[1:] == ("__init__",):
            continue
        assert parts[1] in INSIDE[room], f"{file} is in no room that is listed"
        seen.add((room, parts[1]))
        other = [*module.split("."), "", ""]
        if other[:2] == ["mipin_ref", room] and other[2] not in {parts[1], *INSIDE[room][parts[1]]}:
            wrong.append(f"{file} imports {module}")
    assert not wrong
    assert seen == {(room, name) for room, inside in INSIDE.items() for name in inside}


def test_each_room_says_what_it_is_for() -> None:
    for room, inside in INSIDE.items():
        rooms = [ROOT / room, *(ROOT / room / name for name in inside if (ROOT / room / name).is_dir())]
        assert len(rooms) > 1
        for place in rooms:
            assert ast.get_docstring(ast.parse((place / "__init__.py").read_text())), place


def test_libraries_stay_behind_their_doors() -> None:
    wrong = [
        f"{file} imports {module}"
        for room, file, module in imports()
        if module.split(".")[0] in DOORS and DOORS[module.split(".")[0]] != room
    ]
    assert not wrong


def test_every_room_is_listed() -> None:
    assert {room for room, _, _ in imports()} <= set(ALLOWED)
