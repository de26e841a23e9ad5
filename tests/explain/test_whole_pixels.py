"""Networks that read the pixels of images as integers: explained as the network of floats that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.panel.fallback import fallback_method, open_any
from tests.explain.photographs import SIDE, photographs

COUNT = 6
WHOLES = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32}


def of_floats() -> onnx.ModelProto:
    """A small classifier of images [N, 3, H, W] with drawn weights."""
    draw = np.random.default_rng(0)
    weights = {"first": (8, 3, 3, 3), "second": (12, 8, 3, 3), "third": (12, 5)}
    made = [
        numpy_helper.from_array(np.asarray(draw.standard_normal(shape) / 4, np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("Conv", ["input", "first"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "third"], ["scores"]),
    ]
    ends: list[tuple[str, list[str | int | None]]] = [("input", ["N", 3, SIDE, SIDE]), ("scores", ["N", 5])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    graph = helper.make_graph(nodes, "floats", values[:1], values[1:], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def of_integers(kind: str, last: bool) -> onnx.ModelProto:
    """The same of pixels over 255, behind a cast: of [N, 3, H, W], or [N, H, W, 3] where channels are `last`."""
    proto = of_floats()
    shape: list[str | int | None] = ["N", SIDE, SIDE, 3] if last else ["N", 3, SIDE, SIDE]
    front = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "most"], ["scaled" if last else "input"]),
    ]
    if last:
        front.append(helper.make_node("Transpose", ["scaled"], ["input"], perm=[0, 3, 1, 2]))
    nodes = [*front, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "most"))
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", WHOLES[kind], shape))
    return proto


def looking_up(*sample: int, end: str = "Identity") -> onnx.ModelProto:
    """A classifier of ids, each of which is a row of a table; end: the operator of its scores."""
    table = np.random.default_rng(0).standard_normal((256, 5)).astype(np.float32)
    axes = np.arange(1, len(sample) + 1)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["ids"], ["rows"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "rows"], ["looked up"]),
            helper.make_node("ReduceMean", ["looked up"], ["mean"], axes=axes.tolist(), keepdims=0),
            helper.make_node(end, ["mean"], ["scores"]),
        ],
        "ids",
        [helper.make_tensor_value_info("ids", TensorProto.UINT8, ["N", *sample])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(table, "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "photos"
    photographs(folder, COUNT)
    return folder


def explained(model: Any, images: Any, **options: Any) -> mr.Explanation:
    return mr.explain(model, images, cache=False, progress=False, dtype="float64", **options)


@pytest.mark.parametrize("kind", WHOLES)
@pytest.mark.parametrize("last", [False, True])
def test_maps_are_those_of_the_network_of_floats(photos: Path, kind: str, last: bool) -> None:
    whole, floats = explained(of_integers(kind, last), photos), explained(of_floats(), photos, preprocess="unit")
    np.testing.assert_array_equal(whole.targets, floats.targets)
    assert whole.maps.shape == (COUNT, SIDE, SIDE)
    # The activations agree to some eps of float32 (1.2e-7), which the fit in float64 magnifies by its condition.
    np.testing.assert_allclose(whole.maps, floats.maps, rtol=0, atol=1e-4 * np.abs(floats.maps).max())


def test_bytes_in_memory_are_pixels(photos: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)
    assert explained(of_integers("uint8", True), pixels).maps.shape == (COUNT, SIDE, SIDE)


def test_integers_in_memory_are_pixels_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.int32)
    assert explained(of_integers("int32", True), pixels).maps.shape == (COUNT, SIDE, SIDE)


@pytest.mark.parametrize("method", ["rise", "occlusion", "grad-cam"])
def test_other_methods_draw_pictures(photos: Path, method: str) -> None:
    options: dict[str, Any] = {"samples": 20} if method == "rise" else {}
    assert explained(of_integers("uint8", True), photos, method=method, **options).maps.shape == (COUNT, SIDE, SIDE)


def test_the_page_shows_pictures_and_says_what_was_read(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(of_integers("uint8", True), "net.onnx")
    assert main(["explain", "net.onnx", str(photos), "--no-cache", "-o", "out"]) == 0
    told = capsys.readouterr().out
    assert "preprocessing raw (values divided by 1), as the network reads integers" in told
    assert len([*Path("out").glob("overlay_*.png")]) == COUNT
    assert main(["explain", "net.onnx", str(photos), "--preprocess", "imagenet", "-o", "other"]) == 2
    assert "reads pixels as integers: leave it out, or ask for 'raw'" in capsys.readouterr().err
    assert main(["inspect", "net.onnx", str(photos)]) == 2
    assert "there is no preset to choose" in capsys.readouterr().err


def test_ids_of_any_shape_are_tokens() -> None:
    ids = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), np.uint8)
    assert explained(looking_up(8, 9, 3), ids, method="gradient").maps.ndim == 2
    # A sine at the end has no inverse, so that the file is known by its forward pass alone.
    made = mr.explain(looking_up(8, 9, 3, end="Sin"), ids, 0, "occlusion", None, cache=False, progress=False)
    assert made.maps.ndim == 2


def test_the_fallback_of_pixels_is_of_pictures() -> None:
    assert fallback_method(open_any(of_integers("int32", True))) == "rise"
    assert fallback_method(open_any(looking_up(12))) == "kernel-shap"
