"""What networks are read into: digests of layer lists, made by a process on the code of a tree.

A command depends on what reading makes of the networks that it opens: kinds, names, shapes and every parameter, to the
bit. Those that lie in the tree are read; for all others, which a command trains, gets or downloads, stand some golden
networks of many kinds. So a change of reading that touches none of these, but another network of a command, is not
seen; and another processor, which may round a constant that is folded another way, sees one where there is none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from measured.cells import FiguresError

FOLDER = "models_onnx"
_STANDING = (
    *("activations", "attention", "average_pool", "batch_norm", "concat", "gates", "gru", "lstm", "mlp", "norms"),
    *("pooled", "residual", "squeeze", "stride_pad", "tokens", "transposed"),
)
STANDING = tuple(f"golden_{name}" for name in _STANDING)
"""Networks that stand for those that do not lie in the tree."""
TOOLS = Path(__file__).resolve().parents[1]
_known: dict[tuple[Path, str, str], str] = {}


def file_of(root: Path, name: str) -> Path:
    """Where a network lies in a tree."""
    return root / FOLDER / name / "model.onnx"


def present(root: Path) -> list[str]:
    """The networks that lie in a tree."""
    return sorted(path.parent.name for path in (root / FOLDER).glob("*/model.onnx"))


def named(root: Path, words: str) -> list[str]:
    """The networks that lie in a tree and that a command names."""
    return [name for name in present(root) if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words)]


def standing(root: Path) -> list[str]:
    """Those that stand for all others."""
    return [name for name in STANDING if file_of(root, name).exists()]


def lists(root: Path, names: Iterable[str], code: str) -> dict[str, str]:
    """The layer list of each network in eight letters; of one that is not there, none.

    code: a digest of the code that reads them: what it made is remembered. Raises FiguresError where that code fails.
    """
    names = [name for name in sorted(set(names)) if file_of(root, name).exists()]
    keys = {name: (root, code, f"{name} {_bytes(root, name)}") for name in names}
    missing = [name for name in names if keys[name] not in _known]
    if missing:
        paths = os.pathsep.join([str(root), str(TOOLS)])
        done = subprocess.run(
            [sys.executable, "-m", "measured.listed", *(str(file_of(root, name)) for name in missing)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FiguresError(f"networks cannot be read: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        told: Collection[str] = json.loads(done.stdout)
        _known.update(zip((keys[name] for name in missing), told, strict=True))
    return {name: _known[keys[name]] for name in names}


def _bytes(root: Path, name: str) -> str:
    return hashlib.sha256(file_of(root, name).read_bytes()).hexdigest()
