"""`mipin compare` of texts: tokens coloured by every method that suits the network, told apart from torch's own."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from mipin_ref.cli import main
from tests.explain.reader import (
    IDS,
    TOKENS,
    WORDS,
    seeded,
    texts_folder,
    tokenizer_file,
    vocabulary_files,
)
from tests.linked import linked
from tests.oracles.rollout import gradient_rollout, rollout

WHITE = {"mip-in", "gradient", "input-x-gradient", "integrated-gradients", "lrp-epsilon"}
WHITE |= {"attention-rollout", "gradient-attention-rollout"}
SIZES = [f"--input-shape={name}:1x9" for name in ("input_ids", "attention_mask", "token_type_ids")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    texts_folder(folder)
    ids, mask = np.zeros((3, 9), np.int64), np.zeros((3, 9), np.int64)
    for row, one in enumerate(IDS):
        ids[row, : len(one)], mask[row, : len(one)] = one, 1
    np.savez(folder / "ids.npz", input_ids=ids, attention_mask=mask, token_type_ids=0 * ids)
    np.savez(folder / "hidden.npz", input_ids=ids, attention_mask=mask * [[1], [0], [1]], token_type_ids=0 * ids)
    return folder


@pytest.fixture(autouse=True)
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return linked(made, tmp_path, monkeypatch)


def compare(data: str, *options: str) -> int:
    return main(["compare", "net.onnx", data, "-o", "report.html", *options])


def drawn(document: str) -> list[list[tuple[str, float]]]:
    """Each line of tokens on the page, with what pointing at them tells."""
    lines = re.findall(r'<p class="tokens" dir="auto">(.*?)</p>', document, re.DOTALL)
    spans = [re.findall(r'title="([^"]*)">([^<]*)</span>', line) for line in lines]
    return [[(token, float(value)) for value, token in line] for line in spans]


def expected(row: int, target: int) -> dict[str, np.ndarray]:
    """Contributions of the tokens of one text, alone and without padding, by torch."""
    model, ids = seeded(), torch.tensor([IDS[row]])
    words = model.words(ids).detach().requires_grad_()
    logits, weights = model.mixed(words, torch.ones_like(ids), torch.zeros_like(ids))
    gradient, *slopes = torch.autograd.grad(logits[0, target], [words, *weights])
    told = [np.asarray(one[0].detach(), np.float64) for one in weights]
    steep = [np.asarray(one[0], np.float64) for one in slopes]
    of_cls = gradient_rollout(told, steep, [True, True])[0]
    of_cls[0] = 0
    return {
        "gradient": (gradient * words).sum(-1)[0].detach().numpy(),
        "input-x-gradient": (gradient * words).sum(-1)[0].detach().numpy(),
        "attention-rollout": rollout(told, [True, True])[0],
        "gradient-attention-rollout": of_cls,
    }


def curve(row: int, target: int, scores: np.ndarray, *, insert: bool, fill: int = 0) -> float:
    """The area under the target's probability as tokens of one text become `fill` one by one, or come back."""
    model, ids = seeded(), IDS[row]
    order = np.argsort(-scores, kind="stable")
    found = []
    for count in range(len(ids) + 1):
        now = torch.tensor([[fill] * len(ids) if insert else ids])
        for place in order[:count]:
            now[0, place] = ids[place] if insert else fill
        with torch.no_grad():
            found.append(float(model(now, torch.ones_like(now), torch.zeros_like(now)).softmax(-1)[0, target]))
    return float(np.trapezoid(found) / len(ids))


def test_a_line_a_method_for_each_class_of_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("texts.txt", "--tokenizer", "tokenizer.json", "--option", "lrp-epsilon.attention=attn-lrp") == 0
    printed = capsys.readouterr().out
    assert "texts.txt: 3 texts of up to 9 tokens" in printed
    table = {words[0]: words[1:] for words in map(str.split, printed.splitlines()) if len(words) == 6}
    assert {*table} >= WHITE
    assert not {"grad-cam", "smoothgrad", "score-cam"} & {*table, *re.findall(r"(\S+) fails", printed)}
    document = Path("report.html").read_text()
    methods = [name for name in table if name != "method"]
    lines = drawn(document)
    assert len(lines) == 3 * 3 * len(methods)
    deletion: dict[str, list[float]] = {}
    insertion: dict[str, list[float]] = {}
    for row, tokens in enumerate(TOKENS):
        with torch.no_grad():
            ids = torch.tensor([IDS[row]])
            order = seeded()(ids, torch.ones_like(ids), torch.zeros_like(ids))[0].argsort(descending=True).tolist()
        for rank, target in enumerate(order):
            wanted = expected(row, target)
            first = (row * 3 + rank) * len(methods)
            for name, line in zip(methods, lines[first : first + len(methods)], strict=True):
                assert [token for token, _ in line] == tokens
                if name in wanted:
                    # Three digits are printed.
                    values = np.array([value for _, value in line])
                    np.testing.assert_allclose(values, wanted[name], rtol=6e-3, atol=1e-3 * np.abs(wanted[name]).max())
                    if rank == 0:
                        for kept, insert in ((deletion, False), (insertion, True)):
                            kept.setdefault(name, []).append(curve(row, target, wanted[name], insert=insert))
    for name in deletion:
        assert float(table[name][0]) == pytest.approx(np.mean(deletion[name]), abs=6e-5), name
        assert float(table[name][1]) == pytest.approx(np.mean(insertion[name]), abs=6e-5), name
    assert "replaced by [PAD] (id 0)" in document
    assert "[PAD]" not in "".join(token for line in lines for token, _ in line)
    following = printed.splitlines()[-1]
    assert "mipin evaluate deletion net.onnx texts.txt --tokenizer tokenizer.json" in following
    assert "--at" not in following


