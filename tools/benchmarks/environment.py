"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import onnxruntime
import scipy
import scipy.linalg
from threadpoolctl import threadpool_info


def cpus() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> str:
    """Versions, CPUs, and every BLAS of this process with its kernels and threads; no paths."""
    assert scipy.linalg.blas is not None  # SciPy brings a BLAS of its own, loaded with scipy.linalg.
    lines = [
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, {cpus()} of {os.cpu_count()} CPUs ({platform.machine()})"
    ]
    for library in threadpool_info():
        if library["user_api"] == "blas":
            owner = next((p.split(".")[0] for p in Path(library["filepath"]).parts if p.endswith(".libs")), "system")
            kernels = library.get("architecture", "unknown")
            lines.append(
                f"BLAS of {owner}: {library['internal_api']} {library['version']}, {kernels} kernels, "
                f"{library['num_threads']} threads"
            )
    return "\n".join(lines)
