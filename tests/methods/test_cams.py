"""The class activation maps beside Grad-CAM: against grad-cam (pytorch-grad-cam), captum and torch."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.methods.interpolate import resized
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.methods.recorded import Case, residual
from tests.methods.test_gradcam import network
from tests.networks import Network, float32, graphs
from tests.oracles.autograd import Twin, gradients
from tests.oracles.spec import Array, Conv, Dense, GlobalAveragePool, Reshape, Transpose

CAMS = ("grad-cam", "grad-cam++", "hires-cam", "layer-cam", "score-cam", "eigen-cam")


def theirs(kind: str) -> Any:
    """A method of pytorch-grad-cam, as a function of activations and gradients [n, C, H, W]."""
    import pytorch_grad_cam

    return getattr(pytorch_grad_cam, kind)


def maps_of(case: Case) -> list[str]:
    return [
        name
        for name, shape in case.net.shapes.items()
        if len(shape) == 3 and case.net.channel_axis(name) == 1 and shape[1:] != (1, 1)
    ]


@pytest.mark.slow
@on_drawn_backend
@settings(max_examples=30, derandomize=True)
@given(drawn=graphs(ranks=(2,)), pick=PICKS, seed=st.integers(0, 50))
def test_what_is_made_of_the_gradient(drawn: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    """The gradient is torch's, and what is made of it pytorch-grad-cam's; HiResCAM is captum's layer product too."""
    import captum.attr

    case, device = Case.of(drawn, seed), backend(picked(names, pick))
    values = case.values()
    found = gradients(drawn.ops, values, case.targets)
    for name in maps_of(case):
        if name not in found:
            continue
        x, g = values[name], found[name]

        def ours(method: str, at: str = name) -> mr.Attribution:
            return mr.attribute(case.net, case.x, case.targets, method, at=at, backend=device)

        for method, kind in (("layer-cam", "LayerCAM"), ("hires-cam", "HiResCAM")):
            wanted = theirs(kind).get_cam_image(SimpleNamespace(), None, None, None, x, g, False)
            # A sum over channels, of terms that cancel.
            scale = np.abs(x * g).sum(axis=1).max()
            np.testing.assert_allclose(mr.saliency(ours(method), positive=False), wanted, rtol=0, atol=1e-12 * scale)
        twin = Twin(drawn.ops, [name])
        twin.held = values
        product = captum.attr.LayerGradientXActivation(twin, twin.at(name))
        wanted = product.attribute(torch.tensor(case.x, requires_grad=True), torch.tensor(case.targets))
        np.testing.assert_allclose(
            ours("hires-cam").contribution, wanted.detach().numpy(), rtol=1e-12, atol=1e-12 * np.abs(x * g).max()
        )


def in_single_precision(given: Network) -> Network:
    """The network with weights that the file holds as they are."""
    ops = [replace(op, weight=float32(op.weight)) if isinstance(op, Conv | Dense) else op for op in given.ops]
    return Network(tuple(ops), given.input_shape)


@pytest.mark.parametrize("seed", range(4))
def test_grad_cam_plus_plus(seed: int) -> None:
    """On a map that is not negative; theirs adds 1e-6 to the divisor, next to nothing where gradients are large."""
    case = Case.of(in_single_precision(network()), seed)
    values = case.values()
    x, g = values["p"], gradients(case.network.ops, values, case.targets)["p"]
    assert (x >= 0).all()
    larger = 1e7
    ours = mr.attribute(case.net, case.x, case.targets, "grad-cam++").attribution[:, :, 0, 0]
    # relu(g) α is of degree 1 where g and 1 / X grow alike.
    wanted = theirs("GradCAMPlusPlus").get_cam_weights(None, None, None, None, x / larger, g * larger)
    np.testing.assert_allclose(ours, wanted / larger, rtol=1e-12)
    # Eq. 19 and Eq. 5 of the paper as they stand, element by element.
    for n, c in np.ndindex(*ours.shape):
        total = 0.0
        for one in g[n, c].ravel():
            total += max(one, 0.0) * one**2 / (2 * one**2 + x[n, c].sum() * one**3) if one else 0.0
        assert ours[n, c] == pytest.approx(total, rel=1e-12)


