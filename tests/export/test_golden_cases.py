"""An explainer of every golden case tells what this package tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from tests.export.golden import fitted
from tests.export.running import EXACT, assert_exact, assert_like, expected, outputs
from tests.golden.arrays import NAMES

LOOSE = {"golden_ill_conditioned": 1e-2}
"""Made so that single precision loses five digits of it."""


@pytest.mark.parametrize("name", NAMES)
def test_an_explainer_tells_the_same(name: str, tmp_path: Path) -> None:
    inverse, x = fitted(name)
    path = tmp_path / "explainer.onnx"
    mr.export(inverse, path, check=x)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {one.domain for one in model.opset_import} == {""}
    feed = {model.graph.input[0].name: x}
    wanted = expected(inverse, x)
    assert_exact(outputs(path, feed), wanted, LOOSE.get(name, EXACT))
    if name not in LOOSE:
        assert_like(outputs(path, feed, optimised=True), wanted)


@pytest.mark.parametrize(
    ("name", "opset"), [("golden_cnn", 13), ("golden_activations", 14), ("golden_norms", 17), ("golden_squeeze", 20)]
)
def test_the_opset_is_as_low_as_the_operators_allow(name: str, opset: int, tmp_path: Path) -> None:
    """HardSwish came with 14, LayerNormalization with 17, Gelu with 20."""
    inverse, x = fitted(name)
    assert mr.export(inverse, tmp_path / "explainer.onnx", check=x).opset == opset
    assert onnx.load(tmp_path / "explainer.onnx").opset_import[0].version == opset


def test_one_sample_at_a_time_and_all_together(tmp_path: Path) -> None:
    """The batch is free. In another batch sums round in another order, forward as on the way back."""
    inverse, x = fitted("golden_pool_overlap")
    path = tmp_path / "explainer.onnx"
    mr.export(inverse, path, check=x)
    name = onnx.load(path).graph.input[0].name
    whole = outputs(path, {name: x})
    for i in range(len(x)):
        alone = outputs(path, {name: x[i : i + 1]})
        for output, value in alone.items():
            np.testing.assert_allclose(value[0], whole[output][i], rtol=0, atol=1e-5 * np.max(np.abs(whole[output])))
