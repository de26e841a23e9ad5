"""Texts of a network that reads how many tokens each has, and hides nothing by a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr

WORDS = ["[PAD]", "[UNK]", "the", "film", "was", "good", "bad", "not"]
TEXTS = ["the film was good", "bad", "not bad"]
FEATURES, SIZE = 3, 4


def network(kind: str, name: str = "text_lengths", whole: int = TensorProto.INT64) -> onnx.ModelProto:
    """Ids [N, T] and lengths [N]: rows of a table, a recurrent layer, and scores of its last state."""
    rng = np.random.default_rng(0)
    blocks = {"LSTM": 4, "GRU": 3}[kind]
    arrays: dict[str, Any] = {
        "table": rng.standard_normal((len(WORDS), FEATURES)),
        "W": rng.standard_normal((1, blocks * SIZE, FEATURES)),
        "R": rng.standard_normal((1, blocks * SIZE, SIZE)),
        "B": rng.standard_normal((1, 2 * blocks * SIZE)),
        "head": rng.standard_normal((SIZE, 3)),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("Cast", [name], ["typed"], to=TensorProto.INT32),
        helper.make_node(kind, ["sequence", "W", "R", "B", "typed"], ["", "last"], hidden_size=SIZE),
        helper.make_node("Squeeze", ["last", "first"], ["state"]),
        helper.make_node("MatMul", ["state", "head"], ["logits"]),
    ]
    stored = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in arrays.items()]
    graph = helper.make_graph(
        nodes,
        "texts",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "T"]),
            helper.make_tensor_value_info(name, whole, ["N"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [*stored, numpy_helper.from_array(np.array([0]), "first")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_text_beside_longer_ones_is_explained_as_by_itself(kind: str, tmp_path: Path) -> None:
    """Float32 of the same sums; nothing is said of tokens that would count, and none is drawn."""
    onnx.save(network(kind), tmp_path / "net.onnx")
    asked: Any = {"tokenizer": WORDS, "progress": False, "cache": False}
    made = mr.explain(tmp_path / "net.onnx", TEXTS, 1, "gradient", "auto", **asked)
    assert not [one for one in made.told if "mask" in one]
    assert made.maps.shape == (3, 4)
    for row, text in enumerate(TEXTS):
        count = len(text.split())
        alone = mr.explain(tmp_path / "net.onnx", [text], 1, "gradient", "auto", **asked)
        scale = 64 * float(np.finfo(np.float32).eps) * np.abs(alone.maps).max()
        np.testing.assert_allclose(made.maps[row, :count], alone.maps[0], rtol=0, atol=scale)
        assert not np.any(made.maps[row, count:])
    folder = tmp_path / "out"
    made.save(folder)
    assert "[PAD]" not in (folder / "index.html").read_text()


def test_lengths_beside_ids_tell_which_tokens_are_drawn(tmp_path: Path) -> None:
    net = mr.load(network("GRU"), input="ids", input_shape={"ids": (4,)})
    np.savez(tmp_path / "ids.npz", ids=np.array([[2, 3, 4, 5], [6, 0, 0, 0]]), text_lengths=np.array([4, 1]))
    asked: Any = {"tokenizer": WORDS, "progress": False, "cache": False}
    made = mr.explain(net, tmp_path / "ids.npz", 1, "gradient", "auto", **asked)
    made.save(tmp_path / "out")
    with np.load(tmp_path / "out" / "attribution.npz", allow_pickle=False) as stored:
        assert stored["tokens"].tolist() == [["the", "film", "was", "good"], ["bad", "", "", ""]]


@pytest.mark.parametrize(("name", "whole"), [("temperature", TensorProto.INT64), ("lengths", TensorProto.FLOAT)])
def test_another_number_of_each_text_is_refused(name: str, whole: int) -> None:
    said = (
        f"input '{name}' holds neither a mask, nor types or positions of tokens, nor how many a text has, by its name"
    )
    with pytest.raises(mr.InvalidData, match=said):
        mr.explain(network("GRU", name, whole), TEXTS, 1, tokenizer=WORDS, progress=False)
