"""`mipin compare` and `mipin evaluate` of files that have no inverse: by the methods of the forward pass alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.panel.fallback import open_any
from tests.cli.test_compare import page

FEATURES = 5
ALONE = ("rise", "occlusion", "kernel-shap")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, FEATURES)).astype(np.float32)
Y = np.where(X[:, 1] > 0, "yes", np.where(X[:, 3] > 0, "maybe", "no"))


@pytest.fixture(scope="module")
def trees() -> RandomForestClassifier:
    return RandomForestClassifier(6, random_state=0).fit(X, Y)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trees: RandomForestClassifier) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(to_onnx(trees, X[:1], options={"zipmap": False}), "trees.onnx")
    np.save("x.npy", X[:6])
    return tmp_path


def looping(shape: tuple[int, ...]) -> onnx.ModelProto:
    """A file that adds up an image's weighted pixels three times over in a Loop, which large ones would end, in whole
    numbers between.
    """
    kinds = TensorProto
    weights = RNG.standard_normal((int(np.prod(shape)), 3)).astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "scores"], ["next"]),
            helper.make_node("ReduceMax", ["sum"], ["largest"], keepdims=0),
            helper.make_node("Less", ["largest", "far"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", kinds.INT64, []),
            helper.make_tensor_value_info("on", kinds.BOOL, []),
            helper.make_tensor_value_info("sum", kinds.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", kinds.BOOL, []),
            helper.make_tensor_value_info("next", kinds.FLOAT, None),
        ],
        [onnx.numpy_helper.from_array(np.array(1e30, np.float32), "far")],
    )
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["whole", "step", "zero"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["again"]),
        helper.make_node("Flatten", ["again"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        helper.make_node("Loop", ["times", "", "scores"], ["out"], body=body),
    ]
    graph = helper.make_graph(
        nodes,
        "looping",
        [helper.make_tensor_value_info("x", kinds.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("out", kinds.FLOAT, ["N", 3])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.array(3, np.int64), "times"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def left_out(text: str) -> list[str]:
    """The methods that a line of the text says were left out."""
    before, behind = "left out, as going back through layers: ", "; this file is run as it is, as it has no inverse"
    line = next(one for one in text.splitlines() if one.startswith(before))
    assert behind in line
    return line.removeprefix(before).split(behind)[0].split(", ")


@pytest.mark.slow
def test_a_page_of_trees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "trees.onnx", "x.npy", "-o", "report.html"]) == 0
    printed = capsys.readouterr().out
    assert set(left_out(printed)) == set(mr.methods()) - set(ALONE)
    document = page()
    heads = [one for one in document.all("th") if one.get("scope") == "col"]
    assert len(heads) == 1 + len(ALONE) + 6  # the rows' and the methods', and of the metrics
    text = Path("report.html").read_text()
    assert "Contribution of each feature to the score of the class" in text
    net = cast(mr.Network, open_any("trees.onnx"))
    scales = [float(str(one["data-largest"])) for one in document.all("button") if "data-scale" in one]
    scores = np.sort(RandomForestClassifier(6, random_state=0).fit(X, Y).predict_proba(X[:6]), axis=1)[:, ::-1]
    order = np.argsort(-net.predict(X[:6])[0], axis=1, kind="stable")
    at = 0
    for row in range(6):
        for name in ALONE:
            for rank in range(3):
                res = mr.attribute(net, X[row : row + 1], int(order[row, rank]), name)
                largest = np.abs(res.contribution).max()
                assert scales[at] == pytest.approx(largest, rel=1e-9), (row, name, rank)
                at += 1
    assert f"{scores[0, 0]:.1%}" in text


@pytest.mark.slow
def test_deletion_of_trees_is_that_of_scikit_learn(
    trees: RandomForestClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "deletion", "trees.onnx", "x.npy", "--json", "--steps", "5", "--methods", "all"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["methods"]) == set(ALONE)
    shares = trees.predict_proba(X[:6])
    targets = shares.argmax(axis=1)
    net = cast(mr.Network, open_any("trees.onnx"))
    for name in ALONE:
        maps = mr.attribute(net, X[:6], targets, name).contribution
        for kind in ("deletion", "insertion"):
            curves = []
            for row in range(6):
                order = np.argsort(-maps[row], kind="stable")
                cut = np.repeat(X[row : row + 1], FEATURES + 1, 0) if kind == "deletion" else np.zeros((6, FEATURES))
                for count in range(FEATURES + 1):
                    cut[count, order[:count]] = 0 if kind == "deletion" else X[row, order[:count]]
                curves.append(trees.predict_proba(cut.astype(np.float32))[:, targets[row]])
            # The file adds up in single precision what six trees say.
            np.testing.assert_allclose(told["methods"][name][kind]["curve"], np.mean(curves, axis=0), atol=6 * 1.2e-7)
            assert told["methods"][name][kind]["fill"] == "0"


@pytest.mark.slow
def test_sensitivity_of_trees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "sensitivity", "trees.onnx", "x.npy", "--json", "--signed", "--methods", "occlusion"]) == 0
    told = json.loads(capsys.readouterr().out)["methods"]["occlusion"]
    net = cast(mr.Network, open_any("trees.onnx"))
    order = np.argsort(-net.predict(X[:6])[0], axis=1, kind="stable")
    a, b = (mr.attribute(net, X[:6], order[:, rank], "occlusion").contribution for rank in range(2))
    # A row that lies in the same leaves as zeros do is zero everywhere, and stays so.
    a, b = (one / np.maximum(np.abs(one).max(axis=1, keepdims=True), 1e-300) for one in (a, b))
    np.testing.assert_allclose(told["distances"], np.linalg.norm(a - b, axis=1), rtol=1e-12)


@pytest.mark.slow
def test_methods_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--methods", "gradient,kernel-shap"]
    assert main(["compare", "trees.onnx", "x.npy", "-o", "r.html", *named]) == 0
    assert left_out(capsys.readouterr().out) == ["gradient"]
    assert main(["evaluate", "deletion", "trees.onnx", "x.npy", *named]) == 0
    assert "left out, as going back through layers: gradient; this file" in " ".join(capsys.readouterr().out.split())
    for command in (
        ["compare", "trees.onnx", "x.npy", "-o", "no.html"],
        ["evaluate", "deletion", "trees.onnx", "x.npy"],
    ):
        assert main([*command, "--methods", "gradient,mip-in"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("mipin: gradient, mip-in cannot be run, as it has no inverse")
        assert "rise, occlusion, kernel-shap need the forward pass alone" in error
        assert error.count("\n") == 1
    assert not Path("no.out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "apc", "trees.onnx", "x.npy"], "apc needs the layers of the network"),
        (["evaluate", "randomization", "trees.onnx", "x.npy"], "randomization needs the layers of the network"),
        (["evaluate", "grid", "trees.onnx", "x.npy", "--labels", "y.npy"], "grid measures maps of images"),
        (["evaluate", "box", "trees.onnx", "x.npy", "--boxes", "y.npy"], "box measures maps of images"),
        (["evaluate", "deletion", "trees.onnx", "x.npy", "--at", "X"], "--at is for mip-in"),
        (["compare", "trees.onnx", "x.npy", "-o", "r.html", "--at", "scores"], "only the input 'X' can be"),
        (["compare", "trees.onnx", "x.npy", "-o", "r.html", "--methods", "shap"], "there is no method 'shap'"),
    ],
)
def test_what_needs_more_is_refused_by_name(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("y.npy", np.zeros(6, np.int64))
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.slow
def test_images_of_a_loop_of_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(looping((1, 12, 12)), "loop.onnx")
    np.save("images.npy", RNG.random((3, 1, 12, 12)).astype(np.float32))
    few = ["--option", "rise.samples=40", "--option", "kernel-shap.samples=80"]
    assert main(["compare", "loop.onnx", "images.npy", "-o", "report.html", *few]) == 0
    assert set(left_out(capsys.readouterr().out)) == set(mr.methods()) - set(ALONE)
    assert "Contribution of each pixel" in Path("report.html").read_text()
    few = ["--methods", "rise", "--option", "rise.samples=40"]
    assert main(["evaluate", "deletion", "loop.onnx", "images.npy", *few, "--score", "logit", "--steps", "4"]) == 0
    np.save("boxes.npy", np.tile([2, 2, 6, 6], (3, 1)))
    assert main(["evaluate", "box", "loop.onnx", "images.npy", *few, "--boxes", "boxes.npy"]) == 0
    assert "rise" in capsys.readouterr().out
