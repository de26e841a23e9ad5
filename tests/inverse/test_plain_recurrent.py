"""RNN against brute force and against torch: S and A of files by hand and of exporters, gradients through time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from tests.inverse.test_recurrent import Sequence, assert_agrees, exported
from tests.networks.plain_recurrent import PLAIN, plain_file, samples
from tests.oracles.mipin import mipin

COUNT, STEPS, FEATURES = 16, 5, 3


@pytest.mark.parametrize("options", [{}, {"conv_bias": True, "ridge": 0.1}, {"local": False}])
@pytest.mark.parametrize("name", PLAIN)
def test_files_by_hand(name: str, options: dict[str, Any]) -> None:
    """At every tensor, by the ops that the layers are."""
    assert_agrees(mr.load(plain_file(PLAIN[name])), samples(COUNT), "numpy", options)


@pytest.mark.parametrize("name", PLAIN)
def test_the_file_by_hand_is_read_as_its_steps_written_out(name: str) -> None:
    """The oracle's ops were written step by step beside the file, with its weights. They compute in double precision,
    the file in single: a ridge of 1e-3 keeps what is nearly singular within a few digits.
    """
    net, x = mr.load(plain_file(PLAIN[name])), samples(COUNT)
    res, expected = mr.fit(net, x, 1).attribute(x), mipin(PLAIN[name].ops, x.astype(np.float64), 1)
    for mine, theirs in ((res.source, expected.source["input"]), (res.attribution, expected.attribution["input"])):
        assert np.max(np.abs(mine - theirs)) < 1e-2 * np.max(np.abs(theirs))
        assert np.max(np.abs(theirs)) > 1e-3


EXPORTS: dict[str, dict[str, Any]] = {
    "tanh": {},
    "relu, two layers both ways, mean": {
        "nonlinearity": "relu",
        "num_layers": 2,
        "bidirectional": True,
        "read": "mean",
    },
    "time first, hidden state": {"first": False, "read": "hidden"},
    "both ways, both ends, no bias": {"bidirectional": True, "read": "both", "bias": False},
    "state of the input": {"read": "state"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "relu, two layers both ways, mean"])
def test_torch_writes_the_steps_out_to_the_same(name: str) -> None:
    """Torch's new exporter writes steps where its old one writes RNN: S and A are the same, and those of brute force.

    Without biases, which the new one leaves to the product with a state of zeros: in front of the first step they are
    constants of their own. Both are the same products of the same weights in single precision; a ridge of 1e-3 leaves
    1e-4 of what is nearly singular.
    """
    model = Sequence("RNN", **{**EXPORTS[name], "bias": False})
    x = np.random.default_rng(1).standard_normal((COUNT, STEPS, FEATURES)).astype(np.float32)
    nets = [mr.load(exported(model, dynamo=dynamo)) for dynamo in (False, True)]
    assert [any("RNN" in layer.output for layer in net.layers) for net in nets] == [True, False]
    one, other = (mr.fit(net, x, 1).attribute(x) for net in nets)
    for key in ("source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= 1e-4 * np.max(np.abs(theirs)), key
    for net in nets:
        assert_agrees(net, x, "numpy", {})


@pytest.mark.parametrize("name", EXPORTS)
def test_gradients_are_those_through_time(name: str) -> None:
    """By torch's own backward pass of its layer, in single precision: a step multiplies roundings by at most a few."""
    model = Sequence("RNN", **EXPORTS[name]).eval()
    net = mr.load(exported(model, dynamo=False))
    x = np.random.default_rng(2).standard_normal((4, STEPS, FEATURES)).astype(np.float32)
    given = torch.tensor(x if model.first else x.swapaxes(0, 1).copy(), requires_grad=True)
    model(given)[:, 1].sum().backward()
    assert given.grad is not None
    expected = given.grad.numpy() if model.first else given.grad.numpy().swapaxes(0, 1)
    res = mr.attribute(net, x, 1, "gradient")
    np.testing.assert_allclose(res.attribution, expected, rtol=0, atol=1e-5 * np.max(np.abs(expected)))


def test_the_past_reaches_the_logits_by_the_recurrent_product() -> None:
    """A sum over time without a bias, h = x + h': every step counts the same."""
    model = Sequence("RNN", nonlinearity="relu", bias=False)
    with torch.no_grad():
        for parameter, value in zip(model.layer.parameters(), (torch.eye(3), torch.eye(3)), strict=True):
            parameter.copy_(value)
    net = mr.load(exported(model, dynamo=False))
    x = np.random.default_rng(3).random((200, STEPS, FEATURES)).astype(np.float32)
    res = mr.attribute(net, x, 0, "gradient")
    assert np.allclose(res.attribution, res.attribution[:, :1])
    shares = np.abs(mr.fit(net, x, 0).attribute(x).attribution).sum((0, 2))
    assert np.min(shares) > 0.1 * np.max(shares)


@pytest.mark.parametrize("method", ["lrp-epsilon", "integrated-gradients", "deeplift"])
def test_other_methods_run(method: str) -> None:
    """They see a Dense, sums and activations: LRP and DeepLIFT share out what the logit is but for biases."""
    net, x = mr.load(plain_file(PLAIN["relu, both ways, all steps"])), samples(COUNT)
    assert mr.attribute(net, x, 1, method).attribution.shape == x.shape


def test_an_explainer_computes_the_same(tmp_path: Any) -> None:
    net, x = mr.load(plain_file(PLAIN["tanh, both ways, ends"])), samples(COUNT)
    inverse = mr.fit(net, x, 1)
    mr.export(inverse, tmp_path / "explainer.onnx", check=x)
    assert (tmp_path / "explainer.onnx").exists()
