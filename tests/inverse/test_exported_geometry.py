"""Small networks with a decoder or a detector's head, by both of torch's exporters, down to the input."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.inverse.test_graphs import TOLERANCE, assert_agrees
from tests.oracles.mipin import mipin
from tests.oracles.of_layers import ops_of

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
nn = torch.nn

DECODERS = ("transposed", "overlapping", "nearest", "bilinear", "aligned", "shuffled", "reflected")


def block(inputs: int, outputs: int, **options: Any) -> Any:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):  # type: ignore[name-defined, misc]
    """Two levels with a skip; the logits are the pixels of two classes in a row."""

    def __init__(self, decoder: str) -> None:
        super().__init__()
        mode = "reflect" if decoder == "reflected" else "zeros"
        self.first, self.second = block(1, 3), block(3, 4, padding_mode=mode)
        ups: dict[str, Any] = {
            "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(4, 3, 2, stride=2), nn.BatchNorm2d(3)),
            "overlapping": lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2),
            "nearest": lambda: nn.Sequential(nn.Upsample(scale_factor=2), block(4, 3)),
            "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            "aligned": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            "shuffled": lambda: nn.PixelShuffle(2),
            "reflected": lambda: nn.Upsample(size=(6, 6)),
        }
        self.up = ups[decoder]()
        width = {"transposed": 3, "overlapping": 2, "nearest": 3, "shuffled": 1}.get(decoder, 4)
        self.third, self.last = block(3 + width, 3), nn.Conv2d(3, 2, 1)

    def forward(self, x: Any) -> Any:
        skip = self.first(x)
        deep = self.second(torch.max_pool2d(skip, 2))
        return self.last(self.third(torch.cat([skip, self.up(deep)], dim=1))).flatten(1)


class Detector(nn.Module):  # type: ignore[name-defined, misc]
    """A Focus stem, a split block, pooled pyramid, an upsampled path and class scores of two scales side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.down, self.up = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Upsample(scale_factor=2)
        self.heads = nn.ModuleList([nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 1)])

    def forward(self, x: Any) -> Any:
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], dim=1)
        x = nn.functional.leaky_relu(self.stem(x), 0.1)
        kept, other = x.chunk(2, dim=1)
        x = torch.cat([kept, other + nn.functional.leaky_relu(self.left(other), 0.1)], dim=1)
        deep = nn.functional.leaky_relu(self.down(x), 0.1)
        deep = deep + nn.functional.max_pool2d(deep, 3, 1, 1)
        scales = [torch.cat([x, self.up(deep)], dim=1), deep]
        scores = []
        for head, one in zip(self.heads, scales, strict=True):
            y = head(one)
            batch, _, height, width = y.shape
            y = y.view(batch, 2, 2, height, width).permute(0, 1, 3, 4, 2)
            scores.append(y.reshape(batch, -1, 2))
        return torch.sigmoid(torch.cat(scores, dim=1)).flatten(1)


def exported(model: Any, shape: tuple[int, ...], dynamo: bool) -> mr.Network:
    """The network that is read from the model's file, of a free batch."""
    model.eval()
    x, buffer = torch.randn(2, *shape), io.BytesIO()
    options: dict[str, Any] = {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    if not dynamo:
        options = {"dynamo": False, "dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"], "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), buffer, **options)
    net = mr.load(buffer.getvalue())
    with torch.no_grad():
        expected = model(x).numpy()
    found = net.predict(x.numpy())[0 if net.head else 1]
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    return net


def assert_agrees_everywhere(net: mr.Network, target: int) -> None:
    """S and A of every tensor down to the input are those of brute force, at the values that onnxruntime records."""
    x = np.random.default_rng(0).standard_normal((8, *net.input_shape)).astype(np.float32)
    values = dict(Recorder(net, list(net.shapes))(x).values)
    inv = mr.fit(net, x, target, ridge=0.1, batch_size=8)
    assert inv.plan.explained == net.input
    expected = mipin(ops_of(net), x, target, ridge=0.1, values=values)
    assert assert_agrees(inv, expected, x, TOLERANCE, 8) == len(inv.plan.steps)


def settled(model: Any, seed: int) -> Any:
    """The model with statistics as training leaves them."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return model


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("decoder", DECODERS)
def test_u_nets(decoder: str, dynamo: bool) -> None:
    torch.manual_seed(1)
    net = exported(settled(UNet(decoder), 2), (1, 6, 6), dynamo)
    assert_agrees_everywhere(net, 20)


@pytest.mark.parametrize("dynamo", [False, True])
def test_detector(dynamo: bool) -> None:
    torch.manual_seed(3)
    net = exported(Detector(), (1, 8, 8), dynamo)
    assert net.head == "sigmoid"
    assert_agrees_everywhere(net, 9)
