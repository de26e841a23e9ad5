"""torch's normalisations as both of its exporters write them, at every opset that these take: one layer each, and the
network explained down to its input.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.layers import Norm, TokenDense
from tests.graph.sketch import assert_keeps_values

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional

EXPORTERS = [*((False, opset) for opset in (9, 13, 17, 20)), *((True, opset) for opset in (18, 23))]
"""Whether by the dynamo exporter, at an opset; the old one ends at 20, the new one begins at 18."""


class Permuted(nn.Module):  # type: ignore[misc, name-defined]
    """torchvision's LayerNorm2d: over the channels of a map, by permutes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Any) -> Any:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ByHand(nn.Module):  # type: ignore[misc, name-defined]
    """ConvNeXt's first LayerNorm, written out over axis 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(channels) + 0.5), nn.Parameter(torch.randn(channels))

    def forward(self, x: Any) -> Any:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-2)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Rms(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels) + 0.5)

    def forward(self, x: Any) -> Any:
        x = x.permute(0, 2, 3, 1)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-2)
        return (self.weight * x).permute(0, 3, 1, 2)


class Normalised(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return functional.normalize(x, dim=1)


class Mean(nn.Module):  # type: ignore[misc, name-defined]
    """Not AdaptiveAvgPool2d, of which the newer exporter makes a Gather."""

    def forward(self, x: Any) -> Any:
        return x.mean((2, 3))


NORMS: dict[str, Any] = {
    "layer": lambda: Permuted(6),
    "by hand": lambda: ByHand(6),
    "group": lambda: nn.GroupNorm(3, 6),
    "one group": lambda: nn.GroupNorm(1, 6),
    "instance": lambda: nn.InstanceNorm2d(6, affine=True),
    "rms": lambda: Rms(6),
    "rms of torch": lambda: nn.Sequential(nn.Flatten(2), nn.RMSNorm(30), nn.Unflatten(2, (5, 6))),
    "normalize": Normalised,
    "without parameters": lambda: nn.GroupNorm(2, 6, affine=False),
}


def exported(module: Any, shape: tuple[int, ...], dynamo: bool, opset: int, folder: Path) -> Path:
    """A file of a module in evaluation mode, its parameters moved off ones and zeros, the batch free."""
    torch.manual_seed(1)
    module = module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim < 2 or parameter.shape[1:].numel() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape))
    x, file = torch.randn(2, *shape), folder / "model.onnx"
    options: dict[str, Any] = {"dynamic_shapes": ({0: "n"},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    names = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=dynamo, verbose=False, **names, **options)
    return file


def network(norm: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), Mean(), nn.Linear(4, 3)
    )


def explained(file: Path, shape: tuple[int, ...]) -> tuple[mr.Network, mr.Attribution]:
    """The network, and S and A at its input."""
    import onnx

    net = assert_keeps_values(onnx.load(str(file)), tolerance=2e-5)
    assert not net.blocked
    x = np.random.default_rng(0).standard_normal((20, *shape)).astype(np.float32)
    found = mr.fit(net, x, 1).attribute(x)
    assert found.attribution.shape == x.shape
    assert np.isfinite(found.source).all()
    assert np.isfinite(found.attribution).all()
    assert np.abs(found.attribution).max() > 0
    return net, found


@pytest.mark.parametrize(
    ("norm", "dynamo", "opset"),
    # The old exporter does not write torch's own RMSNorm.
    [(norm, *case) for norm in NORMS for case in EXPORTERS if case[0] or norm != "rms of torch"],
)
def test_a_normalisation_is_one_layer(norm: str, dynamo: bool, opset: int, tmp_path: Path) -> None:
    net, _ = explained(exported(network(NORMS[norm]()), (3, 5, 6), dynamo, opset, tmp_path), (3, 5, 6))
    (found,) = (layer for layer in net.layers if isinstance(layer, Norm))
    allowed = {"Conv", "Norm", "Activation", "Reduce", "GlobalAveragePool", "Reshape", "Dense", "Transpose"}
    assert {layer.kind for layer in net.layers} <= allowed
    assert found.centred == (norm not in ("rms", "rms of torch", "normalize"))


class Block(nn.Module):  # type: ignore[misc, name-defined]
    """ConvNeXt's block as torchvision has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide, self.narrow = nn.Linear(channels, 3 * channels), nn.Linear(3 * channels, channels)
        self.layer_scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Any) -> Any:
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.narrow(functional.gelu(self.wide(y))).permute(0, 3, 1, 2)
        return x + self.layer_scale * y


def convnext() -> Any:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 2, stride=2), Permuted(4), Block(4), Permuted(4), nn.Conv2d(4, 6, 2, stride=2), Block(6)),
        *(nn.AvgPool2d(2), Permuted(6), nn.Flatten(), nn.Linear(6, 3)),
    )


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 20), (True, 20), (True, 23)])
def test_convnext(dynamo: bool, opset: int, tmp_path: Path) -> None:
    """At opset 20 GELU is one operator."""
    net, _ = explained(exported(convnext(), (3, 8, 8), dynamo, opset, tmp_path), (3, 8, 8))
    kinds = [layer.kind for layer in net.layers]
    assert (kinds.count("Norm"), kinds.count("TokenDense"), kinds.count("Affine")) == (5, 4, 0)


class Residual(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(2, outputs), nn.ReLU()),
            *(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.GroupNorm(2, outputs)),
        )
        down = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.GroupNorm(2, outputs)]
        self.skip = nn.Sequential(*down) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        return torch.relu(self.body(x) + self.skip(x))


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 9), (False, 17), (True, 18), (True, 21), (True, 23)])
def test_a_residual_network_with_group_norms(dynamo: bool, opset: int, tmp_path: Path) -> None:
    blocks = [Residual(4, 4, 1), Residual(4, 6, 2)]
    made = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), *blocks, Mean(), nn.Linear(6, 3))
    net, _ = explained(exported(made, (3, 6, 6), dynamo, opset, tmp_path), (3, 6, 6))
    norms = [layer for layer in net.layers if isinstance(layer, Norm)]
    assert len(norms) == 6
    assert {norm.channels for norm in norms} == {1}


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (False, 17), (True, 18), (True, 23)])
def test_a_mixer_of_tokens(dynamo: bool, opset: int, tmp_path: Path) -> None:
    class Mixer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.norm = nn.Conv2d(3, 5, 2, stride=2), nn.LayerNorm(5)
            self.across, self.along, self.end = nn.Linear(9, 9), nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = x + torch.relu(self.across(self.norm(x).transpose(1, 2))).transpose(1, 2)
            x = x + torch.relu(self.along(self.norm(x)))
            return self.end(x.mean(1))

    net, _ = explained(exported(Mixer(), (3, 6, 6), dynamo, opset, tmp_path), (3, 6, 6))
    assert sum(isinstance(layer, TokenDense) for layer in net.layers) == 2
