"""Accuracy of the two clutter networks on scenes that no decision about data or networks has seen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from paper.page import Block, Table, percent
from paper.results import Results
from paper.scenes import NETWORKS, add_scenes, scenes
from training.files import MODELS

NAME = "accuracy"
TITLE = "Accuracy of the networks of the stand-in"
PAPER = "The paper takes VGG19 and ResNet50 as published, trained on ImageNet."
HELP = "accuracy of the clutter networks on test scenes of a fresh seed, by onnxruntime"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scenes(parser)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=77, help="of the test split, another than training was tested on")


def predictions(model: Path, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of each sample of x [N, ...], by the file's own output in onnxruntime."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    parts = [session.run(None, {name: x[i : i + 100]})[0].argmax(axis=1) for i in range(0, len(x), 100)]
    return np.concatenate(parts)


def run(options: argparse.Namespace, results: Results) -> None:
    test = scenes(options, "test", options.samples, options.seed)
    for name in options.networks:
        given = {"samples": options.samples, "seed": options.seed, "split": "test", "network": name}
        model = MODELS / name / "model.onnx"

        def make(model: Path = model) -> dict[str, float]:
            return {"accuracy": float(np.mean(predictions(model, test.x) == test.y))}

        results.part(NAME, name, given, make)


def expected() -> list[str]:
    return list(NETWORKS)


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network."""
    parts = results.parts(NAME, NETWORKS)
    given = {name: {key: part.options[key] for key in ("samples", "seed")} for name, part in parts.items()}
    return [{"network": name, **part.result, **given[name]} for name, part in parts.items()]


def values(results: Results) -> dict[str, Any]:
    """Accuracy by network."""
    return {row["network"]: row["accuracy"] for row in rows(results)}


def blocks(results: Results) -> list[Block]:
    lines = [
        [row["network"], percent(row["accuracy"]), f"{row['samples']:,}", str(row["seed"])] for row in rows(results)
    ]
    return [Table(["network", "accuracy", "test scenes", "seed"], lines)] if lines else []
