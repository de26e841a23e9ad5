"""Files that `onnxruntime.transformers.optimizer` wrote: S and A are those of the file that it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.transformers import optimizer

import mipin_ref as mr
from tests.graph.fusions.transformers import HEADS, NETWORKS, WIDTH, exported, samples

TOLERANCE = 1e-5
"""The forward passes are the same sums in single precision but for what fusions write in another order; a ridge of one
keeps the systems from multiplying that by more than fifty.
"""
FUSED = {
    ("bert", False): {"Attention", "EmbedLayerNormalization", "SkipLayerNormalization", "BiasGelu"},
    ("bert", True): {"SkipLayerNormalization", "BiasGelu"},
    ("vit", False): {"Attention", "SkipLayerNormalization", "BiasGelu"},
    ("vit", True): {"SkipLayerNormalization", "BiasGelu"},
}
"""What the optimiser knows again of the exports of torch's two exporters, by network and whether it is the new one."""

if onnxruntime.__version__.startswith("1.29."):
    # The oldest that is allowed finds none there.
    FUSED["vit", True].remove("SkipLayerNormalization")


def explained(path: Path, name: str) -> Any:
    given = {key: value.numpy() for key, value in samples(name).items()}
    net = mr.load(path, input=next(iter(given)) if len(given) > 1 else None)
    first = next(iter(given))
    x: Any = given if len(given) > 1 else given[first]
    # The optimiser has ids in 32 bits.
    if len(given) > 1:
        kinds = {one.name: one.type.tensor_type.elem_type for one in onnx.load(path).graph.input}
        x = {key: value.astype(onnx.helper.tensor_dtype_to_np_dtype(kinds[key])) for key, value in given.items()}
    return net, mr.fit(net, x, 1, ridge=1.0).attribute(x)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 2], ids=["fusions of transformers", "and onnxruntime's own"])
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_optimised_file_is_explained_as_the_file_is(name: str, dynamo: bool, level: int, tmp_path: Path) -> None:
    plain, fused = tmp_path / "plain.onnx", tmp_path / "fused.onnx"
    exported(name, plain, dynamo=dynamo)
    made = optimizer.optimize_model(
        str(plain), model_type=name, num_heads=HEADS, hidden_size=WIDTH, opt_level=level, only_onnxruntime=False
    )
    made.save_model_to_file(str(fused))
    operators = {node.op_type for node in made.model.graph.node}
    if not level:
        assert operators >= FUSED[name, dynamo]
    (net, expected), (other, found) = explained(plain, name), explained(fused, name)
    assert found.value.shape == expected.value.shape
    for key in ("output", "value", "source", "attribution"):
        mine, theirs = getattr(found, key), getattr(expected, key)
        assert np.max(np.abs(mine - theirs)) <= TOLERANCE * np.max(np.abs(theirs)), key
    assert len(net.embeddings) == len(other.embeddings) == (name == "bert")
