"""The paper's networks trained another way."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from training.export import export
from training.files import MODELS
from training.paper_models import fit
from training.paper_networks import RECIPES
from training.paper_variants import Floats, Training, moments, recentred, trained
from training.sets import Dataset

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
"""What torch says of the exporter it has, whose single nodes for Flatten and Gemm are wanted."""

EPS = float(np.finfo(np.float32).eps)


def drawn(channels: int, side: int, count: int = 256) -> Dataset:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, count)
    x = rng.integers(0, 200, (count, channels, side, side), dtype=np.uint8)
    x[np.arange(count), 0, y] = 255
    return Dataset(x, y, x[:10], y[:10])


def logits_of(content: bytes, x: Floats) -> Floats:
    values: Floats = onnxruntime.InferenceSession(content).run(None, {"input": x})[0]
    logs: Floats = np.log(values)
    return logs


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recentred_network_is_the_same_function(name: str) -> None:
    content = (MODELS / name / "model.onnx").read_bytes()
    data = drawn(3, 32) if name == "rgb32_cnn" else drawn(1, 28)
    mean, deviation = moments(data.x_train)
    x = data.x_test.astype(np.float32) / 255
    theirs = logits_of(recentred(content, mean, deviation), (x - mean[:, None, None]) / deviation[:, None, None])
    # Sums of up to 7,744 products in another order and scale; log of probabilities down to 1e-20.
    np.testing.assert_allclose(theirs, logits_of(content, x), rtol=0, atol=2000 * EPS * 10)


def test_moments_are_those_of_the_floats() -> None:
    x = drawn(3, 12).x_train
    mean, deviation = moments(x)
    floats = x.astype(np.float64) / 255
    np.testing.assert_allclose(mean, floats.mean(axis=(0, 2, 3)), rtol=2 * EPS)
    np.testing.assert_allclose(deviation, floats.std(axis=(0, 2, 3)), rtol=4 * EPS)
    assert moments(x, normalised=False)[0].tolist() == [0, 0, 0]
    assert moments(x, normalised=False)[1].tolist() == [1, 1, 1]


def test_a_training_without_changes_is_the_recipe() -> None:
    data = drawn(1, 28)
    torch.manual_seed(4)
    model = RECIPES["mnist_mlp"].build()
    fit(model, data, 12, 4)
    x = data.x_test.astype(np.float32) / 255
    ours = logits_of(trained("mnist_mlp", Training(), data, 256, 4), x)
    # The exported file adds in another order than torch, 784 products.
    np.testing.assert_allclose(ours, logits_of(export(model, (1, 28, 28)), x), rtol=0, atol=784 * EPS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "training", [Training(dropout=0.0), Training(weight_decay=0.1), Training(epochs=0.1), Training(normalised=True)]
)
def test_every_change_changes_the_network(training: Training) -> None:
    data = drawn(1, 28)
    mean, deviation = moments(data.x_train, training.normalised)
    x = (data.x_test.astype(np.float32) / 255 - mean[:, None, None]) / deviation[:, None, None]
    plain = logits_of(trained("mnist_mlp", Training(), data, 256, 0), data.x_test.astype(np.float32) / 255)
    other = logits_of(trained("mnist_mlp", training, data, 256, 0), x)
    assert np.abs(plain - other).max() > 0.01
