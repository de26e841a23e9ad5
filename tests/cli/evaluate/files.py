"""Small files for tests of `mipin evaluate`, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import mipin_ref as mr
from mipin_ref.cli import main
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, MaxPool, Op, Reshape

SAMPLES = 70
"""More than one batch."""
CLASSES = 5


def scenes() -> list[Op]:
    """Input 2×8×8; "map" 6×4×4 is the last map."""
    rng = np.random.default_rng(6)
    return [
        Conv(("input",), "conv", rng.standard_normal((6, 2, 3, 3)) / 3, pads=(1, 1, 1, 1)),
        Activation(("conv",), "fired", "Relu"),
        MaxPool(("fired",), "map", (2, 2), (2, 2)),
        Reshape(("map",), "flat", (96,)),
        Dense(("flat",), "scores", rng.standard_normal((96, CLASSES)) / 4),
    ]


def boxes() -> NDArray[np.int64]:
    """[SAMPLES, 4], each of another place; the second one covers a third of its image."""
    rng = np.random.default_rng(6)
    corners = rng.integers(0, 4, (SAMPLES, 2))
    sides = rng.integers(2, 5, (SAMPLES, 2))
    placed = np.concatenate([corners, corners + sides], axis=1)
    placed[1] = [0, 0, 8, 3]
    return placed.astype(np.int64)


def write_files(folder: Path) -> None:
    """net.onnx, and data.npz of x, y (predictions, some of them changed), fit, box."""
    onnx.save(to_onnx(scenes(), (2, 8, 8)), str(folder / "net.onnx"))
    rng = np.random.default_rng(5)
    x, fit = (rng.standard_normal((n, 2, 8, 8)).astype(np.float32) for n in (SAMPLES, 60))
    net = mr.load(str(folder / "net.onnx"))
    y = np.argmax(mr.attribute(net, x, 0, "gradient", at=net.logits).value, axis=1)
    y[::9] = (y[::9] + 1) % CLASSES
    np.savez(folder / "data.npz", x=x, y=y, fit=fit, box=boxes())


def stored(key: str) -> Any:
    with np.load("data.npz", allow_pickle=False) as arrays:
        return arrays[key]


CALIBRATION = ("--calibration", "data.npz", "--calibration-key", "fit")


def evaluate(metric: str, *options: str) -> int:
    return main(["evaluate", metric, "net.onnx", "data.npz", *options])


def as_json(capsys: pytest.CaptureFixture[str], metric: str, *options: str) -> Any:
    """What --json prints, which must be all that is printed."""
    assert evaluate(metric, "--json", *options) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))


def one_by_one(
    method: str, x: Any, targets: Sequence[int], *, at: str | None = None, **options: Any
) -> list[mr.Attribution]:
    """Every sample for itself, through the public functions; inverses and patterns fitted on the key `fit`."""
    net, fit = mr.load("net.onnx"), stored("fit")
    if method == "mip-in":
        inverses = {c: mr.fit(net, fit, c, at=at, **options) for c in set(map(int, targets))}
        return [inverses[int(c)].attribute(x[i : i + 1]) for i, c in enumerate(targets)]
    if method.startswith("pattern"):
        options["patterns"] = mr.fit_patterns(net, fit)
    return [mr.attribute(net, x[i : i + 1], int(c), method, **options) for i, c in enumerate(targets)]
