"""The nine classic networks that the onnx wheel carries without their weights, with seeded random ones put in.

AlexNet, DenseNet-121, Inception v1 and v2, ResNet-50, ShuffleNet, SqueezeNet, VGG-19 and ZFNet-512 as Caffe exported
them: opset 9, the batch fixed at 1. The wheel holds every weight as a ConstantOfShape.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
PREFIX = "light_"


def names() -> list[str]:
    """The networks, the smallest file of weights first."""
    sizes = {path.stem.removeprefix(PREFIX): _elements(path) for path in FOLDER.glob(f"{PREFIX}*.onnx")}
    return sorted(sizes, key=lambda name: sizes[name])


def seeded(name: str, seed: int = 0) -> ModelProto:
    """The network with He-scaled normal weights and batch norms that keep the scale on average.

    All float parameters are drawn anew, also the few whose true values the wheel holds: the two kinds do not fit
    together. Standard normal inputs stay apart up to the logits, and those below 1000.
    """
    model = onnx.load(FOLDER / f"{PREFIX}{name}.onnx")
    graph = model.graph
    shapes = _parameters(model)
    readers = {tensor: (node, place) for node in graph.node for place, tensor in enumerate(node.input)}
    normalised = {node.output[0] for node in graph.node if node.op_type == "BatchNormalization"}
    rng = np.random.default_rng(seed)
    drawn = []
    for tensor, shape in shapes.items():
        node, place = _reader(tensor, readers)
        # He: a Relu halves the second moment. What comes straight from a batch norm has all of it.
        gain = 1 if node.input[0] in normalised else 2
        drawn.append(numpy_helper.from_array(_draw(rng, shape, node.op_type, place, gain), tensor))
    kept = [tensor for tensor in graph.initializer if tensor.data_type != TensorProto.FLOAT]
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    inputs = [value for value in graph.input if value.name not in {tensor.name for tensor in graph.initializer}]
    del graph.initializer[:], graph.node[:], graph.input[:]
    read = {tensor for node in nodes for tensor in node.input}
    graph.initializer.extend([*(tensor for tensor in kept if tensor.name in read), *drawn])
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    # From IR 4 on, initializers are no inputs.
    model.ir_version = 4
    return model


def _elements(path: Path) -> int:
    return sum(prod(shape) for shape in _parameters(onnx.load(path)).values())


def _parameters(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of every float parameter that a node reads, by name."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    read = {tensor for node in model.graph.node for tensor in node.input}
    shapes = {name: tuple(tensor.dims) for name, tensor in held.items() if tensor.data_type == TensorProto.FLOAT}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(int(d) for d in numpy_helper.to_array(held[node.input[0]]))
    return {name: shape for name, shape in shapes.items() if name in read}


def _reader(tensor: str, readers: dict[str, tuple[NodeProto, int]]) -> tuple[NodeProto, int]:
    """The node that a parameter goes to, and its place among the inputs."""
    node, place = readers[tensor]
    return _reader(node.output[0], readers) if node.op_type == "Unsqueeze" else (node, place)


def _draw(
    rng: np.random.Generator, shape: tuple[int, ...], operator: str, place: int, gain: int
) -> npt.NDArray[np.float32]:
    if (operator, place) in (("BatchNormalization", 1), ("Mul", 1)):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if (operator, place) == ("BatchNormalization", 4):
        return rng.uniform(0.8, 1.6, shape).astype(np.float32)
    values = rng.standard_normal(shape, np.float32)
    # All of these files hold a Gemm's weight as [out, in].
    weight = place == 1 and operator in ("Conv", "Gemm")
    values *= np.float32(np.sqrt(gain / prod(shape[1:])) if weight else 0.1)
    return values
