"""Texts in one call and one command: what networks that read ids, a mask and types make of sentences."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from captum.attr import IntegratedGradients
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.explain.outdone import told_outdone
from mipin_ref.layers import KINDS, Outdone
from tests.backends import relative_error
from tests.explain.reader import (
    IDS,
    PLACES,
    TEXTS,
    TOKENS,
    WORDS,
    exported,
    seeded,
    texts_folder,
    tokenizer_file,
    vocabulary_files,
)
from tests.graph.sketch import Sketch


def sentences(count: int) -> list[str]:
    """Of three to nine words, so that with their ends none is longer than the network reads."""
    rng = np.random.default_rng(0)
    words = ["the", "film", "was", "not", "good", "bad", "play", "very"]
    return [" ".join(rng.choice(words, rng.integers(3, 10))) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("texts")
    texts_folder(made)
    return made


def alone(model: Any, ids: list[int], target: int) -> tuple[Any, Any]:
    """Gradient times embedding summed over features [T], and the logits, of one text without padding."""
    whole = torch.tensor([ids])
    words = model.words(whole).detach().requires_grad_()
    logits = model.behind(words, torch.ones_like(whole), torch.zeros_like(whole))
    (gradient,) = torch.autograd.grad(logits[0, target], words)
    return (gradient * words).sum(-1)[0].detach().numpy(), logits[0].detach().numpy()


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("infinite", [False, True], ids=["a large negative mask", "a mask of -Inf"])
def test_texts_of_different_lengths_are_explained_as_each_by_itself(
    infinite: bool, dynamo: bool, folder: Path, tmp_path: Path
) -> None:
    model = seeded(infinite=infinite)
    path = exported(model, tmp_path / "net.onnx", dynamo=dynamo)
    asked: Any = {"tokenizer": folder / "tokenizer.json", "progress": False, "at": "auto", "target": 1}
    made = mr.explain(path, TEXTS, method="gradient", **asked)
    assert made.maps.shape == (3, max(map(len, IDS)))
    for row, ids in enumerate(IDS):
        expected, logits = alone(model, ids, 1)
        # Two engines in single precision, through two blocks.
        np.testing.assert_allclose(made.logits[row], logits, rtol=1e-4, atol=1e-5)
        assert relative_error(made.maps[row, : len(ids)], expected) < 1e-4
        assert np.all(made.maps[row, len(ids) :] == 0)


def test_a_token_s_score_is_the_contribution_summed_over_features(folder: Path) -> None:
    asked: Any = {"tokenizer": folder / "tokenizer.json", "progress": False, "cache": False, "dtype": "float64"}
    made = mr.explain(folder / "net.onnx", TEXTS, 2, **asked, calibration=sentences(100))
    contribution = made.result.oriented.contribution
    assert contribution.shape == (3, 11, 8)
    np.testing.assert_array_equal(made.maps, contribution.sum(axis=2))
    assert np.any(made.maps != 0)


def explain(folder: Path, *more: str) -> int:
    return main(["explain", str(folder / "net.onnx"), *more])


def test_the_command_prints_draws_and_stores_tokens(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["--tokenizer", str(folder / "tokenizer.json"), "--method", "gradient", "--at", "auto", "-o", str(out)]
    assert explain(folder, str(folder / "texts.txt"), *asked) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("text ")]
    assert len(lines) == 3
    assert "\x1b" not in printed
    assert ": [CLS] The film was good. [SEP]  (" in lines[0]
    assert ": [CLS] Not playing [SEP]  (" in lines[1]
    page = (out / "index.html").read_text()
    drawn = re.findall(r'<p class="tokens" dir="auto">(.*?)</p>', page)
    shown = [re.findall(r"<span[^>]*>(.*?)</span>", one) for one in drawn]
    assert all(tokens in shown for tokens in TOKENS)
    assert "[PAD]" not in page
    with np.load(out / "attribution.npz", allow_pickle=False) as stored:
        np.testing.assert_allclose(stored["score"], stored["contribution"].sum(axis=2), rtol=1e-6)
        tokens, ids = stored["tokens"], stored["ids"]
    assert [[one for one in row if one] for row in tokens.tolist()] == TOKENS
    assert ids[1].tolist() == IDS[1] + [0] * 4
    largest = re.search(r"\((\S+) ([+-]\S+),", lines[1])
    assert largest is not None
    assert largest[1] in TOKENS[1]


def test_integrated_gradients_go_from_embedding_to_embedding_under_each_text_s_mask(folder: Path) -> None:
    """The baseline text is of [PAD] throughout, under the same mask; captum's own quadrature has as many nodes."""
    made = mr.explain(
        folder / "net.onnx",
        TEXTS,
        1,
        "integrated-gradients",
        "auto",
        tokenizer=folder / "tokenizer.json",
        progress=False,
        steps=40,
    )
    model = seeded()
    for row, ids in enumerate(IDS):
        whole = torch.tensor([ids])
        ones, zeros = torch.ones_like(whole), torch.zeros_like(whole)
        explained = IntegratedGradients(lambda words, ones=ones, zeros=zeros: model.behind(words, ones, zeros))
        found = explained.attribute(
            model.words(whole), model.words(zeros), target=1, n_steps=40, method="gausslegendre", internal_batch_size=1
        )
        expected = found.sum(-1)[0].detach().numpy()
        # Nodes of the same quadrature, in single precision.
        assert relative_error(made.maps[row, : len(ids)], expected) < 1e-3
    assert made.result.delta is not None
    assert np.all(np.abs(made.result.delta) < 1e-3 * np.abs(made.logits).max())


