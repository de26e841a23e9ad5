"""What a figure was measured on: a digest of the engine's code, without its words, and of embedded networks."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

ENGINE = ("backend.py", "layers", "graph", "solve", "inverse", "methods", "metrics")
"""Of mipin_ref: what computes signals, weights, attributions, and what is measured of them."""


def digest(root: Path) -> str:
    """The engine of a tree in sixteen letters; comments, docstrings and layout have no part in it."""
    made = hashlib.sha256()
    for room in ENGINE:
        place = root / "mipin_ref" / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place] * place.is_file():
            tree = _Silent().visit(ast.parse(path.read_text(encoding="utf-8")))
            made.update(f"{path.relative_to(root).as_posix()}\n{ast.dump(tree)}\n".encode())
    return made.hexdigest()[:16]


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


def arithmetic(root: Path, command: str, engine: str) -> str:
    """What a run of a command is measured on. engine: the digest of the tree."""
    return " ".join(filter(None, (engine, networks(root, command))))


class _Silent(ast.NodeTransformer):
    """Drop every expression that is text alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node