def test_evaluate_measures_the_same_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    """All tokens of a text, as many steps as the longest has, and what fills up shorter texts not counted."""
    asked = ["--tokenizer", "tokenizer.json", "--methods", "gradient,attention-rollout"]
    assert main(["evaluate", "deletion", "net.onnx", "texts.txt", *asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"]["fill"] == {"deletion": 0.0, "insertion": 0.0}
    for row, ids in enumerate(IDS):
        with torch.no_grad():
            whole = torch.tensor([ids])
            target = int(seeded()(whole, torch.ones_like(whole), torch.zeros_like(whole)).argmax())
        for name in ("gradient", "attention-rollout"):
            scores = expected(row, target)[name]
            for kind in ("deletion", "insertion"):
                wanted = curve(row, target, scores, insert=kind == "insertion")
                assert told["methods"][name][kind]["auc"][row] == pytest.approx(wanted, rel=1e-4), (name, kind)
    assert main(["evaluate", "sensitivity", "net.onnx", "texts.txt", *asked]) == 0
    printed = capsys.readouterr().out
    assert "texts.txt: 3 texts of up to 9 tokens" in printed
    assert "mipin compare net.onnx texts.txt --tokenizer tokenizer.json" in printed


def test_the_id_that_is_asked_for_takes_the_place_of_tokens(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """0 as well, where another id fills up shorter texts."""
    made = json.loads((folder / "tokenizer.json").read_text())
    made["padding"] |= {"pad_id": 13, "pad_token": "."}
    (folder / "dotted.json").write_text(json.dumps(made))
    for asked, fills in (([], (13, 13)), (["--deletion-fill", "0"], (0, 13)), (["--insertion-fill", "0"], (13, 0))):
        given = ["net.onnx", "texts.txt", "--tokenizer", "dotted.json", "--methods", "gradient", *asked]
        assert main(["evaluate", "deletion", *given, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["settings"]["fill"] == dict(zip(("deletion", "insertion"), map(float, fills), strict=True))
        for row, ids in enumerate(IDS):
            with torch.no_grad():
                whole = torch.tensor([ids])
                target = int(seeded()(whole, torch.ones_like(whole), torch.zeros_like(whole)).argmax())
            scores = expected(row, target)["gradient"]
            for kind, fill in zip(("deletion", "insertion"), fills, strict=True):
                wanted = curve(row, target, scores, insert=kind == "insertion", fill=fill)
                assert told["methods"]["gradient"][kind]["auc"][row] == pytest.approx(wanted, rel=1e-4), (asked, kind)
    given = ["net.onnx", "texts.txt", "--tokenizer", "tokenizer.json", "--methods", "gradient"]
    assert main(["evaluate", "deletion", *given, "--insertion-fill", "blur"]) == 2
    refused = "mipin: --insertion-fill blur is for images, and texts.txt holds none: give an id\n"
    assert capsys.readouterr().err == refused


def test_what_takes_the_place_of_tokens_is_an_id_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["net.onnx", "texts.txt", "--tokenizer", "tokenizer.json", "--methods", "gradient,occlusion"]
    assert main(["evaluate", "deletion", *given, "--deletion-fill", "13", "--insertion-fill", "9"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "deletion fill . (id 13), insertion fill bad (id 9);" in told
    assert (
        main(["evaluate", "deletion", "net.onnx", "ids.npz", *SIZES, "--input", "input_ids", "--deletion-fill=3"]) == 0
    )
    assert "deletion fill id 3, insertion fill id 0;" in " ".join(capsys.readouterr().out.split())
    for wrong, shown in (("-1", "-1.0"), (str(len(WORDS)), f"{len(WORDS)}.0"), ("1.5", "1.5")):
        for option in ("deletion", "insertion"):
            assert main(["evaluate", "deletion", *given, f"--{option}-fill={wrong}"]) == 2
            refused = f"mipin: {option}: fill must be an id of the table, from 0 to 13, not {shown}\n"
            assert capsys.readouterr().err == refused
        assert compare(*given[1:], "--option", f"occlusion.baseline={wrong}") == 0
        assert f"occlusion fails: baseline must be an id of the table, from 0 to 13, not {wrong}\n" in (
            capsys.readouterr().out
        )
    assert main(["evaluate", "deletion", *given, "--deletion-fill", "nan"]) == 2
    assert "fill must be real and finite" in capsys.readouterr().err


def test_what_covers_tokens_stands_beside_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--tokenizer", "tokenizer.json", "--methods", "occlusion,gradient", "--option", "occlusion.window=1"]
    assert compare("texts.txt", *asked) == 0
    assert "fails" not in capsys.readouterr().out
    lines = drawn(Path("report.html").read_text())
    model = seeded()
    with torch.no_grad():
        for row, ids in enumerate(IDS):
            some = torch.tensor(
                [ids, *([0 if place == one else word for place, word in enumerate(ids)] for one in range(len(ids)))]
            )
            logits = model(some, torch.ones_like(some), torch.zeros_like(some)).numpy()
            target = int(logits[0].argmax())
            values = [value for _, value in lines[row * 6]]
            np.testing.assert_allclose(values, logits[0, target] - logits[1:, target], rtol=6e-3, atol=1e-5)


def test_ids_have_names_and_no_preprocessing(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    words = str(vocabulary_files(folder)["vocab.txt"])
    for more in ([], ["--vocabulary", words]):
        assert compare("ids.npz", *SIZES, "--input", "input_ids", "--methods", "gradient", *more) == 0
        printed = capsys.readouterr().out
        assert "ids.npz: ids as they are stored, 9 a text\n" in printed
        assert "divided" not in printed
        lines = drawn(Path("report.html").read_text())
        shown = ["[CLS]", "the", "film", "was", "good", "13", "[SEP]"] if more else [str(one) for one in IDS[0]]
        assert [token for token, _ in lines[0]] == shown


def test_methods_that_fail_for_one_reason_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    methods = "gradient,deconvnet,patternnet,guided-backprop,deeplift,pattern-attribution"
    assert compare("texts.txt", "--tokenizer", "tokenizer.json", "--methods", methods) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if re.search(r" fails?: ", line)]
    told = [line.split(" fail: ") for line in printed]
    assert [names for names, _ in told] == ["deconvnet, guided-backprop, deeplift", "patternnet, pattern-attribution"]
    assert not any(" fails: " in line for line in printed)
    assert told[0][1] == "no rule for layer '/norm/LayerNormalization' (Norm)"
    items = re.findall(r"<li><b>(.*?)</b>: (.*?)</li>", Path("report.html").read_text())
    assert [[names, html.unescape(reason)] for names, reason in items] == told


@pytest.mark.parametrize("at", ["input", "/Add_1_output_0", "/words/Gather_output_0"])
def test_any_tensor_of_the_tokens_may_be_explained(at: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("texts.txt", "--tokenizer", "tokenizer.json", "--at", at, "--methods", "gradient,occlusion") == 0
    printed = capsys.readouterr().out
    assert ("left out, as going back through layers: gradient" in printed) == (at == "input")
    assert len(drawn(Path("report.html").read_text())) == (9 if at == "input" else 18)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("texts.txt", [], "texts.txt: texts are explained with their network's tokenizer, option 'tokenizer'"),
        (
            "texts.txt",
            ["--tokenizer", "tokenizer.json", "--at", "/Tanh_output_0"],
            r"compare shows the tokens of texts, and tensor '/Tanh_output_0' of shape \[8\] is not of the 9 tokens "
            "of a sample: name one that is with --at, as '/words/Gather_output_0' is",
        ),
        (
            "long.txt",
            ["--tokenizer", "tokenizer.json"],
            "text 0 has 15 tokens, and the network's table of positions 12 rows",
        ),
        ("texts.txt", ["--tokenizer", "large.json"], "the tokenizer has 15 tokens and the table .* 14 rows"),
        ("far.npz", [*SIZES, "--input", "input_ids"], r"input 'input_ids' holds id 14, and table .* has rows 0 to 13"),
        ("hidden.npz", [*SIZES, "--input", "input_ids"], "text 1: its mask 'attention_mask' hides all of its tokens"),
        (
            "was it good",
            ["--tokenizer", "tokenizer.json"],
            "no file 'was it good'; texts are read from a file, a line each",
        ),
        ("gap.txt", ["--tokenizer", "tokenizer.json"], "gap.txt, line 2: it is empty, and there is nothing to explain"),
    ],
)
def test_errors_are_one_line(
    data: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "long.txt").write_text("the film " * 6 + "was\n")
    (folder / "gap.txt").write_text("the film\n\nwas good\n")
    tokenizer_file(folder / "large.json", [*WORDS, "more"])
    given = dict(np.load("ids.npz"))
    np.savez("far.npz", **given | {"input_ids": given["input_ids"] + 1})
    assert compare(data, *options) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(rf"mipin: .*{message}.*\n", printed.err), printed.err
    assert not Path("report.html").exists()
