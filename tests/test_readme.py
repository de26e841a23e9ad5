"""What the README shows runs as shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mipin_ref.cli import main

ROOT = Path(__file__).parent.parent


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "models_onnx").symlink_to(ROOT / "models_onnx")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert np.shape(names["maps"]) == (100, 28, 28)
    assert np.shape(names["pictures"]) == (100, 28, 28, 3)


def test_the_demo_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "positive APC" in printed
    for path in (tmp_path / "out").iterdir():
        assert str(path) in printed
    assert (tmp_path / "out" / "page_000.png").is_file()


def test_every_documented_operator_has_a_handler() -> None:
    from mipin_ref.graph.ops import HANDLERS

    table = (ROOT / "README.md").read_text().split("## Which files load")[1]
    named = set(
        re.findall(r"[A-Z][A-Za-z]+", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert named - {"Pad", "Shape", "Cast", "Softmax"} >= {"Conv", "Gemm", "MaxPool", "Relu"}
    operators = {op.split(".")[-1] for op in HANDLERS} - {"TwoClassSigmoid", "Size", "Sum"}
    assert operators <= named
