"""Train the paper's three networks (appendix A, Tables 3 to 5) and export them with card and calibration set.

Writes models_onnx/{mnist_mlp,mnist_cnn,rgb32_cnn}/{model.onnx,card.json,calibration.npz}. The paper's CIFAR-10 network
is trained on rgb32 (tools/compose.py) instead, whose object boxes are exact.
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
import onnx
import onnxruntime
from compose import compose_fashion
from model_folder import write_folder
from numpy.typing import NDArray

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise SystemExit("train_models.py needs torch: pip install 'mipin_ref[train]'") from error

FIT_COUNT = 50_000
BATCH = 128
EVALUATION_BATCH = 500
LEARNING_RATE = 1e-3
OPSET = 17
CALIBRATION_BYTES = 400_000
CALIBRATION_PER_CLASS_LIMIT = 500
TEST_SAMPLE_PER_CLASS = 10

DIGITS = [str(digit) for digit in range(10)]
GARMENTS = ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


class Dataset(NamedTuple):
    """Images x [N, C, H, W] uint8, labels y [N] int64, and boxes [N, 4] int64 where the set has them."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    box_train: NDArray[np.int64] | None = None
    box_test: NDArray[np.int64] | None = None


class Recipe(NamedTuple):
    """One network: how it is built, on what it is trained, for how long, and what its card says."""

    build: Callable[[], Any]
    data: str
    epochs: int
    architecture: list[str]


def mnist_mlp() -> Any:
    """Table 3: 784-512-512-10; [N, 1, 28, 28] to logits [N, 10]."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            dense1=nn.Linear(784, 512),
            relu1=nn.ReLU(),
            dropout1=nn.Dropout(0.3),
            dense2=nn.Linear(512, 512),
            relu2=nn.ReLU(),
            dropout2=nn.Dropout(0.3),
            dense3=nn.Linear(512, 10),
        )
    )


def mnist_cnn() -> Any:
    """Table 4; [N, 1, 28, 28] to logits [N, 10]."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 5),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 64, 3),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            dropout1=nn.Dropout(0.25),
            flatten=nn.Flatten(),
            dense1=nn.Linear(7744, 512),
            relu3=nn.ReLU(),
            dropout2=nn.Dropout(0.5),
            dense2=nn.Linear(512, 10),
        )
    )


def rgb32_cnn() -> Any:
    """Table 5; [N, 3, 32, 32] to logits [N, 10]."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 32, 3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            dropout1=nn.Dropout(0.25),
            conv3=nn.Conv2d(64, 64, 3),
            relu3=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            dropout2=nn.Dropout(0.25),
            flatten=nn.Flatten(),
            dense1=nn.Linear(2304, 512),
            relu4=nn.ReLU(),
            dropout3=nn.Dropout(0.5),
            dense2=nn.Linear(512, 10),
        )
    )


RECIPES = {
    "mnist_mlp": Recipe(
        mnist_mlp,
        "mnist",
        12,
        [
            "input [N, 1, 28, 28]",
            "flatten [N, 784]",
            "dense1 512, relu, dropout 0.3 in training",
            "dense2 512, relu, dropout 0.3 in training",
            "dense3 10, softmax",
        ],
    ),
    "mnist_cnn": Recipe(
        mnist_cnn,
        "mnist",
        4,
        [
            "input [N, 1, 28, 28]",
            "conv1 16 @ 5x5, relu [N, 16, 24, 24]",
            "conv2 64 @ 3x3, relu [N, 64, 22, 22]",
            "max pool 2x2, dropout 0.25 in training [N, 64, 11, 11]",
            "flatten [N, 7744]",
            "dense1 512, relu, dropout 0.5 in training",
            "dense2 10, softmax",
        ],
    ),
    "rgb32_cnn": Recipe(
        rgb32_cnn,
        "rgb32",
        9,
        [
            "input [N, 3, 32, 32]",
            "conv1 32 @ 3x3, relu [N, 32, 30, 30]",
            "conv2 64 @ 3x3, relu [N, 64, 28, 28]",
            "max pool 2x2, dropout 0.25 in training [N, 64, 14, 14]",
            "conv3 64 @ 3x3, relu [N, 64, 12, 12]",
            "max pool 2x2, dropout 0.25 in training [N, 64, 6, 6]",
            "flatten [N, 2304]",
            "dense1 512, relu, dropout 0.5 in training",
            "dense2 10, softmax",
        ],
    ),
}
DATA_CARDS: dict[str, dict[str, Any]] = {
    "mnist": {
        "name": "MNIST",
        "description": "handwritten digits, 28x28 grey; white on black",
        "licence": "CC BY-SA 3.0 as commonly stated",
        "class_names": DIGITS,
    },
    "rgb32": {
        "name": "rgb32",
        "description": "tools/compose.py with the seed below: a Fashion-MNIST object at a random place, size and "
        "colour on smooth texture and fragments of other objects, 32x32 RGB, 16 levels a channel, with the object's "
        "box [x0, y0, x1, y1), ends excluded",
        "licence": "MIT (Fashion-MNIST)",
        "class_names": GARMENTS,
    },
}


def load_mnist(path: Path) -> Dataset:
    """MNIST from Keras's mnist.npz, with a channel axis: x [N, 1, 28, 28]."""
    with np.load(path, allow_pickle=False) as arrays:
        return Dataset(
            arrays["x_train"][:, None],
            arrays["y_train"].astype(np.int64),
            arrays["x_test"][:, None],
            arrays["y_test"].astype(np.int64),
        )


def load_rgb32(path: Path, seed: int) -> Dataset:
    """rgb32 composed from Fashion-MNIST's npz."""
    train, test = compose_fashion(path, seed)
    return Dataset(train.x, train.y, test.x, test.y, train.box, test.box)


