"""What the engine's source asks of the array namespace, and what CuPy's source offers, read without running either."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import mipin_ref

ROOT = Path(mipin_ref.__file__).parent
ENGINE = [
    ROOT / "backend.py",
    *(p for room in ("layers", "solve", "inverse", "methods") for p in sorted((ROOT / room).glob("*.py"))),
]


def dotted(node: ast.expr) -> list[str]:
    """["a", "b", "c"] of a.b.c; empty where it starts from anything but a name."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return [*before, node.attr] if before else []
    return [node.id] if isinstance(node, ast.Name) else []


def asked_of_xp() -> Iterator[tuple[str, frozenset[str] | None]]:
    """(path below the namespace, keywords) of every call that the engine spells out; None for a mere mention."""
    for path in ENGINE:
        tree = ast.parse(path.read_text())
        called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            names = dotted(node) if isinstance(node, ast.Attribute) and id(node) not in inner else []
            if "xp" in names[:-1]:
                call = called.get(id(node))
                keywords = None if call is None else frozenset(k.arg for k in call.keywords if k.arg)
                yield ".".join(names[names.index("xp") + 1 :]), keywords


def calls_of_cupy() -> Iterator[tuple[list[str], int, list[str]]]:
    """(full dotted name, positional arguments, keywords) of every call to CuPy itself in the backend."""
    for function in ast.walk(ast.parse((ROOT / "backend.py").read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        known: dict[str, list[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                known.update({a.name: [a.name] for a in node.names if a.name.split(".")[0] in ("cupy", "cupyx")})
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("cupy", "cupyx"):
                known.update({a.asname or a.name: [*(node.module or "").split("."), a.name] for a in node.names})
        for node in ast.walk(function):
            names = dotted(node.func) if isinstance(node, ast.Call) else []
            if names and names[0] in known and isinstance(node, ast.Call):
                yield [*known[names[0]], *names[1:]], len(node.args), [k.arg for k in node.keywords if k.arg]


def signature_in_source(package: Path, name: str) -> inspect.Signature:
    """Reads a function that a package imports from one of its modules, which may need libraries that are not here.

    Raises LookupError where there is none.
    """
    for node in ast.walk(ast.parse((package / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == name for a in node.names):
            module = package / (node.module.split(".")[-1] + ".py")
            for found in ast.walk(ast.parse(module.read_text())):
                if isinstance(found, ast.FunctionDef) and found.name == name:
                    bare = ast.FunctionDef(name, found.args, [ast.Pass()], [], None, None)
                    space: dict[str, object] = {}
                    tree = ast.fix_missing_locations(ast.Module([bare], []))
                    exec(compile(tree, str(module), "exec"), space)
                    return inspect.signature(space[name])  # type: ignore[arg-type]
    raise LookupError(name)