def test_grad_cam_plus_plus_where_its_divisor_is_zero() -> None:
    """A map [[-1, 0], [0, 0]] of gradient 2: 2 g² + g³ Σ X = 0 everywhere."""
    ops = (
        Conv(("input",), "c", np.ones((1, 1, 1, 1))),
        Reshape(("c",), "f", (4,)),
        Dense(("f",), "y", np.full((4, 2), 2.0)),
    )
    case = Case.of(Network(ops, (1, 2, 2)), 0)
    x = np.array([[[[-1.0, 0.0], [0.0, 0.0]]]])
    res = mr.attribute(case.net, x, 0, "grad-cam++", at="input")
    assert (res.attribution == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_eigen_cam(seed: int) -> None:
    """The first singular vector in torch; theirs centres the map, so that both agree on a map that is centred."""
    case = Case.of(network(), seed)
    x = case.values()["p"]
    res = mr.attribute(case.net, case.x, case.targets, "eigen-cam")
    assert res.tensor == "p"
    found = mr.saliency(res, positive=False)
    for ours, one in zip(found, x, strict=True):
        matrix = torch.tensor(one.reshape(len(one), -1).T)
        _, largest, vectors = torch.linalg.svd(matrix)
        assert largest[1] < 0.9 * largest[0], "two components are as good as each other"
        wanted = np.abs((matrix @ vectors[0]).numpy())
        np.testing.assert_allclose(ours.ravel(), wanted, rtol=1e-10, atol=1e-12 * wanted.max())
        assert (ours >= -1e-12 * wanted.max()).all(), "the principal component of a map >= 0 has one sign"
    centred = case.x - case.x.mean(axis=(2, 3), keepdims=True)
    ours = mr.saliency(mr.attribute(case.net, centred, 0, "eigen-cam", at="input"), positive=False)
    wanted = theirs("EigenCAM").get_cam_image(None, None, None, None, centred, None, None)
    sign = np.sign((ours * wanted).sum(axis=(1, 2), keepdims=True))
    # Theirs are stored in single precision, and centred once more.
    np.testing.assert_allclose(ours, sign * wanted, rtol=0, atol=4e-6 * np.abs(ours).max())
    other = mr.attribute(case.net, case.x, (case.targets + 1) % 3, "eigen-cam")
    np.testing.assert_array_equal(other.attribution, res.attribution)


def scores(case: Case, x: Any) -> Any:
    """The logits as the package computes them, for what is masked by another."""
    return torch.tensor(case.net.predict(np.asarray(x, np.float32))[1])


@pytest.mark.parametrize("same", [True, False])
def test_score_cam(same: bool) -> None:
    """Against theirs where the map has the input's size, and its corners need no agreement; else against torch."""
    case = Case.of(residual(), 1, samples=3)
    at = "r" if same else "joined"
    x = torch.tensor(case.x)
    activations = case.values()[at]
    res = mr.attribute(case.net, case.x, case.targets, "score-cam", at=at, batch_size=2)
    ours = res.attribution[:, :, 0, 0]
    np.testing.assert_allclose(ours.sum(axis=1), 1)
    if same:
        assert activations.shape[2:] == x.shape[2:]
        held = SimpleNamespace(device="cpu", batch_size=2, model=lambda some: scores(case, some))
        targets = [lambda row, t=t: row[t] for t in case.targets]
        wanted = theirs("ScoreCAM").get_cam_weights(held, x, None, targets, activations, None)
    else:
        large = F.interpolate(torch.tensor(activations), x.shape[2:], mode="bilinear", align_corners=False)
        low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
        masks = (large - low) / (high - low)
        rows = [scores(case, x[n] * masks[n][:, None])[:, t] for n, t in enumerate(case.targets)]
        wanted = torch.softmax(torch.stack(rows), dim=1).numpy()
    # Logits are computed in single precision, of masks that theirs rounds once more.
    np.testing.assert_allclose(ours, wanted, rtol=3e-5)
    assert np.ptp(ours) > 0.01, "all channels count alike: nothing is compared"


def test_score_cam_runs_no_more_masked_inputs_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(residual(), 1, samples=1)
    seen: list[int] = []
    call = Recorder.__call__

    def counted(self: Recorder, x: Any, first: int = 0) -> Any:
        seen.append(len(x))
        return call(self, x, first)

    monkeypatch.setattr(Recorder, "__call__", counted)
    monkeypatch.setattr("mipin_ref.memory.BATCH_SHARE", 2.5 * (case.net.forward_bytes + 4 * 8 * 72) / 2e9)
    mr.attribute(case.net, case.x, 0, "score-cam", at="r")
    # The sample itself, and the three channels.
    assert seen == [1, 2, 1]


def test_a_map_that_is_the_same_everywhere_hides_all_of_the_input() -> None:
    ops = (
        Conv(("input",), "c", np.zeros((2, 1, 1, 1)), np.array([1.0, 2.0])),
        GlobalAveragePool(("c",), "m"),
        Reshape(("m",), "f", (2,)),
        Dense(("f",), "y", np.eye(2)),
    )
    case = Case.of(Network(ops, (1, 4, 4)), 0)
    res = mr.attribute(case.net, case.x, 1, "score-cam", at="c")
    np.testing.assert_allclose(res.attribution, 0.5)


@pytest.mark.parametrize("size", [(5, 7), (12, 9), (3, 4), (1, 1), (4, 30)])
def test_interpolation_is_torchs(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    # Where a map shrinks torch leaves places out, as here.
    wanted = F.interpolate(torch.tensor(x), size, mode="bilinear", align_corners=False).numpy()
    np.testing.assert_allclose(resized(x, size), wanted, rtol=1e-12, atol=1e-14)
    line = F.interpolate(torch.tensor(x[:, :, 0]), size[:1], mode="linear", align_corners=False).numpy()
    np.testing.assert_allclose(resized(x[:, :, 0], size[:1]), line, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CAMS)
def test_what_has_no_map_is_refused(name: str) -> None:
    case = Case.of(network(), 0)
    for at in ("f", "m", "y"):
        with pytest.raises(mr.InvalidData, match=rf"{name.replace('+', '[+]')} needs a tensor with channels and a map"):
            mr.attribute(case.net, case.x, 1, name, at=at)
    vectors = Case.of(Network((Dense(("input",), "y", np.ones((4, 3))),), (4,)), 0)
    with pytest.raises(mr.InvalidData, match="this network has none"):
        mr.attribute(vectors.net, vectors.x, 1, name)


@pytest.mark.parametrize("name", CAMS)
def test_channels_may_come_last(name: str) -> None:
    """An input [H, W, C] gives what the same input [C, H, W] does."""
    first: Any = network().ops
    turned = (Transpose(("input",), "turned", (0, 3, 1, 2)), Conv(("turned",), "c", first[0].weight), *first[1:])
    case, last = Case.of(network(), 0), Case.of(Network(turned, (8, 8, 2)), 0)
    x: Array = np.moveaxis(case.x, 1, 3)
    ours = mr.attribute(last.net, x, 1, name)
    expected = mr.attribute(case.net, case.x, 1, name)
    assert ours.tensor == expected.tensor == "p"
    assert relative_error(ours.attribution, expected.attribution) < 1e-5


def test_score_cam_needs_a_map_of_as_many_axes() -> None:
    """A map of one axis over pictures, as of a network that reads lines of them, covers nothing of them."""
    ops = (
        Reshape(("input",), "lines", (4, 4)),
        Conv(("lines",), "c", np.ones((2, 4, 3))),
        Reshape(("c",), "f", (4,)),
        Dense(("f",), "y", np.eye(4)),
    )
    case = Case.of(Network(ops, (1, 4, 4)), 0)
    with pytest.raises(mr.InvalidData, match="lays the map of 'c', of 1 axes, over the input, which has 2"):
        mr.attribute(case.net, case.x, 0, "score-cam", at="c")
