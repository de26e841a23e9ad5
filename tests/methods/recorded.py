"""A drawn network, loaded, with the values that the package records of every tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.networks import Network, sample_inputs, to_onnx
from tests.oracles.spec import Activation, Add, Array, Conv, Dense, Integers, MaxPool, Reshape


def residual() -> Network:
    """A branch, several activations, a pool: of modules that captum's DeepLIFT changes backwards."""
    rng = np.random.default_rng(3)
    ops = (
        Conv(("input",), "c", rng.standard_normal((3, 2, 3, 3)) / 4, rng.standard_normal(3), pads=(1, 1, 1, 1)),
        Activation(("c",), "r", "Relu"),
        MaxPool(("r",), "p", (2, 2), (2, 2)),
        Conv(("p",), "d", rng.standard_normal((3, 3, 3, 3)) / 5, rng.standard_normal(3), pads=(1, 1, 1, 1)),
        Activation(("d",), "e", "Elu"),
        Add(("p", "e"), "joined"),
        Activation(("joined",), "l", "LeakyRelu", 0.2),
        Reshape(("l",), "f", (27,)),
        Dense(("f",), "h", rng.standard_normal((27, 6)) / 4, rng.standard_normal(6)),
        Activation(("h",), "g", "Sigmoid"),
        Dense(("g",), "y", rng.standard_normal((6, 3))),
    )
    return Network(ops, (2, 6, 6))


@dataclass(frozen=True, eq=False)
class Case:
    """A network of spec.py as the package sees it, with samples x [n, *input] and targets [n]."""

    network: Network
    net: mr.Network
    x: Array
    targets: Integers

    @classmethod
    def of(cls, network: Network, seed: int, samples: int = 5) -> Case:
        net = mr.load(to_onnx(network.ops, network.input_shape))
        targets = np.random.default_rng(seed).integers(net.classes, size=samples)
        return cls(network, net, sample_inputs(network.input_shape, samples, seed), targets)

    def values(self, x: npt.NDArray[np.floating[Any]] | None = None) -> dict[str, Array]:
        """Values of every tensor at x, float64; what the package folds away or knows under another name is computed."""
        import torch

        from tests.oracles.autograd import apply_op

        given = self.x if x is None else x
        found = {k: v.astype(np.float64) for k, v in Recorder(self.net, list(self.net.shapes))(given).values.items()}
        for op in self.network.ops:
            if op.output not in found:
                xs = [torch.tensor(np.asarray(found[name])) for name in op.inputs]
                found[op.output] = np.asarray(apply_op(op, xs, torch.relu))
        return found
