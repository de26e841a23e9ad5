"""Class activation maps of tokens: at the last picture of them, class token left out; torch and pytorch-grad-cam."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.graph.tokens import grid_of, token_map
from tests.backends import backend, on_every_backend, relative_error
from tests.methods.test_cams import theirs
from tests.networks.exported import as_file
from tests.networks.transformers import GRID, TOKENS, WIDTH, sequence, vision

EXPORTERS = [("torchscript", 17), pytest.param("dynamo", 20, marks=pytest.mark.slow)]
ROUNDED = 2e-5
"""A share of the largest: two engines in single precision, whose gradients are sums that cancel."""


def made(exporter: str, opset: int, *, first: bool) -> tuple[Any, mr.Network, torch.Tensor]:
    torch.manual_seed(4)
    model = vision(first=first)
    x = torch.randn(4, *model.shape)
    return model.module, mr.load(as_file(model._replace(module=model.module.eval()), exporter, opset, x)), x


def recorded(module: Any, x: torch.Tensor, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradients of class n % 3 of the tokens that the target reads last, in double: [n, C, *GRID]."""
    kept: list[Any] = []
    layer = module.blocks[-1].first if first else module.last
    hook = layer.register_forward_hook(lambda _, __, value: kept.append(value))
    rows = torch.arange(len(x))
    total = module.double()(x.double())[rows, rows % 3].sum()
    hook.remove()
    (slope,) = torch.autograd.grad(total, kept[0])
    value, slope = (
        np.asarray(one.detach())[:, int(first) :].transpose(0, 2, 1).reshape(len(x), WIDTH, *GRID)
        for one in (kept[0], slope)
    )
    return value, slope


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("exporter", "opset"), EXPORTERS)
def test_maps_are_those_of_pytorch_grad_cam(exporter: str, opset: int, first: bool) -> None:
    """At the first norm of the last block, as is usual there, or where all tokens are read at what is averaged."""
    module, net, x = made(exporter, opset, first=first)
    value, slope = recorded(module, x, first=first)
    for method, kind in (("grad-cam", "GradCAM"), ("hires-cam", "HiResCAM"), ("layer-cam", "LayerCAM")):
        res = mr.attribute(net, x.numpy(), np.arange(4) % 3, method)
        assert net.shapes[res.tensor] == (6 + first, WIDTH)
        if method == "grad-cam":
            weights = theirs(kind).get_cam_weights(SimpleNamespace(), None, None, None, value, slope)
            wanted = (weights[:, :, None, None] * value).sum(axis=1)
        else:
            wanted = theirs(kind).get_cam_image(SimpleNamespace(), None, None, None, value, slope, False)
        found = mr.saliency(res, positive=False)
        assert found.shape == (4, *GRID)
        scale = np.abs(value * slope).sum(axis=1).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDED * scale)
        assert np.ptp(wanted) > 100 * ROUNDED * scale


@on_every_backend
def test_a_class_token_takes_no_part_in_weights(name: str) -> None:
    module, net, x = made("torchscript", 17, first=True)
    value, slope = recorded(module, x, first=True)
    targets, device = np.arange(4) % 3, backend(name)
    found = {
        one: mr.attribute(net, x.numpy(), targets, one, backend=device).attribution
        for one in ("grad-cam", "grad-cam++", "eigen-cam")
    }
    expected = slope.mean(axis=(2, 3))
    alpha = 1 / (2 + slope * value.sum(axis=(2, 3), keepdims=True))
    weights = (alpha * np.maximum(slope, 0)).sum(axis=(2, 3))
    assert relative_error(found["grad-cam"][:, 0], expected) < ROUNDED
    # 1 / (2 + g Σ X) is as steep as its divisor is small.
    assert relative_error(found["grad-cam++"][:, 0], weights) < 1e-3
    vectors = np.linalg.svd(value.reshape(4, WIDTH, -1).transpose(0, 2, 1))[2][:, 0]
    signs = np.sign(vectors.sum(axis=1, keepdims=True))
    assert relative_error(found["eigen-cam"][:, 0], vectors * signs) < ROUNDED
    for one in found.values():
        assert np.ptp(one, axis=1).max() == 0


def test_score_cam_hides_the_picture_by_tokens() -> None:
    module, net, x = made("torchscript", 17, first=True)
    value, _ = recorded(module, x, first=True)
    module.float()
    res = mr.attribute(net, x.numpy(), np.arange(4) % 3, "score-cam")
    large = torch.nn.functional.interpolate(torch.tensor(value), x.shape[2:], mode="bilinear", align_corners=False)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    masks = ((large - low) / (high - low)).float()
    with torch.no_grad():
        rows = [module(x[n] * masks[n][:, None])[:, n % 3] for n in range(4)]
    np.testing.assert_allclose(res.attribution[:, 0], torch.softmax(torch.stack(rows), dim=1).numpy(), rtol=1e-4)


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "input-x-gradient"])
def test_other_methods_at_tokens_are_drawn_as_the_picture(method: str) -> None:
    _, net, x = made("torchscript", 17, first=True)
    res = mr.attribute(net, x.numpy(), 1, method, at=token_map(net))
    wanted = res.contribution.sum(axis=2)[:, 1:].reshape(4, *GRID)
    np.testing.assert_array_equal(mr.saliency(res, positive=False), wanted)
    np.testing.assert_array_equal(mr.saliency(res[1:2], positive=False), wanted[1:2])
    mean = res.attribution.mean(axis=2)[:, 1:].reshape(4, *GRID)
    np.testing.assert_array_equal(mr.saliency(res, "attribution", positive=False), mean)
    assert mr.saliency(res, size="input").shape == (4, 6, 9)


def test_mip_in_at_tokens_is_drawn_as_the_picture() -> None:
    _, net, x = made("torchscript", 17, first=True)
    calibration = np.random.default_rng(0).standard_normal((40, *net.input_shape)).astype(np.float32)
    res = mr.attribute(net, x.numpy(), 1, "mip-in", at="auto", calibration=calibration)
    assert res.tensor == token_map(net) == feature_maps(net)[0]
    wanted = res.oriented.contribution.sum(axis=2)[:, 1:].reshape(4, *GRID)
    np.testing.assert_array_equal(mr.saliency(res, positive=False), wanted)


@pytest.mark.parametrize("first", [True, False])
def test_where_tokens_lie(first: bool) -> None:
    _, net, _ = made("torchscript", 17, first=first)
    name = token_map(net)
    assert name is not None
    grid = grid_of(net, name)
    assert grid is not None
    np.testing.assert_array_equal(grid.places, np.arange(6).reshape(GRID) + first)
    np.testing.assert_array_equal(grid.rows, np.arange(6) + first)
    with pytest.raises(mr.InvalidData, match=r"has not two spatial axes|holds features"):
        mr.saliency(mr.attribute(net, np.zeros((1, *net.input_shape), np.float32), 0, "gradient", at=net.logits))


def test_tokens_of_no_picture_are_no_map() -> None:
    torch.manual_seed(5)
    model = sequence(first=True)
    net = mr.load(as_file(model, "torchscript", 17, torch.randn(2, TOKENS, WIDTH)))
    assert token_map(net) is None
    assert feature_maps(net) == []
    with pytest.raises(mr.InvalidData, match="this network has none"):
        mr.attribute(net, np.zeros((1, TOKENS, WIDTH), np.float32), 0, "grad-cam")
