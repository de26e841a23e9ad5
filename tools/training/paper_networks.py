"""The paper's three networks in torch (appendix A, Tables 3 to 5), and what their cards say of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


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
