"""How high methods rank known evidence, on a network that counts words: closed forms of every figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
import reproduce_paper
from paper import text
from training.planted import EVIDENCE, ID, TOKENS, UNKNOWN, VOCABULARY, sentences

WEIGHT = 1.5


def counting(path: Path) -> None:
    """A network whose logits are WEIGHT for each word of a class, whatever stands in front of it."""
    table = np.zeros((len(VOCABULARY), 3), np.float32)
    for column, words in enumerate(EVIDENCE):
        table[[ID[word] for word in words], column] = WEIGHT
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sums"], keepdims=0),
        helper.make_node("Gemm", ["sums", "one"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "counting",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", TOKENS])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
            numpy_helper.from_array(np.eye(3, dtype=np.float32), "one"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def command(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[dict[str, Any]]:
    out = folder / "rows.json"
    given = ["--networks", str(folder), "--seeds", "0", "--samples", "60", "--calibration", "60", "--json", str(out)]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "text", *given])
    reproduce_paper.main()
    rows: list[dict[str, Any]] = json.loads(out.read_text())["rows"]
    return rows


def test_a_network_that_counts_words_is_ranked_in_closed_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradient times input is WEIGHT at every word of the class, the negated ones too, and nothing anywhere else."""
    monkeypatch.setattr(text, "NETWORKS", ("transformer",))
    monkeypatch.setattr(text, "LEAST", 0.0)
    counting(tmp_path / "transformer-0.onnx")
    rows = {row["method"]: row for row in command(monkeypatch, tmp_path)}
    for method in ("input-x-gradient", "lrp-epsilon", "integrated-gradients", "occlusion"):
        one = rows[method]
        assert one["network"] == "transformer"
        for figure in ("hits", "area"):
            assert [one[figure], one[f"{figure}_low"], one[f"{figure}_high"]] == [1, 1, 1]
        # Both words of the class are deleted: no others have a score above zero.
        assert one["drop"] == pytest.approx(2 * WEIGHT, rel=1e-6)
    assert rows[text.RANDOM]["area"] == pytest.approx(0.5, abs=0.15)
    assert {"mip-in", text.HELD_OUT, "mip-in, ridge 100"} <= {*rows}


def test_a_network_that_did_not_learn_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(text, "NETWORKS", ("transformer",))
    counting(tmp_path / "transformer-0.onnx")
    assert command(monkeypatch, tmp_path) == []
    assert "transformer 0: left out, it has" in capsys.readouterr().out


def test_ranks_and_deletions_by_hand() -> None:
    data = sentences(1, 0)
    evidence = np.flatnonzero(data.evidence[0])
    noise = np.flatnonzero(~(data.evidence | data.negated)[0])[1:]
    scores = np.zeros((1, TOKENS))
    scores[0, 0] = scores[0, data.negated[0]] = 9
    scores[0, evidence] = 3, 1
    scores[0, noise[:2]] = 2, 1
    hits, area = text.ranked(scores, data)
    # Above the second word of evidence stands one of noise, and beside it another.
    assert hits.tolist() == [0.5]
    assert area.tolist() == [(2 * len(noise) - 1 - 0.5) / (2 * len(noise))]
    scores[0, 1:] = -np.arange(TOKENS - 1)
    gone = text.deleted(scores, data.ids)[0]
    assert gone[:3].tolist() == [data.ids[0, 0], ID[UNKNOWN], ID[UNKNOWN]]
    assert gone[3:].tolist() == data.ids[0, 3:].tolist()


def test_the_ridge_is_the_one_that_reconstructs_held_out_sentences_best(tmp_path: Path) -> None:
    counting(tmp_path / "net.onnx")
    net, ids = mr.load(tmp_path / "net.onnx"), sentences(60, 2).ids
    errors = []
    for ridge in text.RIDGES:
        made = [mr.fit(net, ids[12:], target, ridge=ridge).attribute(ids[:12]) for target in range(3)]
        errors.append(sum(float(np.square(one.distractor).sum()) for one in made))
    assert text.best_ridge(net, ids) == text.RIDGES[int(np.argmin(errors))]
