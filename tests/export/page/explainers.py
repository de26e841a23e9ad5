"""Explainers with pages: a few digits of the built-in perceptron, and colour pictures of a network made up here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import mipin_ref as mr
from mipin_ref.export.export import export

SIDE, CLASSES = 24, 20
DIGITS = [0, 1, 7]
HOSTILE = (
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title = 'broken'\">",
    "'\" onmouseover=alert(1) & <!-- ]]>",
    "turned \u202e round",
    "half \ud800 a character",
    "long" * 50,
)


@dataclass(frozen=True)
class Paged:
    """A page, the inverses in it by class, and the preprocessing."""

    path: Path
    inverses: Mapping[int, mr.Inverse]
    preprocessing: mr.data.Preprocessing


def digits(folder: Path) -> Paged:
    """A page of three digits, for drawing."""
    builtin = mr.data.builtin("mnist_mlp")
    with np.load(builtin.calibration) as stored:
        x, x_test = (stored[key].astype(np.float32) / 255 for key in ("x", "x_test"))
    inverses = fitted(mr.load(builtin.model), x[:100], DIGITS)
    unit = mr.data.PRESETS["unit"]
    names = [str(digit) for digit in range(10)]
    export(
        inverses, folder / "digits.onnx", preprocess=unit, check=x_test[:10], class_names=names, html=folder / "d.html"
    )
    return Paged(folder / "d.html", inverses, unit)


def colours(folder: Path, *, raw: bool, names: Sequence[str] | None = None, at: str | None = None) -> Paged:
    """A page of colour pictures and many classes; raw: whether the explainer preprocesses them, or the page."""
    pictures(folder / "pictures")
    network(folder / "model.onnx")
    preprocessing = mr.data.PRESETS["imagenet"]
    inverses = mr.fit(folder / "model.onnx", folder / "pictures", list(range(CLASSES)), preprocess=preprocessing, at=at)
    export(
        inverses,
        folder / "colours.onnx",
        preprocess=preprocessing if raw else None,
        check=folder / "pictures",
        class_names=names,
        html=folder / "c.html",
    )
    return Paged(folder / "c.html", inverses, preprocessing)


def fitted(net: mr.Network, x: npt.NDArray[np.float32], targets: list[int]) -> Mapping[int, mr.Inverse]:
    return mr.fit(net, x, targets, dtype="float32")


def pictures(folder: Path) -> None:
    """Forty PNG files of blots."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(40):
        small = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(small).resize((44, 32), Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")


def network(path: Path) -> None:
    """Two convolutions, a pool over all places, and a dense layer, with random weights."""
    rng = np.random.default_rng(2)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (12, 8, 3, 3), "b2": (12,), "w3": (12, CLASSES), "b3": (CLASSES,)}
    weights = {name: rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}
    weights["w3"] *= 12
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
