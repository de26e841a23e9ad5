"""What a figure was measured on: a digest of the engine's code, without its words, and of embedded networks."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from measured.table import Run

ENGINE = ("backend.py", "layers", "graph", "solve", "inverse", "methods", "metrics")
"""Of mipin_ref: what computes signals, weights, attributions, and what is measured of them."""


class Engine:
    """The engine of a tree; comments, docstrings and layout have no part in it."""

    def __init__(self, root: Path) -> None:
        self._files: dict[str, tuple[str, str]] = {}
        for room in ENGINE:
            place = root / "mipin_ref" / room
            for path in sorted(place.rglob("*.py")) if place.is_dir() else [place] * place.is_file():
                tree = _Silent().visit(ast.parse(path.read_text(encoding="utf-8")))
                whole, face = ast.dump(tree), ast.dump(_Face().visit(tree))
                self._files[path.relative_to(root / "mipin_ref").as_posix()] = whole, face

    def digest(self, called: str | None = None) -> str:
        """Sixteen letters. called: the files of which functions are called, by spaces, None for all; of the others the
        bodies of functions have no part, only what they are made of and what stands outside.
        """
        made, names = hashlib.sha256(), None if called is None else called.split()
        for file, (whole, face) in self._files.items():
            made.update(f"{file}\n{whole if names is None or file in names else face}\n".encode())
        return made.hexdigest()[:16]

    def among(self, files: Iterable[str]) -> str:
        """Those of some files that are the engine's, by spaces."""
        return " ".join(file for file in self._files if file in set(files))


def digest(root: Path) -> str:
    """The engine of a tree in sixteen letters."""
    return Engine(root).digest()


def networks(root: Path, command: str | None = None) -> str:
    """The networks that lie in a tree, those alone that a command names where one is given, in sixteen letters; none
    where there are none.
    """
    made, empty = hashlib.sha256(), True
    for path in sorted((root / "models_onnx").glob("*/model.onnx")):
        name = path.parent.name
        if command is None or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", command):
            made.update(f"{name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
            empty = False
    return "" if empty else made.hexdigest()[:16]


def arithmetic(root: Path, run: Run, engine: Engine) -> str:
    """What a run is measured on, now."""
    return " ".join(filter(None, (engine.digest(run.called), networks(root, run.command))))


class _Silent(ast.NodeTransformer):
    """Drop every expression that is text alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


class _Face(ast.NodeTransformer):
    """Leave of each function its name, arguments and decorators."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = [ast.Pass()]
        return node
