"""What the library says is read by those who call it and by those who type commands: it names options of neither."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.graph.sketch import Sketch

ROOT = Path(mr.__file__).parent
ERRORS = {"InvalidData", "UnsupportedModel", "CorruptFile", "BackendUnavailable", "ClusterError", "Refused"}
KEYWORD = re.compile(r"\b[a-z][a-z_]*=(?!=)")
FLAG = re.compile(r"(?<![\w-])--[a-z]")
ASKED = {
    # A value is told in the form that --option takes, too.
    "alpha=",
    "beta=",
    # Of Dask's own Client, which only Python passes.
    "asynchronous=",
}


def messages() -> Iterator[tuple[str, str]]:
    """(file, text) of every literal part of an error."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                        yield path.relative_to(ROOT).as_posix(), inner.value


def test_no_keyword_and_no_flag_where_the_other_side_reads_it() -> None:
    found = list(messages())
    assert len(found) > 200
    wrong = [(file, text) for file, text in found for word in KEYWORD.findall(text) if word not in ASKED]
    # `samples=50` is what --option itself looks like.
    wrong = [(file, text) for file, text in wrong if not (file.startswith("cli/") and "--option" in text)]
    wrong += [(file, text) for file, text in found if FLAG.search(text) and not file.startswith("cli/")]
    assert not wrong


def test_a_choice_of_outputs_is_told_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sketch = Sketch(4)
    onnx.save(sketch.model(*(sketch.dense("x", 4, 2) for _ in range(2))), str(tmp_path / "two.onnx"))
    with pytest.raises(mr.InvalidData, match="name the one to explain, option 'output'") as caught:
        mr.load(tmp_path / "two.onnx")
    assert main(["inspect", str(tmp_path / "two.onnx")]) == 2
    assert capsys.readouterr().err == f"mipin: {caught.value}\n"


def test_what_to_say_of_inputs_is_told_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options that the message names are those of the command line, with dashes."""
    sketch = Sketch(4, "H")
    sketch.inputs.append(onnx.helper.make_tensor_value_info("rate", onnx.TensorProto.FLOAT, []))
    onnx.save(sketch.model(sketch.node("Mul", "x", "rate")), str(tmp_path / "open.onnx"))
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(tmp_path / "open.onnx")
    assert main(["inspect", str(tmp_path / "open.onnx")]) == 2
    assert capsys.readouterr().err == f"mipin: {caught.value}, as --input-shape x:1x4x100\n"
    named = re.findall(r"option '(\w+)'", str(caught.value))
    assert named == ["given", "input", "input_shape"]
    with pytest.raises(SystemExit):
        main(["inspect", "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} " in shown for name in named)
