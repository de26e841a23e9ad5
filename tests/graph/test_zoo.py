"""Graphs nobody here drew: those that the onnx wheel carries."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, version_converter

import mipin_ref as mr

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
# VGG19's weights, 574 MB, are left alone.
LIGHT = sorted(path for path in (DATA / "light").glob("light_*.onnx") if "vgg" not in path.stem)
SMALL = [
    path for kind in ("pytorch-converted", "pytorch-operator", "simple") for path in (DATA / kind).glob("*/*.onnx")
]


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_zoo(path: Path) -> None:
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(path, check=False)
    assert caught.value.nodes
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    for operator in ("LRN", "Concat", "GlobalAveragePool", "AveragePool", "Sum"):
        listed = [entry for entry in caught.value.nodes if entry.startswith(f"{operator} ")]
        assert len(listed) == operators[operator], operator


def outcome(model: ModelProto | Path) -> str:
    try:
        mr.load(model)
    except mr.MipinError as error:
        return type(error).__name__
    return "loaded"


def test_exported_operators() -> None:
    """Each reads, or is refused for a reason: no other exception. Most are opset 6, which is too old."""
    outcomes = Counter(outcome(path) for path in SMALL)
    print(dict(outcomes))
    assert outcomes.total() == len(SMALL) > 100
    assert outcomes["loaded"] >= 4
    assert set(outcomes) == {"loaded", "UnsupportedModel", "InvalidData"}


def test_exported_operators_in_a_newer_opset() -> None:
    outcomes: Counter[str] = Counter()
    for path in SMALL:
        model = onnx.load(path)
        if any(opset.version < 9 for opset in model.opset_import if not opset.domain):
            newer = version_converter.convert_version(model, 13)
            newer.ir_version = 8
            outcomes[outcome(newer)] += 1
    print(dict(outcomes))
    assert outcomes["loaded"] >= 50
    assert set(outcomes) == {"loaded", "UnsupportedModel", "InvalidData"}
