"""The map of an explainer of tokens: the picture that they lie in, as `saliency` lays it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mipin_ref as mr
from mipin_ref.graph.tokens import token_map
from tests.export.running import assert_exact, expected, outputs
from tests.networks.exported import as_file
from tests.networks.transformers import vision


@pytest.mark.parametrize("first", [True, False], ids=["class token", "mean"])
def test_the_map_is_the_picture_of_tokens(tmp_path: Path, first: bool) -> None:
    torch.manual_seed(9)
    model = vision(first=first)
    net = mr.load(as_file(model._replace(module=model.module.eval()), "torchscript", 17, torch.randn(2, *model.shape)))
    x = np.random.default_rng(0).standard_normal((60, *net.input_shape)).astype(np.float32)
    inverse = mr.fit(net, x, 1, ridge=0.1, at=token_map(net))
    path = tmp_path / "explainer.onnx"
    mr.export(inverse, path, check=x[:4])
    wanted = expected(inverse, x[:4])
    assert wanted["map"].shape == (4, 6, 9)
    assert_exact(outputs(path, {net.input: x[:4]}), wanted)
