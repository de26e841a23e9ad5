"""onnxruntime in Node.js, installed by npm into a folder of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PACKAGE = "onnxruntime-node@1.30"


def install(folder: Path) -> None:
    """The package without its scripts, which would fetch libraries for GPUs."""
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", PACKAGE, "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(script: str, folder: Path, installed: Path) -> str:
    """What a script prints, run in `folder`."""
    done = subprocess.run(
        ["node", "-e", script],
        cwd=folder,
        env={**os.environ, "NODE_PATH": str(installed / "node_modules")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
