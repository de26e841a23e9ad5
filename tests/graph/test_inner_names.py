"""Tensors between the layers of one node, which the file has no name for: nobody is shown one, or may name one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.graph.explained import cuts, deepest
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.inverse.report import Common, Report
from tests.graph.sketch import Sketch
from tests.networks.exported import as_file
from tests.networks.transformers import vision


def of_class_token(path: Path) -> Path:
    """A vision transformer: its class token, a constant, is joined to the patches, and positions are added behind."""
    torch.manual_seed(7)
    model = vision(first=True)
    x = torch.randn(4, *model.shape)
    path.write_bytes(as_file(model._replace(module=model.module.eval()), "torchscript", 17, x))
    return path


def of_means() -> onnx.ModelProto:
    """A mean over axes in front of the channels, which is three layers."""
    sketch = Sketch(4, 5, 3)
    mean = sketch.node("ReduceMean", sketch.node("Relu", "x"), axes=[1, 2], keepdims=0, out="mean")
    return sketch.model(sketch.dense(mean, 3, 2))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_class_token(tmp_path_factory.mktemp("inner") / "vit.onnx")


def names_of(model: onnx.ModelProto) -> set[str]:
    return {name for node in model.graph.node for name in node.output} | {one.name for one in model.graph.input}


def test_every_tensor_that_is_shown_is_of_the_file_and_can_be_named(file: Path) -> None:
    for model in (onnx.load(file), of_means()):
        net, known = mr.load(model), names_of(model)
        assert net.inner
        assert not net.inner & known
        assert {*net.shapes} - net.inner <= known
        head, rows = net.cells()
        shown = [row[head.index("output tensor")] for row in rows]
        assert [one for one in shown if one.startswith("within ")] != []
        for name in shown:
            assert name.removeprefix("within ") in known
            assert name.startswith("within ") or net.tensor(name) == name
        assert not net.inner & {*feature_maps(net), *cuts(net), deepest(net)}


def test_an_inner_one_is_refused_with_its_neighbours(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(file)
    net, known = mr.load(model), names_of(model)
    framed = next(name for name in net.shapes if name.endswith(":framed"))
    joined = net.within(framed)
    assert next(node.op_type for node in model.graph.node if joined in node.output) == "Concat"
    layer = next(layer for layer in net.layers if layer.output == framed)
    before, behind = layer.input, net.consumers[framed][0][0].output
    assert {before, behind} <= known
    with pytest.raises(mr.InvalidData, match="is none of the file's") as caught:
        net.told_tensor(framed)
    assert str(caught.value).endswith(f"explain {before!r} or {behind!r}")
    # The file's own is gone, as what is added to zeros went into a neighbour.
    with pytest.raises(mr.InvalidData, match="was folded") as caught:
        net.tensor(joined)
    assert str(caught.value).endswith(f"explain one before or after it, {before!r} or {behind!r}")
    with pytest.raises(mr.InvalidData) as caught:
        net.tensor(f"{framed}s")
    assert ":framed'" not in str(caught.value).partition("did you mean")[2]
    assert main(["inspect", str(file)]) == 0
    assert framed not in capsys.readouterr().out
    assert net.told_tensor(behind) == behind


def test_the_command_line_and_explain_take_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the table of a fit, which may have to reconstruct one, tells whose it is."""
    monkeypatch.chdir(tmp_path)
    onnx.save(of_means(), "net.onnx")
    x = np.random.default_rng(1).standard_normal((30, 4, 5, 3)).astype(np.float32)
    np.save("x.npy", x)
    (inner,) = {row.tensor for row in mr.fit("net.onnx", x, 0).report} & mr.load("net.onnx").inner
    assert main(["fit", "net.onnx", "x.npy", "--target", "0", "-o", "net.mipin"]) == 0
    printed = capsys.readouterr().out
    assert "within mean" in printed
    assert inner not in printed
    refused = f"tensor {inner!r} is none of the file's: the node that makes 'mean' is several layers"
    for asked in (["explain"], ["compare", "--methods", "mip-in"], ["evaluate", "sensitivity"]):
        given = [*asked, "net.onnx", "x.npy", "--at", inner]
        assert main([*given, *([] if asked[0] == "evaluate" else ["-o", "out"])]) == 2
        assert refused in capsys.readouterr().err
    with pytest.raises(mr.InvalidData, match="is none of the file's"):
        mr.explain("net.onnx", x, at=inner)


def test_the_report_of_a_fit_names_none(tmp_path: Path) -> None:
    """Nor what it says of a ridge or of what is common; in memory, of a saved one, and with another network."""
    x = np.random.default_rng(1).standard_normal((30, 4, 5, 3)).astype(np.float32)
    made = mr.fit(mr.load(of_means()), x, 0)
    (inner,) = {row.tensor for row in made.report} & made.net.inner
    rows = tuple(replace(row, r2=1e-9) if row.tensor == inner else row for row in made.report)
    told = Report(rows, Common(inner, 7))
    made.save(tmp_path / "net.mipin")
    for inv in (made, mr.load_inverse(tmp_path / "net.mipin", made.net), replace(made, report=told)):
        assert inner not in str(inv.report)
        assert "within mean" in str(inv.report)
        assert inv.report[inner].tensor == inner
    assert "R² of within mean is 1e-09" in str(replace(made, report=told).report)
    assert "from within mean down one inverse" in str(replace(made, report=told).report)


def test_export_of_what_is_common_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(of_means(), "net.onnx")
    made = mr.fit(mr.load("net.onnx"), np.random.default_rng(1).standard_normal((30, 4, 5, 3)).astype(np.float32), 0)
    (inner,) = {row.tensor for row in made.report} & made.net.inner
    replace(made, report=replace(made.report, common=Common(inner, 7))).save("net.mipin")
    assert main(["export", "net.onnx", "--inverse", "net.mipin", "-o", "out.onnx"]) == 0
    assert "1 classes: from within mean down one inverse" in capsys.readouterr().out


def test_rollouts_are_of_a_tensor_of_the_file(file: Path) -> None:
    """The tokens, the class token among them, are first held together where it is joined to them."""
    net, known = mr.load(file), names_of(onnx.load(file))
    x = np.random.default_rng(0).standard_normal((2, *net.input_shape)).astype(np.float32)
    for method in ("attention-rollout", "gradient-attention-rollout"):
        assert mr.attribute(net, x, 0, method).tensor in known
        with pytest.raises(mr.InvalidData, match="leave option 'at' out") as caught:
            mr.attribute(net, x, 0, method, at=net.logits)
        assert ":" not in str(caught.value).rpartition("which is")[2]
