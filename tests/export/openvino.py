"""Explainers in OpenVINO."""

from __future__ import annotations

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
