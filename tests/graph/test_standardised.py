"""Kernels that are standardised where they stand, as ResNetV2 (BiT) and NFNet have them: computed on load."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import mipin_ref as mr

X = np.random.default_rng(0).standard_normal((40, 3, 7, 7)).astype(np.float32)


class Standardised(nn.Conv2d):  # type: ignore[misc]
    """A convolution whose kernels are brought to mean 0 and variance 1, each scaled by a gain, in every run."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.rand(sizes[1]) + 0.5)

    def kernels(self) -> torch.Tensor:
        rows = self.weight.reshape(1, len(self.weight), -1)
        made = functional.batch_norm(rows, None, None, weight=self.gain, training=True, momentum=0.0, eps=1e-6)
        return made.reshape_as(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.kernels(), self.bias)


def network(plain: bool) -> nn.Module:
    torch.manual_seed(0)
    layers = [Standardised(3, 4, 3), nn.ReLU(), Standardised(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(45, 2)]
    if plain:
        for place in (0, 2):
            conv, one = layers[place], nn.Conv2d(*((3, 4, 3) if place == 0 else (4, 5, 3)))
            assert isinstance(conv, Standardised)
            weight = conv.weight.detach().double().reshape(len(conv.weight), -1)
            weight = (weight - weight.mean(1, keepdim=True)) / (weight.var(1, keepdim=True, correction=0) + 1e-6).sqrt()
            weight = weight * conv.gain.detach().double()[:, None]
            one.weight, one.bias = nn.Parameter(weight.float().reshape_as(conv.weight)), conv.bias
            layers[place] = one
    return nn.Sequential(*layers).eval()


def exported(module: nn.Module, opset: int) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "n"}}
        example = (torch.zeros(2, 3, 7, 7),)
        torch.onnx.export(
            module, example, buffer, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes=axes
        )
    return buffer.getvalue()


@pytest.mark.parametrize("opset", [13, 17])
def test_signals_are_those_of_the_plain_network(opset: int) -> None:
    content = exported(network(plain=False), opset)
    results = [mr.fit(mr.load(one), X, 1).attribute(X) for one in (content, exported(network(plain=True), opset))]
    standardised, plain = results
    assert b"BatchNormalization" in content
    # Weights that are rounded to float32 once more, and what a fit of forty images makes of that.
    np.testing.assert_allclose(standardised.output, plain.output, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(standardised.source, plain.source, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(standardised.attribution, plain.attribution, rtol=1e-3, atol=1e-3)
