"""Train the paper's three networks (appendix A, Tables 3 to 5) and export them with card and calibration set.

Writes models_onnx/{mnist_mlp,mnist_cnn,rgb32_cnn}/{model.onnx,card.json,calibration.npz}. The paper's CIFAR-10 network
is trained on rgb32 (tools/training/rgb32.py) instead, whose object boxes are exact.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.export import accuracy, export, repeatable
from training.files import write_folder
from training.keras import add_data
from training.paper_networks import RECIPES
from training.sets import (
    DATA_CARDS,
    FIT_COUNT,
    TEST_SAMPLE_PER_CLASS,
    Dataset,
    calibration,
    data_sha256,
    load_mnist,
    load_rgb32,
)

BATCH = 128
LEARNING_RATE = 1e-3


def in_unit(stored: torch.Tensor) -> torch.Tensor:
    """Bytes as floats in 0..1."""
    return stored.float() / 255


def fit(
    model: Any,
    data: Dataset,
    epochs: int,
    seed: int,
    *,
    images: int = FIT_COUNT,
    weight_decay: float = 0.0,
    prepared: Callable[[torch.Tensor], torch.Tensor] = in_unit,
) -> None:
    """Train model in place on the first images: cross-entropy, Adam, cosine decay to zero.

    weight_decay: the L2 term of Adam; prepared: bytes [N, C, H, W] as what the model takes.
    """
    order = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(data.x_train[:images])
    y = torch.from_numpy(data.y_train[:images])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=weight_decay)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    loss_function = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        for batch in torch.randperm(len(x), generator=order).split(BATCH):
            optimizer.zero_grad()
            loss = loss_function(model(prepared(x[batch])), y[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        seconds = time.perf_counter() - started
        print(f"  epoch {epoch + 1}/{epochs}: loss {total / len(x):.4f}, {seconds:.0f} s", flush=True)


def train_one(name: str, data: Dataset, out: Path, seed: int, threads: int) -> None:
    """Train, export and document one network under out/name."""
    recipe = RECIPES[name]
    data_card = DATA_CARDS[recipe.data]
    print(f"{name}: {recipe.epochs} epochs", flush=True)
    torch.manual_seed(seed)
    model = recipe.build()
    fit(model, data, recipe.epochs, seed)
    content = export(model, data.x_train.shape[1:])
    measured = {
        "train": accuracy(content, data.x_train[:FIT_COUNT], data.y_train[:FIT_COUNT]),
        "validation": accuracy(content, data.x_train[FIT_COUNT:], data.y_train[FIT_COUNT:]),
        "test": accuracy(content, data.x_test, data.y_test),
    }
    samples, per_class = calibration(data, seed)
    card = {
        "name": name,
        "architecture": recipe.architecture,
        "dataset": {key: data_card[key] for key in ("name", "description", "licence")},
        "data_sha256": data_sha256(data),
        "data_sha256_of": f"bytes of x_train, uint8 {list(data.x_train.shape)} in C order, then of y_train as "
        "little-endian int64",
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "preprocessing": {"scale": 255},
        "preprocessing_meaning": "input = float32 pixel / 255",
        "class_names": data_card["class_names"],
        "training_images": f"the first {FIT_COUNT} of x_train; the other {len(data.x_train) - FIT_COUNT} validate",
        "seed": seed,
        "epochs": recipe.epochs,
        "optimizer": f"Adam, learning rate {LEARNING_RATE:g} with cosine decay to 0 over all steps, batch {BATCH}, "
        "cross-entropy",
        "accuracy": measured,
        "accuracy_measured_with": "model.onnx in onnxruntime on the CPU",
        "calibration": {
            "file": "calibration.npz",
            "count": 10 * per_class,
            "count_per_class": per_class,
            "from": f"index: positions in the first {FIT_COUNT} of x_train; per class the first of a seeded "
            "permutation (PCG64), classes interleaved",
            "test_count": 10 * TEST_SAMPLE_PER_CLASS,
            "test_count_per_class": TEST_SAMPLE_PER_CLASS,
            "test_from": "index_test: positions in x_test, drawn likewise",
            "sha256": hashlib.sha256(samples).hexdigest(),
        },
        "command": f"python tools/train.py paper --mnist mnist.npz --fashion fashion.npz --only {name} --seed {seed} "
        f"--threads {threads}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    write_folder(out / name, content, samples, card, f"{10 * per_class} calibration images, {len(samples)} bytes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--only", choices=sorted(RECIPES), help="train this network alone")
    parser.add_argument("--out", type=Path, default=Path("models_onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)


def run(options: argparse.Namespace) -> None:
    """Train the networks asked for, one after the other."""
    repeatable(options.threads)
    names = [options.only] if options.only else list(RECIPES)
    wanted = {RECIPES[name].data for name in names}
    data: dict[str, Dataset] = {}
    if "mnist" in wanted:
        data["mnist"] = load_mnist(options.mnist)
    if "rgb32" in wanted:
        data["rgb32"] = load_rgb32(options.fashion, options.seed)
    for name in names:
        train_one(name, data[RECIPES[name].data], options.out, options.seed, options.threads)
