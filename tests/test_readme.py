"""What the README shows runs as shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mipin_ref.cli import main

ROOT = Path(__file__).parent.parent


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "models_onnx").symlink_to(ROOT / "models_onnx")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["maps"].shape == (100, 28, 28)
    assert names["pictures"].shape == (100, 28, 28, 3)


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
    first_cells = "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
    named = set(re.findall(r"[A-Z][A-Za-z]+", first_cells))
    operators = {op.split(".")[-1] for op in HANDLERS} - {"TwoClassSigmoid"}
    assert operators <= named
