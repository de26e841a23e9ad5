"""Train a VGG and a ResNet on boxed clutter and export them with card and calibration set.

Writes models_onnx/{clutter_vgg,clutter_resnet}/{model.onnx,card.json,calibration.npz}. They stand in for the paper's
VGG19 and ResNet50 (Table 2): small networks of the same kinds, on scenes (tools/clutter.py) whose boxes are exact.
"""

import argparse
import hashlib
import io
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from clutter import CLASS_NAMES, Scenes, Sources, compose, load_sources
from model_folder import write_atomically, write_folder
from numpy.typing import NDArray
from train_models import accuracy, export

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise SystemExit("train_clutter.py needs torch: pip install 'mipin_ref[train]'") from error

CLASSES = len(CLASS_NAMES)
ROUND_SCENES = 6400
PASSES = 3
BATCH = 64
LEARNING_RATE = 2e-3
WARM_STEPS = 200
WEIGHT_DECAY = 1e-4
# Seeds of tools/clutter.py on the training split; on the test split the seed is the run's own.
CALIBRATION_SEED, VALIDATION_SEED, FIRST_ROUND_SEED = 1, 2, 1000
CALIBRATION_PER_CLASS = 12
TEST_SAMPLE_PER_CLASS = 3
EVALUATION_SCENES = 3000

State = dict[str, NDArray[Any]]


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> Any:
    """A padded convolution without bias: the batch norm after it has one."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def clutter_vgg() -> Any:
    """VGG11's eight convolutions, with an eighth to a quarter of its channels; [N, 3, 64, 64] to logits [N, 15]."""
    layers: OrderedDict[str, Any] = OrderedDict()
    channels, number = 3, 0
    for stage, widths in enumerate([(16,), (32,), (64, 64), (64, 64), (64, 64)], 1):
        for width in widths:
            number += 1
            layers[f"conv{number}"] = convolution(channels, width)
            layers[f"norm{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU()
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["dense1"] = nn.Linear(channels * 2 * 2, 64)
    layers["relu_dense1"] = nn.ReLU()
    layers["dense2"] = nn.Linear(64, CLASSES)
    return nn.Sequential(layers)


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions and a shortcut, which is a strided 1x1 convolution where the block downsamples."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = convolution(outputs, outputs), nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Any) -> Any:
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


def clutter_resnet() -> Any:
    """Eleven 3x3 convolutions in a stem and five residual blocks; [N, 3, 64, 64] to logits [N, 15]."""
    return nn.Sequential(
        OrderedDict(
            conv1=convolution(3, 16),
            norm1=nn.BatchNorm2d(16),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            block1=Residual(16, 16, 1),
            block2=Residual(16, 32, 2),
            block3=Residual(32, 32, 1),
            block4=Residual(32, 64, 2),
            block5=Residual(64, 64, 1),
            pool2=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dense1=nn.Linear(64, CLASSES),
        )
    )


class Recipe(NamedTuple):
    """One network: how it is built, whether its file has batch norms folded in, and what its card says."""

    build: Callable[[], Any]
    fold: bool
    architecture: list[str]


RECIPES = {
    "clutter_vgg": Recipe(
        clutter_vgg,
        True,
        [
            "input [N, 3, 64, 64]",
            "conv1 16 @ 3x3, relu, max pool 2x2 [N, 16, 32, 32]",
            "conv2 32 @ 3x3, relu, max pool 2x2 [N, 32, 16, 16]",
            "conv3 and conv4 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 8, 8]",
            "conv5 and conv6 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 4, 4]",
            "conv7 and conv8 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 2, 2]",
            "flatten [N, 256]",
            "dense1 64, relu",
            "dense2 15, softmax",
            "all convolutions padded by 1; batch norm after each in training, folded into it in the file",
        ],
    ),
    "clutter_resnet": Recipe(
        clutter_resnet,
        False,
        [
            "input [N, 3, 64, 64]",
            "conv1 16 @ 3x3, relu, max pool 2x2 [N, 16, 32, 32]",
            "block1 16 [N, 16, 32, 32]",
            "block2 32, stride 2 [N, 32, 16, 16]",
            "block3 32 [N, 32, 16, 16]",
            "block4 64, stride 2 [N, 64, 8, 8]",
            "block5 64 [N, 64, 8, 8]",
            "global average pool, flatten [N, 64]",
            "dense1 15, softmax",
            "block: conv @ 3x3, relu, conv @ 3x3, plus the block's input (through conv @ 1x1 where the stride is 2), "
            "relu; all 3x3 convolutions padded by 1; batch norm after every convolution, a node of its own in the file",
        ],
    ),
}


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


def packed(arrays: State) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


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
            write_atomically(checkpoint, packed(state(model, optimizer, number + 1)))


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
            "description": "tools/clutter.py with the seeds below: an MNIST digit or a Fashion-MNIST garment at a "
            "random place, size (longer side 22 to 34 pixels) and colour on texture and fragments of other objects "
            "tinted by the same rule, 64x64 RGB, 16 levels a channel, with the object's box [x0, y0, x1, y1), ends "
            "excluded, which covers less than three tenths of the scene",
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
        "command": f"python tools/train_clutter.py --mnist mnist.npz --fashion fashion.npz --only {name} "
        f"--rounds {options.rounds} --seed {options.seed} --threads {options.threads}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    write_folder(options.out / name, content, file, card, f"{len(content)} bytes of model, {len(file)} of samples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST as Keras's mnist.npz")
    parser.add_argument("--fashion", type=Path, required=True, help="Fashion-MNIST as npz with the same keys")
    parser.add_argument("--only", choices=sorted(RECIPES), help="train this network alone")
    parser.add_argument("--out", type=Path, default=Path("models_onnx"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--checkpoint", type=Path, help="of one network: written after every round, gone on from")
    # Sums are split between threads, so their number is part of what makes a run repeatable.
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.checkpoint is not None and options.only is None:
        parser.error("--checkpoint: is of one network; name it with --only")
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    try:
        for name in [options.only] if options.only else list(RECIPES):
            train_one(name, options)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
