"""Files that end or hang the process that runs them, or ask for all there is: one sentence each."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.graph import measure, measuring
from tests.graph.sketch import Sketch


def refused(model: ModelProto, **options: Any) -> str:
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(model, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "1000003" not in message.replace(",", "")
    return message


def behind(sketch: Sketch, source: str, features: int) -> ModelProto:
    return sketch.model(sketch.dense(source, features, 3), check=False)


def test_a_file_that_ends_the_process() -> None:
    """onnxruntime 1.32 dies of a Split one of whose outputs has no name."""
    sketch = Sketch(6)
    gap = sketch.node("CumSum", "x", sketch.const(np.array(1)), out="gap")
    sketch.nodes.append(helper.make_node("Split", [gap, sketch.ints(3, 3)], ["", "half"], name="split", axis=1))
    assert "the_gap" in refused(behind(sketch, "half", 3))


def test_the_child_s_death_by_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was that ended it, and at whatever point: nothing of it is believed."""
    sketch = Sketch(6)
    model = behind(sketch, sketch.node("CumSum", "x", sketch.const(np.array(1)), out="gap"), 6)
    assert mr.load(model).sources == {"gap": (6,)}
    plain = subprocess.run

    def killed(command: list[str], **options: Any) -> Any:
        return plain([command[0], "-c", "import os; os.kill(os.getpid(), 11)"], **options)

    monkeypatch.setattr(subprocess, "run", killed)
    assert "the_gap" in refused(model)


def endless() -> ModelProto:
    """A loop whose condition is always true, and which has no number of turns."""
    state = [helper.make_tensor_value_info(f"s{i}", TensorProto.FLOAT, ["N", 4]) for i in "ab"]
    flags = [helper.make_tensor_value_info(f"c{i}", TensorProto.BOOL, []) for i in "ab"]
    turns = helper.make_graph(
        [helper.make_node("Identity", ["ca"], ["cb"]), helper.make_node("Relu", ["sa"], ["sb"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), flags[0], state[0]],
        [flags[1], state[1]],
    )
    sketch = Sketch(4)
    looped = sketch.node("Loop", "", sketch.const(np.array(True)), "x", body=turns, out="turns")
    return behind(sketch, looped, 4)


def test_a_loop_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 3.0)
    started = time.monotonic()
    assert "the_turns" in refused(endless())
    assert time.monotonic() - started < 60


def test_a_tensor_too_large_to_run() -> None:
    """Made by nodes without an inverse, whose sizes nobody foresees: the child has no room for it."""
    sketch = Sketch(4)
    size = sketch.node("Mul", sketch.node("Shape", sketch.node("NonZero", "x")), sketch.ints(1 << 20, 1 << 16))
    huge = sketch.node("Expand", sketch.node("Reshape", sketch.node("ReduceSum", "x"), sketch.ints(1, 1)), size)
    most = sketch.node("ReduceMax", huge, keepdims=0)
    gap = sketch.node("Add", "x", most, out="gap")
    message = refused(behind(sketch, gap, 4))
    assert "NonZero" in message or "Expand" in message


@pytest.mark.parametrize("batch", [10**6, 10**9])
def test_a_batch_too_large_to_run(batch: int) -> None:
    """Fixed by the file: where it can be run on others it is, and nobody's memory is taken for the one it names."""

    def file(rows: int) -> ModelProto:
        sketch = Sketch(3, 64, 64, batch=batch)
        flat = sketch.node("Reshape", "x", sketch.ints(rows, 12288))
        gap = sketch.node("CumSum", flat, sketch.const(np.array(1)), out="gap")
        return sketch.model(sketch.node("MatMul", gap, sketch.normal(12288, 3)), check=False)

    assert mr.load(file(-1)).sources == {"gap": (12288,)}
    assert "the_gap" in refused(file(batch))


def test_the_child_has_so_much_memory_and_no_more(tmp_path: Path) -> None:
    """Asked of the program itself: what is beyond its room it cannot have, whatever the machine has."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import measuring, numpy\n"
        "measuring._limit(1 << 28)\n"
        "numpy.empty(1 << 27, numpy.uint8)\n"
        "try: numpy.empty(1 << 30, numpy.uint8)\n"
        "except MemoryError: print('refused')"
    )
    folder = Path(measuring.__file__).parent
    made = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, cwd=tmp_path)
    assert made.stdout == "refused\n", made.stderr


def test_a_file_that_onnxruntime_cannot_run() -> None:
    sketch = Sketch(4)
    gap = sketch.node("Mystery", "x", domain="com.example", out="gap")
    assert "com.example.Mystery 'the_gap'" in refused(behind(sketch, gap, 4))


def test_nothing_invertible_behind_the_input() -> None:
    sketch = Sketch(4)
    out = sketch.node("CumSum", sketch.dense("x", 4, 3), sketch.const(np.array(1)), out="gap")
    assert "the_gap" in refused(sketch.model(out))


def test_nothing_to_fit_behind_a_gap() -> None:
    sketch = Sketch(4)
    gap = sketch.node("CumSum", sketch.dense("x", 4, 3), sketch.const(np.array(1)), out="gap")
    net = mr.load(sketch.model(sketch.node("Relu", gap)))
    for at in ("auto", "gap"):
        with pytest.raises(mr.MipinError) as caught:
            mr.fit(net, np.ones((4, 4), np.float32), target=0, at=at)
        assert "\n" not in str(caught.value)
