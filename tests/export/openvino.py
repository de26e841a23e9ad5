"""Explainers in OpenVINO, from Python and from a program in C++ that is built against its package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import openvino

from tests.export.running import Array

SINGLE = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
"""Some processors multiply in half of the precision else."""


def run(path: Path, x: Array) -> dict[str, Array]:
    """The outputs by name, of a file with one input."""
    model = openvino.Core().compile_model(str(path), "CPU", SINGLE)
    made = model([x])
    return {one.any_name: np.array(made[one]) for one in model.outputs}


def build_and_run(command: str, folder: Path, path: str) -> str:
    """What commands of a page print, run in `folder`. path: where programs are looked for first."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join([path, os.environ["PATH"]])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
