"""More than a few classes from the command line: one line tells from where down they share, and how well they agree."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.inverse.common import auto
from tests.explain.test_common import CLASSES, RIDGE, deep

SAID = r"from \S+ down one inverse for all targets, fitted on mean signals of 8 classes; it agrees with those of "
SAID += r"classes \d+, \d+ to (0\.999\d+|1\.00000)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with net.onnx of twelve classes and x.npy."""
    model, x = deep(3)
    onnx.save(model, str(tmp_path / "net.onnx"))
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_like(pattern: str, printed: str) -> int:
    return sum(bool(re.fullmatch(pattern, line)) for line in printed.splitlines())


@pytest.mark.slow
def test_explain_and_compare_share_by_themselves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All classes of a few samples, down to the input; and each class by itself where the user says so."""
    told = ["net.onnx", "x.npy", "--at", "input", "--calibration", "x.npy", "--dtype", "float64"]
    every = [*told, "--limit", "4", "--top", str(CLASSES), "--option", f"ridge={RIDGE}", "-o", "out", "--no-cache"]
    assert main(["explain", *every]) == 0
    assert lines_like(f"the inverses of 12 classes: fitted; {SAID}", capsys.readouterr().out) == 1
    assert main(["explain", *every, "--option", "common=null"]) == 0
    assert lines_like("the inverses of 12 classes: fitted", capsys.readouterr().out) == 1
    few = [*told, "--methods", "mip-in", "--option", f"mip-in.ridge={RIDGE}", "-o", "page.html"]
    assert main(["compare", *few]) == 0
    assert lines_like(rf"the inverses of \d+ classes: fitted; {SAID}", capsys.readouterr().out) == 1


@pytest.mark.slow
def test_export_tells_of_what_the_file_shares(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--target", "all", "--common", "auto", "--ridge", str(RIDGE), "-o", "all.mipin"]
    assert main(["fit", "net.onnx", "x.npy", *asked]) == 0
    assert lines_like(SAID, capsys.readouterr().out) == 1
    assert main(["export", "net.onnx", "--inverse", "all.mipin", "-o", "explainer.onnx"]) == 0
    assert lines_like(f"12 classes: {SAID}", capsys.readouterr().out) == 1


def test_where_classes_do_not_agree_a_line_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what each is fitted alone lies in one file all the same."""
    monkeypatch.setattr(auto, "TRIES", 1)
    asked = ["--target", "0,1,2", "--common", "auto", "--ridge", str(RIDGE), "-o", "all.mipin"]
    assert main(["fit", "net.onnx", "x.npy", *asked]) == 0
    told = capsys.readouterr()
    said = r"warning: classes \d+ and \d+ agree at no tensor to 0.999: of 1 looked at 'relu\d' comes nearest, to about "
    said += r"0\.\d{4}; option 'common' takes it by its name, and each of 3 targets is fitted alone"
    assert lines_like(said, told.err) == 1
    assert "3 classes: all.mipin" in told.out
    net, x = mr.load("net.onnx"), np.load("x.npy")
    alone = mr.fit(net, x, [0, 1, 2], ridge=RIDGE)
    for target, inverse in mr.load_inverse("all.mipin", net).items():
        wanted = alone[target].attribute(x[:4]).attribution
        assert inverse.report.common is None
        np.testing.assert_allclose(inverse.attribute(x[:4]).attribution, wanted, rtol=0, atol=1e-10)
