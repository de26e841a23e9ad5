"""Small networks with an LSTM or a GRU, as ops and as the nodes that files have for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.networks.builder import Builder, Network, seeded
from tests.oracles.spec import GRU, LSTM, Activation, Add, Reshape, Slice, TokenDense

STEPS, FEATURES, SIZE = 4, 3, 2
SHAPE = (STEPS, FEATURES)

Functions = tuple[tuple[str, dict[str, float]], ...]


@dataclass(frozen=True)
class Options:
    """kind: "LSTM" or "GRU"; reverse: of each direction; read: "steps" for the last step of all, "last" for Y_h, "cell"
    for Y_c, "both" for all steps and Y_c; initial: "zero", "given" as constants or "computed" of the input.
    """

    kind: str = "LSTM"
    reverse: tuple[bool, ...] = (False,)
    read: str = "steps"
    initial: str = "zero"
    reset_behind: bool = False
    bias: bool = True
    peepholes: bool = False
    functions: Functions = LSTM.functions


def recurrent(build: Builder, source: str, options: Options) -> str:
    """An LSTM or a GRU of a sequence, and what is read of it as one row of numbers."""
    name, directions = build.name(), len(options.reverse)
    steps, features = build.shapes[source]
    gates, width = 4 if options.kind == "LSTM" else 3, directions * SIZE
    weight = build.normal((directions, gates * SIZE, features), 1 / math.sqrt(features))
    bias = build.normal((directions, 2 * gates * SIZE), 0.5 if options.bias else 0.0)
    candidate = weight[:, -SIZE:].reshape(width, features).T
    shared = bias[:, (gates - 1) * SIZE : gates * SIZE].reshape(width)
    inputs = [build.add(TokenDense((source,), f"{name}:candidate", candidate, shared, 2, True)), source]
    states = ("hidden", "cell") if options.kind == "LSTM" else ("hidden",)
    if options.initial == "computed":
        for _ in states:
            flat = build.add(Reshape((source,), build.name(), (steps * features,)))
            made = build.add(Activation((build.dense(flat, width),), build.name(), "Tanh"))
            inputs.append(build.add(Reshape((made,), build.name(), (directions, SIZE))))
    hidden, cell = (build.normal((directions, SIZE), 0.7 if options.initial == "given" else 0.0) for _ in range(2))
    last = options.read in ("cell", "both")
    op = (LSTM if options.kind == "LSTM" else GRU)(
        tuple(inputs),
        f"{name}:steps",
        weight,
        build.normal((directions, gates * SIZE, SIZE), 0.8),
        bias,
        options.reverse,
        hidden,
        cell,
        last,
        states if options.initial == "computed" else (),
        options.reset_behind,
        build.normal((directions, 3 * SIZE), 0.9) if options.peepholes else None,
        options.functions,
    )
    whole = build.add(op)
    if options.read == "last":
        step = 0 if options.reverse[0] else steps - 1
        row = build.add(Slice((whole,), f"{name}.last", (step, 0), (step + 1, width)))
        return build.add(Reshape((row,), build.name(), (width,)))
    parts = []
    if last:
        row = build.add(Slice((whole,), f"{name}.cell", (steps, 0), (steps + 1, width)))
        parts.append(build.add(Reshape((row,), build.name(), (width,))))
    if options.read != "cell":
        if last:
            every = build.add(Slice((whole,), f"{name}.rows", (0, 0), (steps, width)))
        else:
            every = build.add(Reshape((whole,), f"{name}.rows", (steps, width)))
        row = build.add(Slice((every,), build.name(), (steps - 2, 0), (steps - 1, width)))
        parts.append(build.add(Reshape((row,), build.name(), (width,))))
    return parts[0] if len(parts) == 1 else build.add(Add(tuple(parts), build.name()))


def network(seed: int, options: Options, *, stem: bool = False) -> Network:
    """stem: whether a Dense on each step, with a Relu, stands in front."""
    build, source = Builder(seeded(seed), SHAPE), "input"
    if stem:
        weight = build.normal((FEATURES, FEATURES), 0.8)
        source = build.add(TokenDense((source,), build.name(), weight, build.normal((FEATURES,), 0.1), 2))
        source = build.add(Activation((source,), build.name(), "Relu"))
    build.dense(recurrent(build, source, options), 3)
    return Network(tuple(build.ops), build.input_shape)


BOTH = (False, True)
# Numbers that a file holds as they are.
HARD: Functions = (("HardSigmoid", {"alpha": 0.25, "beta": 0.375}), ("Relu", {}), ("Relu", {}))
BENT: Functions = (("HardSigmoid", {"alpha": 0.1875, "beta": 0.5}), ("Softsign", {}), ("LeakyRelu", {"alpha": 0.125}))
RECURRENT: dict[str, Callable[[int], Network]] = {
    "lstm": lambda seed: network(seed, Options()),
    "lstm behind a layer": lambda seed: network(seed, Options(), stem=True),
    "lstm, reverse": lambda seed: network(seed, Options(reverse=(True,))),
    "lstm, both ways": lambda seed: network(seed, Options(reverse=BOTH)),
    "lstm, last step": lambda seed: network(seed, Options(read="last"), stem=True),
    "lstm, reverse, last step": lambda seed: network(seed, Options(reverse=(True,), read="last")),
    "lstm, last cell": lambda seed: network(seed, Options(read="cell")),
    "lstm, both ways, steps and cell": lambda seed: network(seed, Options(reverse=BOTH, read="both"), stem=True),
    "lstm, given states": lambda seed: network(seed, Options(initial="given")),
    "lstm, computed states": lambda seed: network(seed, Options(reverse=BOTH, initial="computed")),
    "lstm without bias": lambda seed: network(seed, Options(bias=False)),
    "lstm, peepholes": lambda seed: network(seed, Options(peepholes=True), stem=True),
    "lstm, peepholes, both ways, steps and cell": lambda seed: network(
        seed, Options(reverse=BOTH, read="both", initial="given", peepholes=True)
    ),
    "lstm, peepholes, computed states": lambda seed: network(seed, Options(initial="computed", peepholes=True)),
    "lstm, hard gates and relu": lambda seed: network(
        seed, Options(reverse=BOTH, read="both", initial="given", functions=HARD), stem=True
    ),
    "lstm, other functions, peepholes": lambda seed: network(seed, Options(peepholes=True, functions=BENT)),
    "gru, hard gates and relu": lambda seed: network(seed, Options("GRU", BOTH, initial="given", functions=HARD)),
    "gru, other functions": lambda seed: network(
        seed, Options("GRU", reset_behind=True, functions=(("Sigmoid", {}), ("Elu", {"alpha": 0.75}), ("Tanh", {})))
    ),
    "gru": lambda seed: network(seed, Options("GRU")),
    "gru, reset behind": lambda seed: network(seed, Options("GRU", reset_behind=True), stem=True),
    "gru, both ways, reset behind": lambda seed: network(seed, Options("GRU", BOTH, reset_behind=True)),
    "gru, last step": lambda seed: network(seed, Options("GRU", read="last")),
    "gru, given state": lambda seed: network(seed, Options("GRU", BOTH, initial="given"), stem=True),
    "gru, computed state": lambda seed: network(seed, Options("GRU", initial="computed", reset_behind=True)),
}


def samples(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *SHAPE)).astype(np.float32)
