"""Train the networks for boxed clutter and export them with card and calibration set.

Writes models_onnx/NAME/{model.onnx,card.json,calibration.npz}. `clutter_vgg` and `clutter_resnet` stand in for the
paper's VGG19 and ResNet50 (Table 2): small networks of the same kinds, on scenes (tools/training/clutter.py) whose
boxes are exact. `clutter_se` and `clutter_convnext` have the gates, norms and activations of newer ones. The networks
`pairs_*` are trained on scenes of two objects, whose two highest logits are to be of these.
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
from training.clutter_networks import RECIPES as SINGLE
from training.export import accuracy, export, repeatable, right_objects
from training.files import packed, write_folder, write_whole
from training.keras import add_data
from training.pairs_networks import RECIPES as PAIRS
from training.recipe import CLASSES, Recipe
from training.right import right_of
from training.schedule import BATCH, LEARNING_RATE, PASSES, ROUND_SCENES, SHIFT, WARM_STEPS, Schedule

RECIPES: dict[str, Recipe] = {**SINGLE, **PAIRS}

WEIGHT_DECAY = 1e-4
# Seeds of scenes on the training split; on the test split the seed is the run's own.
CALIBRATION_SEED, VALIDATION_SEED = 1, 2
CALIBRATION_PER_CLASS = 12
TEST_SAMPLE_PER_CLASS = 3
# Of scenes with two objects fewer lie beside a model: the tools that explain it compose their own.
PAIRS_PER_CLASS, TEST_PAIRS_PER_CLASS = 4, 1
EVALUATION_SCENES = 3000

ONE = (
    "an MNIST digit or a Fashion-MNIST garment at a random place, size (longer side 22 to 34 pixels) and colour on "
    "texture and fragments of other objects tinted by the same rule, 64x64 RGB, 16 levels a channel, with the object's "
    "box [x0, y0, x1, y1), ends excluded, which covers less than three tenths of the scene"
)
TWO = (
    "two objects of different classes, MNIST digits or Fashion-MNIST garments, side by side at random places, sizes "
    "(longer side 20 to 28 pixels) and colours on texture and fragments of other objects tinted by the same rule, "
    "64x64 RGB, 16 levels a channel, with either object's box [x0, y0, x1, y1), ends excluded"
)

State = dict[str, NDArray[Any]]


def varied(x: Any, generator: Any, shift: int = 0) -> Any:
    """Scenes x [n, 3, H, W] uint8 as float32 in 0..1, channels in a random order: all orders are equally likely. With a
    shift rolled by up to so many pixels down or up and to either side.
    """
    x = x[:, torch.randperm(3, generator=generator)]
    if shift:
        down, right = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
        x = x.roll((down, right), (2, 3))
    return (x.float() / 255).contiguous(memory_format=torch.channels_last)


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


def loss_of(logits: Any, y: Any) -> Any:
    """Cross-entropy of logits [n, C] with classes y [n], or its mean over the two of a scene, y [n, 2]."""
    if y.ndim == 1:
        return nn.functional.cross_entropy(logits, y)
    return (nn.functional.cross_entropy(logits, y[:, 0]) + nn.functional.cross_entropy(logits, y[:, 1])) / 2


def fit(
    model: Any, sources: Sources, schedule: Schedule, seed: int, checkpoint: Path | None, *, pairs: bool = False
) -> None:
    """Train model in place on scenes of two objects with pairs, of one without; a checkpoint that is there is gone on
    from.
    """
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    finished = 0
    if checkpoint is not None and checkpoint.is_file():
        with np.load(checkpoint, allow_pickle=False) as arrays:
            finished = restore(model, optimizer, dict(arrays))
    step = finished * PASSES * (ROUND_SCENES // BATCH)
    for number in range(finished, schedule.total):
        started, further = time.perf_counter(), number >= schedule.rounds
        scenes = compose(sources, "train", ROUND_SCENES, schedule.scenes_of(number, seed), pairs=pairs)
        x, y = torch.from_numpy(scenes.x), torch.from_numpy(scenes.y)
        composed = time.perf_counter() - started
        generator = torch.Generator().manual_seed(schedule.seed_of(number, seed))
        for _ in range(PASSES):
            total, right = 0.0, 0.0
            for batch in torch.randperm(ROUND_SCENES, generator=generator).split(BATCH):
                for group in optimizer.param_groups:
                    group["lr"] = schedule.rate(step)
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=further):
                    logits = model(varied(x[batch], generator, SHIFT * further)).float()
                loss = loss_of(logits, y[batch])
                loss.backward()
                optimizer.step()
                step += 1
                total += float(loss.detach()) * len(batch)
                right += float(right_of(logits.detach().numpy(), y[batch].numpy()).mean()) * len(batch)
            print(f"  loss {total / ROUND_SCENES:.4f}, accuracy {right / ROUND_SCENES:.4f}", flush=True)
        seconds = time.perf_counter() - started
        print(f"  round {number + 1}/{schedule.total}: {seconds:.0f} s, {composed:.0f} s of them composing", flush=True)
        if checkpoint is not None:
            write_whole(checkpoint, packed(state(model, optimizer, number + 1)))


def samples(calibration: Scenes, test: Scenes, tested: int) -> bytes:
    """The npz beside a model: calibration scenes x, y and box, and the first `tested` that it is tested on."""
    first = slice(tested)
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
    schedule = Schedule(options.rounds, options.more, options.different)
    print(f"{name}: {schedule.total} rounds", flush=True)
    torch.manual_seed(options.seed)
    model = recipe.build()
    pairs = recipe.pairs
    fit(model, sources, schedule, options.seed, options.checkpoint, pairs=pairs)
    content = export(model, (3, 64, 64), fold=recipe.fold)
    kept, tested = (PAIRS_PER_CLASS, TEST_PAIRS_PER_CLASS) if pairs else (CALIBRATION_PER_CLASS, TEST_SAMPLE_PER_CLASS)
    calibration = compose(sources, "train", CLASSES * kept, CALIBRATION_SEED, pairs=pairs)
    validation = compose(sources, "train", EVALUATION_SCENES, VALIDATION_SEED, pairs=pairs)
    test = compose(test_sources, "test", EVALUATION_SCENES, options.seed, pairs=pairs)
    measured = {"validation": accuracy(content, validation.x, validation.y), "test": accuracy(content, test.x, test.y)}
    both = {"both_objects": float(right_objects(content, test.x, test.y).all(axis=1).mean())} if pairs else {}
    file = samples(calibration, test, CLASSES * tested)
    shown, flag = (TWO, " --pairs") if pairs else (ONE, "")
    card = {
        "name": name,
        "architecture": recipe.architecture,
        "dataset": {
            "name": "boxed clutter",
            "description": "tools/training/clutter.py with the seeds below: " + shown,
            "licence": "MNIST CC BY-SA 3.0 as commonly stated, Fashion-MNIST MIT",
        },
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "preprocessing": {"scale": 255},
        "preprocessing_meaning": "input = float32 pixel / 255",
        "class_names": CLASS_NAMES,
        "training_images": schedule.told(options.seed, f"--split train{flag}"),
        "seed": options.seed,
        "optimizer": f"AdamW, weight decay {WEIGHT_DECAY:g}, learning rate {LEARNING_RATE:g} after {WARM_STEPS} steps "
        f"of rise, with cosine decay to 0 over {schedule.decay()}, batch {BATCH}, cross-entropy"
        + (", the mean over the two objects" if pairs else ""),
        "accuracy": measured,
        **both,
        "accuracy_measured_with": "model.onnx in onnxruntime on the CPU"
        + (": the share of objects that are of the two classes named first" if pairs else ""),
        "accuracy_measured_on": {
            "validation": f"--split train{flag} --seed {VALIDATION_SEED} --samples {EVALUATION_SCENES}",
            "test": f"--split test{flag} --seed {options.seed} --samples {EVALUATION_SCENES}",
        },
        "test_sha256": hashlib.sha256(test.x.tobytes()).hexdigest(),
        "test_sha256_of": f"bytes of the test scenes, uint8 {list(test.x.shape)} in C order",
        "calibration": {
            "file": "calibration.npz",
            "count": CLASSES * kept,
            "count_per_class": kept,
            "from": f"--split train{flag} --seed {CALIBRATION_SEED}",
            "test_count": CLASSES * tested,
            "test_count_per_class": tested,
            "test_from": "the first of the test scenes",
            "sha256": hashlib.sha256(file).hexdigest(),
        },
        "command": f"python tools/train.py clutter --mnist mnist.npz --fashion fashion.npz --only {name} "
        f"{schedule.flags()} --seed {options.seed} --threads {options.threads}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    write_folder(options.out / name, content, file, card, f"{len(content)} bytes of model, {len(file)} of samples")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--only", choices=sorted(RECIPES), help="train this network alone")
    parser.add_argument("--out", type=Path, default=Path("models_onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--more", type=int, default=0, help="rounds after these, under a second cosine, in bfloat16")
    parser.add_argument("--different", type=int, help="rounds with scenes of their own; later ones see these again")
    parser.add_argument("--checkpoint", type=Path, help="of one network: written after every round, gone on from")
    parser.add_argument("--threads", type=int, default=1)


def run(options: argparse.Namespace) -> None:
    """Train the networks asked for, one after the other."""
    if options.checkpoint is not None and options.only is None:
        raise ValueError("--checkpoint: is of one network; name it with --only")
    repeatable(options.threads)
    for name in [options.only] if options.only else list(RECIPES):
        train_one(name, options)