def fit(model: Any, data: Dataset, epochs: int, seed: int) -> None:
    """Train model in place on the first 50,000 images: cross-entropy, Adam, cosine decay to zero."""
    order = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(data.x_train[:FIT_COUNT])
    y = torch.from_numpy(data.y_train[:FIT_COUNT])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    loss_function = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        for batch in torch.randperm(len(x), generator=order).split(BATCH):
            optimizer.zero_grad()
            loss = loss_function(model(x[batch].float() / 255), y[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        seconds = time.perf_counter() - started
        print(f"  epoch {epoch + 1}/{epochs}: loss {total / len(x):.4f}, {seconds:.0f} s", flush=True)


def export(model: Any, input_shape: tuple[int, ...], *, fold: bool = True) -> bytes:
    """The model in evaluation mode with softmax as its last node, as one ONNX file free of source locations.

    fold: put batch norms into the convolutions before them; otherwise they stay nodes of their own.
    """
    exported = nn.Sequential(OrderedDict([*model.named_children(), ("softmax", nn.Softmax(dim=1))])).eval()
    buffer = io.BytesIO()
    # The TorchScript exporter needs no onnxscript and keeps Flatten and Gemm as single nodes.
    torch.onnx.export(
        exported,
        (torch.zeros(1, *input_shape),),
        buffer,
        dynamo=False,
        opset_version=OPSET,
        input_names=["input"],
        output_names=["probabilities"],
        dynamic_axes={"input": {0: "N"}, "probabilities": {0: "N"}},
        # PRESERVE leaves the nodes as they are; what is exported is in evaluation mode either way.
        training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=fold,
    )
    proto = onnx.load_model_from_string(buffer.getvalue())
    # The exporter may note where in whose source tree a node was made; a published file should not say.
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer):
        holder.doc_string = ""
        del holder.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.doc_string = ""
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def accuracy(model: bytes, x: NDArray[np.uint8], y: NDArray[np.int64]) -> float:
    """Share of images x [n, C, H, W] that the exported file itself classifies as y [n]."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    right = 0
    for start in range(0, len(x), EVALUATION_BATCH):
        batch = x[start : start + EVALUATION_BATCH].astype(np.float32) / np.float32(255)
        (probabilities,) = session.run(["probabilities"], {"input": batch})
        right += int((probabilities.argmax(axis=1) == y[start : start + EVALUATION_BATCH]).sum())
    return right / len(x)


def shuffled_per_class(y: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """For each class its indices into y, in a seeded random order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return [rng.permutation(np.flatnonzero(y == label)) for label in range(10)]


def take(classes: list[NDArray[np.int64]], per_class: int) -> NDArray[np.int64]:
    """The first per_class indices of every class, interleaved so that any prefix is balanced too."""
    return np.stack([indices[:per_class] for indices in classes], axis=1).ravel()


def calibration(data: Dataset, seed: int) -> tuple[bytes, int]:
    """The largest class-balanced calibration set that fits CALIBRATION_BYTES, as npz, and its images per class."""
    test_classes = shuffled_per_class(data.y_test, seed)
    classes = shuffled_per_class(data.y_train[:FIT_COUNT], seed)

    def pack(per_class: int) -> bytes:
        index, index_test = take(classes, per_class), take(test_classes, TEST_SAMPLE_PER_CLASS)
        arrays: dict[str, NDArray[Any]] = {
            "x": data.x_train[index],
            "y": data.y_train[index],
            "index": index,
            "x_test": data.x_test[index_test],
            "y_test": data.y_test[index_test],
            "index_test": index_test,
        }
        if data.box_train is not None and data.box_test is not None:
            arrays |= {"box": data.box_train[index], "box_test": data.box_test[index_test]}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    fits, too_many = 1, min(CALIBRATION_PER_CLASS_LIMIT, *map(len, classes)) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(pack(middle)) <= CALIBRATION_BYTES:
            fits = middle
        else:
            too_many = middle
    return pack(fits), fits


def data_sha256(data: Dataset) -> str:
    """SHA-256 of the training images' bytes, then the labels' as little-endian int64."""
    digest = hashlib.sha256(np.ascontiguousarray(data.x_train).data)
    digest.update(np.ascontiguousarray(data.y_train, dtype="<i8").data)
    return digest.hexdigest()


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
    packed, per_class = calibration(data, seed)
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
            "sha256": hashlib.sha256(packed).hexdigest(),
        },
        "command": f"python tools/train_models.py --mnist mnist.npz --fashion fashion.npz --only {name} --seed {seed} "
        f"--threads {threads}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    write_folder(out / name, content, packed, card, f"{10 * per_class} calibration images, {len(packed)} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST as Keras's mnist.npz")
    parser.add_argument("--fashion", type=Path, required=True, help="Fashion-MNIST as npz with the same keys")
    parser.add_argument("--only", choices=sorted(RECIPES), help="train this network alone")
    parser.add_argument("--out", type=Path, default=Path("models_onnx"))
    parser.add_argument("--seed", type=int, default=0)
    # Sums are split between threads, so their number is part of what makes a run repeatable.
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for option, path in (("--mnist", options.mnist), ("--fashion", options.fashion)):
        if not path.is_file():
            parser.error(f"{option}: no file {path}")

    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    names = [options.only] if options.only else list(RECIPES)
    wanted = {RECIPES[name].data for name in names}
    data: dict[str, Dataset] = {}
    if "mnist" in wanted:
        data["mnist"] = load_mnist(options.mnist)
    if "rgb32" in wanted:
        data["rgb32"] = load_rgb32(options.fashion, options.seed)
    for name in names:
        train_one(name, data[RECIPES[name].data], options.out, options.seed, options.threads)


if __name__ == "__main__":
    main()