@pytest.mark.parametrize("method", ["occlusion", "kernel-shap"])
def test_covering_a_token_leaves_mask_and_types(method: str, folder: Path) -> None:
    """What the mask hides counts nothing; covering one token is the text with [PAD] in its place."""
    options: Any = {"window": 1} if method == "occlusion" else {}
    made = mr.explain(
        folder / "net.onnx", TEXTS, 1, method, None, tokenizer=folder / "tokenizer.json", progress=False, **options
    )
    model = seeded()
    for row, ids in enumerate(IDS):
        assert np.abs(made.maps[row, len(ids) :]).max(initial=0) < 1e-5
        if method == "occlusion":
            without = [[0 if place == one else word for place, word in enumerate(ids)] for one in range(len(ids))]
            logits = [float(alone(model, some, 1)[1][1]) for some in (ids, *without)]
            np.testing.assert_allclose(made.maps[row, : len(ids)], logits[0] - np.array(logits[1:]), atol=1e-5)


def test_every_form_of_a_vocabulary_reads_words_alike(folder: Path, tmp_path: Path) -> None:
    told = [
        mr.explain(
            folder / "net.onnx",
            ["the film was good", "Good film nobody"],
            0,
            "gradient",
            "auto",
            tokenizer=path,
            progress=False,
        )
        for path in vocabulary_files(tmp_path).values()
    ]
    assert np.any(told[0].maps != 0)
    for one in told[1:]:
        np.testing.assert_array_equal(one.maps, told[0].maps)


def test_ids_get_names_and_what_the_mask_hides_is_not_drawn(folder: Path, tmp_path: Path) -> None:
    ids, mask = np.zeros((2, 9), np.int64), np.zeros((2, 9), np.int64)
    for row in range(2):
        ids[row, : len(IDS[row])], mask[row, : len(IDS[row])] = IDS[row], 1
    np.savez(tmp_path / "ids.npz", input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
    sizes = [f"--input-shape={name}:1x9" for name in ("input_ids", "attention_mask", "token_type_ids")]
    asked = ["--vocabulary", str(vocabulary_files(tmp_path)["vocab.txt"]), "--input", "input_ids", *sizes]
    more = ["--method", "gradient", "--at", "auto", "-o", str(tmp_path / "out")]
    assert explain(folder, str(tmp_path / "ids.npz"), *asked, *more) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    drawn = re.findall(r'<p class="tokens" dir="auto">(.*?)</p>', page)
    shown = [re.findall(r"<span[^>]*>(.*?)</span>", one) for one in drawn]
    # The file of words has no pieces, so that names behind them are other ones.
    assert ["[CLS]", "the", "film", "was", "good", "13", "[SEP]"] in shown


def test_a_mask_that_hides_a_whole_text_is_refused(folder: Path, tmp_path: Path) -> None:
    ids = np.full((40, 9), 4)
    mask = np.ones_like(ids)
    mask[37] = 0
    np.savez(tmp_path / "ids.npz", input_ids=ids, attention_mask=mask, token_type_ids=0 * ids)
    sizes = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (9,))
    net = mr.load(folder / "net.onnx", input="input_ids", input_shape=sizes)
    with pytest.raises(mr.InvalidData, match="text 37: its mask 'attention_mask' hides all of its tokens") as caught:
        mr.explain(net, tmp_path / "ids.npz", method="gradient", progress=False)
    assert "\n" not in str(caught.value)


