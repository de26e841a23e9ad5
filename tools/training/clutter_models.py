"""Train the networks for boxed clutter and export them with card and calibration set.

Writes models_onnx/NAME/{model.onnx,card.json,calibration.npz}. `clutter_vgg` and `clutter_resnet` stand in for the
paper's VGG19 and ResNet50 (Table 2): small networks of the same kinds, on scenes (tools/training/clutter.py) whose
boxes are exact. `clutter_se` and `clutter_convnext` have the gates, norms and activations of newer ones.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.clutter import CLASS_NAMES, Scenes, Sources, compose, load_sources
from training.clutter_networks import RECIPES
from training.export import accuracy, export, repeatable
from training.files import packed, write_folder, write_whole
from training.keras import add_data
from training.recipe import CLASSES

ROUND_SCENES = 6400
PASSES = 3
BATCH = 64
LEARNING_RATE = 2e-3
WARM_STEPS = 200
WEIGHT_DECAY = 1e-4
# Seeds of scenes on the training split; on the test split the seed is the run's own.
CALIBRATION_SEED, VALIDATION_SEED, FIRST_ROUND_SEED = 1, 2, 1000
CALIBRATION_PER_CLASS = 12
TEST_SAMPLE_PER_CLASS = 3
EVALUATION_SCENES = 3000

State = dict[str, NDArray[Any]]


def varied(x: Any, generator: Any) -> Any:
    """Scenes x [n, 3, H, W] uint8 as float32 in 0..1, channels in a random order: all orders are equally likely."""
    x = x[:, torch.randperm(3, generator=generator)]
    return (x.float() / 255).contiguous(memory_format=torch.channels_last)


def learning_rate(step: int, steps: int) -> float:
    """A linear rise over the first steps under a cosine decay to zero."""
    return float(LEARNING_RATE * min(1.0, (step + 1) / WARM_STEPS) * (1 + np.cos(np.pi * step / steps)) / 2)


def state(model: Any, optimizer: Any, finished: int) -> State:
    """All that the next round depends on, as plain arrays."""
    arrays = {f"model.{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer.{number}.{name}": tensor.numpy() for name, tensor in moments.items()}
    return arrays | {"finished": np.array(finished)}


def restore(model: Any, optimizer: Any, arrays: State) -> int:
    """Put a saved state back; the number of rounds finished by then."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    model.load_state_dict({name: tensors[f"model.{name}"] for name in model.state_dict()})
    moments: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return int(arrays["finished"])


def fit(model: Any, sources: Sources, rounds: int, seed: int, checkpoint: Path | None) -> None:
    """Train model in place, every round on scenes of its own; a checkpoint that is there is gone on from."""
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    finished = 0
    if checkpoint is not None and checkpoint.is_file():
        with np.load(checkpoint, allow_pickle=False) as arrays:
            finished = restore(model, optimizer, dict(arrays))
    loss_function = nn.CrossEntropyLoss()
    steps, step = rounds * PASSES * (ROUND_SCENES // BATCH), finished * PASSES * (ROUND_SCENES // BATCH)
    for number in range(finished, rounds):
        started = time.perf_counter()
        scenes = compose(sources, "train", ROUND_SCENES, FIRST_ROUND_SEED * (seed + 1) + number)
        x, y = torch.from_numpy(scenes.x), torch.from_numpy(scenes.y)
        composed = time.perf_counter() - started
        generator = torch.Generator().manual_seed(FIRST_ROUND_SEED * (seed + 1) + number)
        for _ in range(PASSES):
            total, right = 0.0, 0
            for batch in torch.randperm(ROUND_SCENES, generator=generator).split(BATCH):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, steps)
                optimizer.zero_grad()
                logits = model(varied(x[batch], generator))
                loss = loss_function(logits, y[batch])
                loss.backward()
                optimizer.step()
                step += 1
                total += float(loss.detach()) * len(batch)
                right += int((logits.argmax(dim=1) == y[batch]).sum())
            print(f"  loss {total / ROUND_SCENES:.4f}, accuracy {right / ROUND_SCENES:.4f}", flush=True)
        seconds = time.perf_counter() - started
        print(f"  round {number + 1}/{rounds}: {seconds:.0f} s, {composed:.0f} s of them composing", flush=True)
        if checkpoint is not None:
            write_whole(checkpoint, packed(state(model, optimizer, number + 1)))


