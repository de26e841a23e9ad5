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
from measured.table import read
from mipin_ref.layers import GRU, LSTM, Attention
from paper import text
from paper.token_ranks import deleted, drops, measured, ranked
from paper.token_ways import ABOUT, BY_DELETION, MIP_IN, RANDOM, Inverses, ridge_by_deletion
from training.planted import EVIDENCE, ID, TOKENS, UNKNOWN, VOCABULARY, sentences

WEIGHT = 1.5
TABLE = Path(__file__).parents[3] / "tools/measured/tables/paper-text.json"
TEN = MIP_IN["mip-in, ridge 10"]


def counting(path: Path, hidden: int = 0) -> None:
    """A network whose logits are WEIGHT for each word of a class, whatever stands in front of it.

    hidden: so many units with a Relu between, of drawn weights and words: it counts no longer.
    """
    rng = np.random.default_rng(0)
    table = np.zeros((len(VOCABULARY), 3), np.float32)
    for column, words in enumerate(EVIDENCE):
        table[[ID[word] for word in words], column] = WEIGHT
    end = np.eye(3, dtype=np.float32)
    if hidden:
        table += rng.standard_normal(table.shape).astype(np.float32)
        end = rng.standard_normal((hidden, 3)).astype(np.float32)
    between = [
        helper.make_node("MatMul", ["rows", "wide"], ["before"]),
        helper.make_node("Relu", ["before"], ["units"]),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        *(between if hidden else []),
        helper.make_node("ReduceSum", ["units" if hidden else "rows", "axes"], ["sums"], keepdims=0),
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
            numpy_helper.from_array(end, "one"),
            numpy_helper.from_array(rng.standard_normal((3, hidden)).astype(np.float32), "wide"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def command(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    out = folder / "rows.json"
    given = ["--networks", str(folder), "--seeds", "0", "--samples", "60", "--calibration", "60", "--json", str(out)]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "text", *given])
    reproduce_paper.main()
    told: dict[str, Any] = json.loads(out.read_text())
    return told


def test_a_network_that_counts_words_is_ranked_in_closed_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradient times input is WEIGHT at every word of the class, the negated ones too, and nothing anywhere else."""
    monkeypatch.setattr(text, "NETWORKS", ("transformer",))
    monkeypatch.setattr(text, "LEAST", 0.0)
    counting(tmp_path / "transformer-0.onnx")
    told = command(monkeypatch, tmp_path)
    rows = {row["method"]: row for row in told["rows"]}
    for method in ("input-x-gradient", "lrp-epsilon", "integrated-gradients", "occlusion"):
        one = rows[method]
        assert one["network"] == "transformer"
        for figure in ("hits", "area", "rank"):
            assert [one[figure], one[f"{figure}_low"], one[f"{figure}_high"]] == [1, 1, 1]
        # No token but the two words of the class counts for it, and these have the highest scores.
        for count, words in ((1, 1), (2, 2), (4, 2), (8, 2)):
            assert one[f"drop_{count}"] == pytest.approx(words * WEIGHT, rel=1e-6)
        assert one["drop"] == pytest.approx(7 / 4 * WEIGHT, rel=1e-6)
    assert rows[RANDOM]["area"] == pytest.approx(0.5, abs=0.15)
    assert {"mip-in", "mip-in, ridge held-out", BY_DELETION} <= {*rows}
    assert not {*ABOUT}.intersection(rows)
    assert told["values"]["transformer_mip_in_rank"] == rows["mip-in"]["rank"]
    # What is right of sentences that are neither explained nor trained on, counted: a negated word counts as any other.
    data = sentences(text.VALIDATION, text.VALIDATION_SEED)
    counts = [[sum(VOCABULARY[one] in some for one in row) for some in EVIDENCE] for row in data.ids]
    assert told["values"]["transformer_right"] == np.mean(np.argmax(counts, axis=1) == data.classes)


def test_a_network_that_did_not_learn_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(text, "NETWORKS", ("transformer",))
    counting(tmp_path / "transformer-0.onnx")
    told = command(monkeypatch, tmp_path)
    assert told["rows"] == []
    assert (told["values"]["transformer_trained"], told["values"]["transformer_learnt"]) == (1, 0)
    assert "transformer 0: left out, it has" in capsys.readouterr().out


def test_nothing_is_chosen_on_sentences_that_are_explained() -> None:
    trained_on = {1000 + seed for seed in text.SEEDS}
    assert len({text.TEST_SEED, text.CALIBRATION_SEED, text.VALIDATION_SEED, *trained_on}) == 3 + len(trained_on)


def test_ranks_by_hand() -> None:
    data = sentences(1, 0)
    evidence = np.flatnonzero(data.evidence[0])
    noise = np.flatnonzero(~(data.evidence | data.negated)[0])[1:]
    scores = np.zeros((1, TOKENS))
    scores[0, 0] = scores[0, data.negated[0]] = 9
    scores[0, evidence] = 3, 1
    scores[0, noise[:2]] = 2, 1
    made = ranked(scores, data)
    # Above the second word of evidence stands one of noise, and beside it another.
    assert made.hits.tolist() == [0.5]
    assert made.area.tolist() == [1 - (1 + 0.5) / (2 * len(noise))]
    assert made.rank.tolist() == [(1 + 1 / 2.5) / 2]


def test_ranks_are_those_of_loops() -> None:
    data = sentences(40, 1)
    # Few values, so that many are level.
    scores = np.random.default_rng(0).integers(0, 6, data.ids.shape).astype(np.float32)
    made = ranked(scores, data)
    for row in range(len(data.ids)):
        own = [place for place in range(1, TOKENS) if data.evidence[row, place]]
        noise = [place for place in range(1, TOKENS) if not data.evidence[row, place] and not data.negated[row, place]]
        won, reciprocal = 0.0, 0.0
        for place in own:
            above = 0.0
            for other in noise:
                above += (
                    1 if scores[row, other] > scores[row, place] else 0.5 * (scores[row, other] == scores[row, place])
                )
            won += len(noise) - above
            reciprocal += 1 / (above + 1)
        # Sums of a few fractions, in another order.
        assert made.area[row] == pytest.approx(won / (2 * len(noise)), rel=1e-14)
        assert made.rank[row] == pytest.approx(reciprocal / 2, rel=1e-14)
        order = sorted([*own, *noise], key=lambda place: (-scores[row, place], place))
        assert made.hits[row] == sum(place in own for place in order[:2]) / 2


def test_drops_are_those_of_loops(tmp_path: Path) -> None:
    counting(tmp_path / "net.onnx")
    net, data = mr.load(tmp_path / "net.onnx"), sentences(20, 4)
    scores = np.random.default_rng(1).integers(0, 9, data.ids.shape)
    targets = np.arange(20) % 3
    made = drops(net, scores, data.ids, targets)
    for row in range(20):
        order = sorted(range(1, TOKENS), key=lambda place: (-scores[row, place], place))
        for column, count in enumerate((1, 2, 4, 8)):
            own = [VOCABULARY[data.ids[row, place]] in EVIDENCE[targets[row]] for place in order[:count]]
            # Multiples of 1.5, which float32 holds.
            assert made[row, column] == WEIGHT * sum(own)
            gone = deleted(scores, data.ids, count)[row]
            assert np.flatnonzero(gone != data.ids[row]).tolist() == sorted(
                place for place in order[:count] if data.ids[row, place] != ID[UNKNOWN]
            )


def test_the_first_token_takes_no_part_whatever_its_score(tmp_path: Path) -> None:
    """What stands there is no word, and methods differ in whether they give it a score: rollouts the largest."""
    counting(tmp_path / "net.onnx")
    net, data = mr.load(tmp_path / "net.onnx"), sentences(20, 4)
    scores = np.random.default_rng(1).standard_normal(data.ids.shape)
    expected = measured(net, scores, data)
    for first in (-9.0, 9.0, np.nan):
        scores[:, 0] = first
        for name, values in measured(net, scores, data).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_the_ridge_by_deletion_is_that_whose_deletions_take_most(tmp_path: Path) -> None:
    counting(tmp_path / "net.onnx", hidden=8)
    net, ids, other = mr.load(tmp_path / "net.onnx"), sentences(60, 2).ids, sentences(10, 3).ids
    logits = net.predict(other)[1]
    best, ridges = logits.argmax(axis=1), [10.0**power for power in range(-3, 7)]
    fallen = []
    for ridge in ridges:
        inverses = mr.fit(net, ids, [0, 1, 2], ridge=ridge)
        total = 0.0
        for row in range(10):
            one = inverses[best[row]].attribute(other[row : row + 1]).oriented
            scores = np.sum(one.attribution * one.value, axis=2)[0]
            order = sorted(range(1, TOKENS), key=lambda place: -scores[place])
            for count in (1, 2, 4, 8):
                gone = other[row : row + 1].copy()
                gone[0, order[:count]] = ID[UNKNOWN]
                total += float(logits[row, best[row]] - net.predict(gone)[1][0, best[row]])
        fallen.append(total)
    assert len({round(one, 3) for one in fallen}) > 3
    assert ridge_by_deletion(Inverses(net, ids), other) == ridges[int(np.argmax(fallen))]


def test_the_preset_localise_is_a_ridge_of_ten_on_tokens(tmp_path: Path) -> None:
    counting(tmp_path / "net.onnx", hidden=8)
    net, data = mr.load(tmp_path / "net.onnx"), sentences(20, 2)
    localise, ten = (mr.fit(net, data.ids, 1, **given).attribute(data.ids) for given in ({"preset": "localise"}, TEN))
    np.testing.assert_array_equal(localise.attribution, ten.attribution)


def measured_rows() -> dict[tuple[str, str], dict[str, Any]]:
    (run,) = read(TABLE).runs
    return {(str(row["network"]), str(row["method"])): row for row in run.rows}


def test_methods_that_explain_names_stand_above_mip_in_in_the_table() -> None:
    """Behind each kind of layer, beyond both intervals: what `explain` says of it is so."""
    rows = measured_rows()
    for kind, network in ((Attention, "transformer"), (LSTM, "lstm"), (GRU, "gru")):
        other, own = rows[network, kind.outdone_by], rows[network, "mip-in"]
        for figure in ("hits", "rank"):
            assert other[f"{figure}_low"] > own[f"{figure}_high"]


def test_the_ridge_by_deletion_ranks_above_the_others_that_need_no_evidence() -> None:
    """What the page recommends."""
    rows = measured_rows()
    for network in text.NETWORKS:
        ranks = [rows[network, name]["rank"] for name in ("mip-in", "mip-in, ridge held-out", BY_DELETION)]
        assert ranks[2] > max(ranks[:2])
