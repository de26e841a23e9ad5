"""Which arithmetic a figure was measured on: a digest of the engine's code, without its words."""

from __future__ import annotations

import ast
import hashlib
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


def networks(root: Path) -> str:
    """The networks that lie in a tree, in sixteen letters."""
    made = hashlib.sha256()
    for path in sorted((root / "models_onnx").glob("*/model.onnx")):
        made.update(f"{path.parent.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()[:16]


class _Silent(ast.NodeTransformer):
    """Drop every expression that is text alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node