def samples(calibration: Scenes, test: Scenes) -> bytes:
    """The npz beside a model: calibration scenes x, y and box, and the first few that it is tested on."""
    first = slice(CLASSES * TEST_SAMPLE_PER_CLASS)
    return packed(
        {
            "x": calibration.x,
            "y": calibration.y,
            "box": calibration.boxes,
            "x_test": test.x[first],
            "y_test": test.y[first],
            "box_test": test.boxes[first],
        }
    )


def train_one(name: str, options: argparse.Namespace) -> None:
    """Train, export and document one network under out/name."""
    recipe = RECIPES[name]
    sources, test_sources = (load_sources(options.mnist, options.fashion, split) for split in ("train", "test"))
    print(f"{name}: {options.rounds} rounds", flush=True)
    torch.manual_seed(options.seed)
    model = recipe.build()
    fit(model, sources, options.rounds, options.seed, options.checkpoint)
    content = export(model, (3, 64, 64), fold=recipe.fold)
    calibration = compose(sources, "train", CLASSES * CALIBRATION_PER_CLASS, CALIBRATION_SEED)
    validation = compose(sources, "train", EVALUATION_SCENES, VALIDATION_SEED)
    test = compose(test_sources, "test", EVALUATION_SCENES, options.seed)
    measured = {"validation": accuracy(content, validation.x, validation.y), "test": accuracy(content, test.x, test.y)}
    file = samples(calibration, test)
    first_seed = FIRST_ROUND_SEED * (options.seed + 1)
    card = {
        "name": name,
        "architecture": recipe.architecture,
        "dataset": {
            "name": "boxed clutter",
            "description": "tools/training/clutter.py with the seeds below: an MNIST digit or a Fashion-MNIST "
            "garment at a random place, size (longer side 22 to 34 pixels) and colour on texture and "
            "fragments of other objects tinted by the same rule, 64x64 RGB, 16 levels a channel, with "
            "the object's box [x0, y0, x1, y1), ends excluded, which covers less than three tenths "
            "of the scene",
            "licence": "MNIST CC BY-SA 3.0 as commonly stated, Fashion-MNIST MIT",
        },
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "preprocessing": {"scale": 255},
        "preprocessing_meaning": "input = float32 pixel / 255",
        "class_names": CLASS_NAMES,
        "training_images": f"{options.rounds} rounds of {ROUND_SCENES} scenes, --split train, --seed {first_seed} to "
        f"{first_seed + options.rounds - 1}, {PASSES} passes over each, channels of every batch in a random order",
        "seed": options.seed,
        "optimizer": f"AdamW, weight decay {WEIGHT_DECAY:g}, learning rate {LEARNING_RATE:g} after {WARM_STEPS} steps "
        f"of rise, with cosine decay to 0 over all steps, batch {BATCH}, cross-entropy",
        "accuracy": measured,
        "accuracy_measured_with": "model.onnx in onnxruntime on the CPU",
        "accuracy_measured_on": {
            "validation": f"--split train --seed {VALIDATION_SEED} --samples {EVALUATION_SCENES}",
            "test": f"--split test --seed {options.seed} --samples {EVALUATION_SCENES}",
        },
        "test_sha256": hashlib.sha256(test.x.tobytes()).hexdigest(),
        "test_sha256_of": f"bytes of the test scenes, uint8 {list(test.x.shape)} in C order",
        "calibration": {
            "file": "calibration.npz",
            "count": CLASSES * CALIBRATION_PER_CLASS,
            "count_per_class": CALIBRATION_PER_CLASS,
            "from": f"--split train --seed {CALIBRATION_SEED}",
            "test_count": CLASSES * TEST_SAMPLE_PER_CLASS,
            "test_count_per_class": TEST_SAMPLE_PER_CLASS,
            "test_from": "the first of the test scenes",
            "sha256": hashlib.sha256(file).hexdigest(),
        },
        "command": f"python tools/train.py clutter --mnist mnist.npz --fashion fashion.npz --only {name} "
        f"--rounds {options.rounds} --seed {options.seed} --threads {options.threads}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    write_folder(options.out / name, content, file, card, f"{len(content)} bytes of model, {len(file)} of samples")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--only", choices=sorted(RECIPES), help="train this network alone")
    parser.add_argument("--out", type=Path, default=Path("models_onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--checkpoint", type=Path, help="of one network: written after every round, gone on from")
    parser.add_argument("--threads", type=int, default=1)


def run(options: argparse.Namespace) -> None:
    """Train the networks asked for, one after the other."""
    if options.checkpoint is not None and options.only is None:
        raise ValueError("--checkpoint: is of one network; name it with --only")
    repeatable(options.threads)
    for name in [options.only] if options.only else list(RECIPES):
        train_one(name, options)