def test_what_a_fit_is_made_on_may_be_texts_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("\n".join(sentences(100)))
    asked = ["--tokenizer", str(folder / "tokenizer.json"), "--calibration", str(more), "--no-cache", "--target", "1"]
    asked += ["--dtype", "float64", "-o", str(tmp_path / "out")]
    assert explain(folder, str(folder / "texts.txt"), *asked) == 0
    assert f"calibration: 100 texts of {more}" in capsys.readouterr().out
    how: Any = {"tokenizer": folder / "tokenizer.json", "progress": False, "cache": False, "dtype": "float64"}
    made = mr.explain(folder / "net.onnx", TEXTS, 1, calibration=sentences(100), **how)
    with np.load(tmp_path / "out" / "attribution.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["score"], made.maps)


def test_without_the_package_its_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(mr.BackendUnavailable, match=r"needs the package tokenizers: pip install 'mipin_ref\[text\]'"):
        mr.explain(folder / "net.onnx", TEXTS, tokenizer=folder / "tokenizer.json")


def image_model(path: Path) -> Path:
    sketch = Sketch(1, 8, 8)
    onnx.save(
        sketch.model(sketch.dense(sketch.node("Flatten", sketch.conv("x", 1, 2, pads=[1, 1, 1, 1])), 128, 3)), path
    )
    return path


def bad_input(kind: str, folder: Path, place: Path) -> list[str]:
    """A command that must be refused in one sentence."""
    model, texts, tokenizer = folder / "net.onnx", folder / "texts.txt", folder / "tokenizer.json"
    if kind == "another network's tokenizer":
        tokenizer = tokenizer_file(place / "large.json", [*WORDS, *(f"more{number}" for number in range(30))])
    elif kind == "a text that is too long":
        texts = place / "long.txt"
        texts.write_text("good\n" + "good " * PLACES)
    elif kind == "an empty text":
        texts = place / "empty.txt"
        texts.write_text("good film\n\nbad film\n")
    elif kind == "no text":
        texts = place / "none.txt"
        texts.write_text("")
    elif kind == "not UTF-8":
        texts = place / "latin.txt"
        texts.write_bytes("schön\n".encode("latin-1"))
    elif kind == "an image model":
        model = image_model(place / "image.onnx")
    elif kind == "pieces of words":
        tokenizer = place / "vocab.txt"
        tokenizer.write_text("\n".join(WORDS))
    elif kind == "an unknown word":
        tokenizer = place / "vocab.txt"
        tokenizer.write_text("the\nfilm\n")
    elif kind == "a damaged tokenizer":
        tokenizer = place / "damaged.json"
        tokenizer.write_text('{"model": {"type": "Nothing"}}')
    elif kind == "a folder":
        texts = place / "folder"
        texts.mkdir()
    elif kind == "no tokenizer":
        return ["explain", str(model), str(texts), "-o", str(place / "out")]
    return ["explain", str(model), str(texts), "--tokenizer", str(tokenizer), "-o", str(place / "out")]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "another network's tokenizer",
            "has 44 tokens and the table of input 'input_ids' 14 rows: it belongs to another",
        ),
        ("a text that is too long", "text 1 has 14 tokens, and the network's table of positions 12 rows: shorten it"),
        ("an empty text", "line 2: it is empty, and there is nothing to explain"),
        ("no text", "line 1: it is empty, and there is nothing to explain"),
        ("not UTF-8", "latin.txt: texts are in UTF-8, one a line, and byte 3 is not"),
        (
            "an image model",
            "a tokenizer is for networks that read ids of tokens, and this one reads 'x', which are none",
        ),
        ("pieces of words", "line 1: the vocabulary holds pieces of words (##…)"),
        ("an unknown word", "line 1: the vocabulary has no token 'was', and none for unknown words"),
        ("a folder", "folder: with a tokenizer a file of texts is explained, one a line, and this is a folder"),
        ("no tokenizer", "texts.txt: texts are explained with their network's tokenizer, option 'tokenizer'"),
        ("a damaged tokenizer", "damaged.json: not a tokenizer.json that the package tokenizers reads"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    kind: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(bad_input(kind, folder, tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("mipin: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def unmasked(path: Path) -> Path:
    """A network that counts words of a table, of any number, and reads no mask."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axes"], ["sums"], keepdims=0),
        helper.make_node("Gemm", ["sums", "one"], ["logits"]),
    ]
    table = np.random.default_rng(0).standard_normal((len(WORDS), 3)).astype(np.float32)
    arrays: dict[str, Any] = {"table": table, "axes": np.array([1], np.int64), "one": np.eye(3, dtype=np.float32)}
    graph = helper.make_graph(
        nodes,
        "counting",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_without_a_mask_the_filled_up_tokens_count_which_is_said(tmp_path: Path) -> None:
    path = unmasked(tmp_path / "net.onnx")
    made = mr.explain(path, ["good film", "bad"], 0, "gradient", "auto", tokenizer=WORDS[:10], progress=False)
    assert [one for one in made.told if "reads no mask" in one] == [
        "the network reads no mask: shorter texts are filled up to 2 tokens with '[PAD]', which it reads as the others"
    ]
    table = numpy_helper.to_array(onnx.load(path).graph.initializer[0])[:, 0]
    # A sum of rows: the score of a token is its number in the table, that of [PAD] too.
    np.testing.assert_allclose(made.maps, [table[[8, 5]], table[[9, 0]]], rtol=1e-6)
    with pytest.raises(mr.InvalidData, match="the tokenizer has no token to fill up with"):
        mr.explain(path, ["good film", "bad"], tokenizer={"good": 1, "film": 2, "bad": 3}, progress=False)


def test_a_sample_that_is_masked_as_a_whole_is_refused(tmp_path: Path) -> None:
    net = mr.load(
        exported(seeded(infinite=True), tmp_path / "net.onnx", dynamo=False),
        input="input_ids",
        input_shape=dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (5,)),
    )
    ids = np.ones((2, 5), np.int64)
    mask = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    x = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    with pytest.raises(mr.InvalidData, match="shuts everything that sample"):
        net.predict(x)


def test_where_another_method_stands_above_mip_in_it_is_said(folder: Path, tmp_path: Path) -> None:
    asked: Any = {"calibration": sentences(100), "progress": False, "cache": False, "dtype": "float64"}
    asked["tokenizer"] = folder / "tokenizer.json"
    made = mr.explain(folder / "net.onnx", TEXTS[:1], 1, **asked)
    (line,) = (one for one in made.told if "ranked known evidence lower" in one)
    assert "through Attention" in line
    assert "'lrp-epsilon'" in line
    made.save(tmp_path / "out")
    assert "ranked known evidence lower" in (tmp_path / "out" / "index.html").read_text()
    # By the other method, and behind all attention, there is nothing to say.
    plain: Any = {"tokenizer": folder / "tokenizer.json", "progress": False, "at": "auto"}
    told = mr.explain(folder / "net.onnx", TEXTS[:1], 1, "lrp-epsilon", **plain).told
    assert not any("ranked known evidence" in one for one in told)
    net = made.explainer.net
    assert isinstance(net, mr.Network)
    (dense,) = (layer for layer in net.layers if layer.output == net.logits)
    assert told_outdone(net, dense.inputs[0]) == []


def test_methods_that_stand_above_mip_in_are_there() -> None:
    named = {kind: kind.outdone_by for kind in KINDS if issubclass(kind, Outdone)}
    assert {kind.__name__ for kind in named} == {"Attention", "LSTM", "GRU"}
    assert set(named.values()) <= {*mr.methods()}


def test_a_file_of_texts_without_a_tokenizer_is_told_of_it(folder: Path) -> None:
    with pytest.raises(mr.InvalidData, match="explained with their network's tokenizer, option 'tokenizer'"):
        mr.explain(folder / "net.onnx", folder / "texts.txt", progress=False)
