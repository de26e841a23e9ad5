"""Small networks with an RNN: its steps written out as ops, and beside them the one node that a file has for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.networks.builder import Builder, seeded
from tests.oracles.spec import (
    Activation,
    Add,
    ChannelAffine,
    Concat,
    Dense,
    Op,
    Reshape,
    Slice,
    TokenDense,
)

STEPS, FEATURES, SIZE = 4, 3, 2
SHAPE = (STEPS, FEATURES)


@dataclass(frozen=True)
class Options:
    """function: "Tanh" or "Relu"; reverse: of each direction; read: "steps" for Y, "ends" for Y_h; initial: "zero",
    "given" as a constant or "computed" of the input.
    """

    function: str = "Tanh"
    reverse: tuple[bool, ...] = (False,)
    read: str = "ends"
    initial: str = "zero"
    bias: bool = True

    @property
    def ops(self) -> tuple[Op, ...]:
        return _written(self)[0]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return _written(self)[1]


@cache
def _written(options: Options) -> tuple[tuple[Op, ...], dict[str, np.ndarray]]:
    """The ops, and the weights of the node, by the operator's names for them."""
    build, directions = Builder(seeded(3), SHAPE), len(options.reverse)
    width = directions * SIZE
    arrays = {
        "W": build.normal((directions, SIZE, FEATURES), 1 / math.sqrt(FEATURES)),
        "R": build.normal((directions, SIZE, SIZE), 0.8),
        "B": build.normal((directions, 2 * SIZE), 0.5 if options.bias else 0.0),
        "initial": build.normal((directions, SIZE), 0.7 if options.initial == "given" else 0.0),
        "first": build.normal((STEPS * FEATURES, width), 0.4),
    }
    state = ""
    if options.initial == "computed":
        flat = build.add(Reshape(("input",), build.name(), (1, STEPS * FEATURES)))
        made = build.add(TokenDense((flat,), build.name(), arrays["first"], np.zeros(width), 2))
        state = build.add(
            Reshape((build.add(Activation((made,), build.name(), "Tanh")),), build.name(), (directions, SIZE))
        )
    bias = arrays["B"][:, :SIZE] + arrays["B"][:, SIZE:]
    weight = arrays["W"].reshape(width, FEATURES).T
    candidate = build.add(TokenDense(("input",), "candidate", weight, bias.reshape(width), 2, True))
    each = []
    for number, back in enumerate(options.reverse):
        columns, made_by = (number * SIZE, (number + 1) * SIZE), {}
        before = ""
        if state:
            before = state
            if directions > 1:
                before = build.add(Slice((state,), build.name(), (number, 0), (number + 1, SIZE)))
        for step in range(STEPS)[:: -1 if back else 1]:
            total = build.add(Slice((candidate,), build.name(), (step, columns[0]), (step + 1, columns[1])))
            if before:
                past = build.add(TokenDense((before,), build.name(), arrays["R"][number].T, np.zeros(SIZE), 2))
                total = build.add(Add((total, past), build.name()))
            elif options.initial == "given":
                shift = (arrays["R"][number] @ arrays["initial"][number])[None]
                total = build.add(ChannelAffine((total,), build.name(), np.ones((1, SIZE)), shift))
            before = made_by[step] = build.add(Activation((total,), build.name(), options.function))
        each.append(made_by)
    if options.read == "ends":
        parts = [one[0 if back else STEPS - 1] for one, back in zip(each, options.reverse, strict=True)]
        axis = 1
    else:
        parts = [build.add(Concat(tuple(one[step] for step in range(STEPS)), build.name(), 1)) for one in each]
        axis = 2
    whole = parts[0] if len(parts) == 1 else build.add(Concat(tuple(parts), build.name(), axis))
    flat = build.add(Reshape((whole,), build.name(), (math.prod(build.shapes[whole]),)))
    arrays["head"], arrays["head bias"] = build.normal((*build.shapes[flat], 3), 0.7), build.normal((3,), 0.1)
    build.add(Dense((flat,), build.name(), arrays["head"], arrays["head bias"]))
    return tuple(build.ops), arrays


def plain_file(options: Options, **attributes: Any) -> ModelProto:
    """The same as a file with the one operator."""
    arrays, directions = options.arrays, len(options.reverse)
    held = {key: value for key, value in arrays.items() if key in ("W", "R", "B", "head", "head bias")}
    nodes = [helper.make_node("Transpose", ["input"], ["sequence"], perm=[1, 0, 2])]
    inputs = ["sequence", "W", "R", "B"]
    if options.initial == "given":
        held["initial"] = arrays["initial"][:, None]
        inputs += ["", "initial"]
    if options.initial == "computed":
        held["first"] = arrays["first"]
        held["apart"] = np.array([-1, directions, SIZE])
        nodes += [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "first"], ["sums"]),
            helper.make_node("Tanh", ["sums"], ["made"]),
            helper.make_node("Reshape", ["made", "apart"], ["states"]),
            helper.make_node("Transpose", ["states"], ["initial"], perm=[1, 0, 2]),
        ]
        inputs += ["", "initial"]
    direction = "bidirectional" if directions > 1 else "reverse" if options.reverse[0] else "forward"
    told = {"direction": direction, "hidden_size": SIZE, "activations": [options.function] * directions}
    nodes.append(helper.make_node("RNN", inputs, ["y", "h"], name="the_op", **{**told, **attributes}))
    turned = ("h", (1, 0, 2)) if options.read == "ends" else ("y", (2, 0, 1, 3))
    nodes += [
        helper.make_node("Transpose", [turned[0]], ["samples first"], perm=turned[1]),
        helper.make_node("Flatten", ["samples first"], ["row"]),
        helper.make_node("Gemm", ["row", "head", "head bias"], ["logits"]),
    ]
    stored = [
        numpy_helper.from_array(value.astype(np.int64 if name == "apart" else np.float32), name)
        for name, value in held.items()
    ]
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


BOTH = (False, True)
PLAIN = {
    "tanh": Options(),
    "relu, reverse": Options("Relu", (True,)),
    "tanh, both ways, ends": Options(reverse=BOTH),
    "relu, both ways, all steps": Options("Relu", BOTH, "steps"),
    "tanh, all steps, given state": Options(read="steps", initial="given"),
    "tanh, both ways, computed state": Options(reverse=BOTH, initial="computed"),
    "relu, computed state, no bias": Options("Relu", read="steps", initial="computed", bias=False),
}


def samples(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *SHAPE)).astype(np.float32)
