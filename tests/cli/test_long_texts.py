"""Long texts at the command line: each token goes by itself for the areas under curves, up to a number that is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from scipy.special import softmax

from mipin_ref.cli import main
from tests.graph.sketch import Sketch

WORDS = ["[PAD]", "[UNK]", *(f"w{n}" for n in range(30))]
SHORT, LONG = 70, 140


@pytest.fixture(autouse=True)
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The ids of two texts of SHORT and LONG words, beside a network that classifies the mean of their rows."""
    monkeypatch.chdir(tmp_path)
    sketch = Sketch("T", seed=5)
    sketch.inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "T"])]
    rows = sketch.node("Gather", sketch.normal(len(WORDS), 6), "ids")
    mean = sketch.node("ReduceMean", sketch.node("Tanh", rows), axes=[1], keepdims=0)
    model = sketch.model(sketch.node("MatMul", mean, sketch.const(20 * sketch.rng.standard_normal((6, 2)))))
    Path("words.onnx").write_bytes(model.SerializeToString())
    Path("words.json").write_text(json.dumps(WORDS))
    made = [sketch.rng.integers(2, len(WORDS), count).tolist() for count in (SHORT, LONG)]
    for name, some in (("short.txt", made[:1]), ("long.txt", made[1:])):
        Path(name).write_text("\n".join(" ".join(WORDS[one] for one in text) for text in some))
    return made


def compare(data: str, capsys: pytest.CaptureFixture[str]) -> tuple[float, str]:
    """The area under the deletion curve of gradient × input, and all that is printed."""
    given = ["words.onnx", data, "--vocabulary", "words.json", "--methods", "input-x-gradient", "-o", "page.html"]
    assert main(["compare", *given]) == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("input-x-gradient "))
    return float(line.split()[1]), printed


def area(ids: list[int], steps: int) -> float:
    """The same, token by token or in steps, by onnxruntime, of the contributions on the page."""
    runtime = ort.InferenceSession("words.onnx", providers=["CPUExecutionProvider"])
    spans = re.findall(r'<span [^>]*title="([^"]*)">([^<]*)</span>', Path("page.html").read_text())
    values = [float(value) for value, token in spans][: len(ids)]
    assert [token for _, token in spans][: len(ids)] == [WORDS[one] for one in ids]
    order = np.argsort(-np.array(values), kind="stable")
    (scores,) = runtime.run(None, {"ids": np.array([ids])})
    target, curve, shares = int(scores.argmax()), [], []
    for step in range(steps + 1):
        count = step * len(ids) // steps
        now = np.array([ids])
        now[0, order[:count]] = 0
        curve.append(softmax(runtime.run(None, {"ids": now})[0].astype(np.float64), axis=1)[0, target])
        shares.append(count / len(ids))
    return float(np.trapezoid(curve, shares))


def test_each_token_is_a_step(ids: list[list[int]], capsys: pytest.CaptureFixture[str]) -> None:
    told, printed = compare("short.txt", capsys)
    document = Path("page.html").read_text()
    assert "in the order of the map, token by token; lower is better" in document
    assert f"{SHORT} tokens" in document
    assert f"--steps {SHORT}" in printed
    # What is shown has three digits, so that tokens of equal contributions may change places.
    assert told == pytest.approx(area(ids[0], SHORT), abs=2e-3)


def test_of_very_many_it_is_said(ids: list[list[int]], capsys: pytest.CaptureFixture[str]) -> None:
    told, printed = compare("long.txt", capsys)
    assert "in the order of the map, in 128 steps; lower is better" in Path("page.html").read_text()
    assert "--steps 128" in printed
    assert told == pytest.approx(area(ids[1], 128), abs=2e-3)


def test_an_evaluation_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    for data, told in (("short.txt", "token by token"), ("long.txt", "in 100 steps")):
        given = [data, "--vocabulary", "words.json", "--methods", "gradient"]
        assert main(["evaluate", "deletion", "words.onnx", *given]) == 0
        title = " ".join(capsys.readouterr().out.split())
        assert f"deletion and insertion of 1 samples, {told}: mean area under the probability" in title
        count = SHORT if data == "short.txt" else LONG
        assert f"values of tokens: signed channel sum of the contribution, {count} tokens each;" in title
    assert main(["evaluate", "sensitivity", "words.onnx", *given]) == 0
    assert f"of the contribution, {LONG} tokens each; each divided by" in " ".join(capsys.readouterr().out.split())
