"""Explanations of transformers: pictures of tokens, and tokens of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from tests.networks.exported import Model, as_file
from tests.networks.transformers import WORDS, Text, vision

METHODS = ("attention-rollout", "gradient-attention-rollout", "grad-cam", "lrp-epsilon")


def in_a_file(path: Path, model: Model, x: torch.Tensor) -> mr.Network:
    path.write_bytes(as_file(model._replace(module=model.module.eval()), "torchscript", 17, x))
    return mr.load(path)


@pytest.mark.parametrize("method", METHODS)
def test_pictures(method: str, tmp_path: Path) -> None:
    torch.manual_seed(10)
    net = in_a_file(tmp_path / "vit.onnx", vision(first=True), torch.randn(2, 3, 6, 9))
    x = np.random.default_rng(0).standard_normal((3, *net.input_shape)).astype(np.float32)
    options: dict[str, Any] = {"attention": "attn-lrp"} if method == "lrp-epsilon" else {}
    ex = mr.explain(tmp_path / "vit.onnx", x, method=method, target=1, progress=False, **options)
    res = mr.attribute(net, x, 1, method, at=ex.result.tensor, **options)
    assert ex.maps.shape == (3, 6, 9)
    np.testing.assert_array_equal(ex.maps, mr.saliency(res, positive=False, size="input"))
    assert np.ptp(ex.maps) > 0


def test_texts(tmp_path: Path) -> None:
    torch.manual_seed(11)
    x = torch.randint(0, WORDS, (3, 5))
    net = in_a_file(tmp_path / "text.onnx", Model(Text(first=False), (5,)), x)
    ex = mr.explain(tmp_path / "text.onnx", x.numpy(), method="attention-rollout", target=1, progress=False)
    assert ex.result.tensor == net.embeddings[0]
    np.testing.assert_allclose(ex.maps, ex.result.contribution.sum(axis=2))
    np.testing.assert_allclose(ex.maps.sum(axis=1), 1, rtol=1e-5)
