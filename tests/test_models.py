"""The embedded networks: what their cards say is true of the files beside them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.data import builtin, builtin_names
from mipin_ref.graph.forward import logits

NAMES = ("mnist_cnn", "mnist_mlp", "rgb32_cnn")


def test_all_three_are_there() -> None:
    assert set(builtin_names()) >= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_card_and_files_agree(name: str) -> None:
    found = builtin(name)
    net = mr.load(found.model)
    assert hashlib.sha256(found.model.read_bytes()).hexdigest() == found.card["model_sha256"] == net.sha256
    assert found.calibration.stat().st_size <= 410_000
    assert net.removed_softmax == "Softmax"
    with np.load(found.calibration, allow_pickle=False) as data:
        x, y, x_test, y_test = (data[key] for key in ("x", "y", "x_test", "y_test"))
    assert x.dtype == x_test.dtype == np.uint8
    assert x.shape[1:] == x_test.shape[1:] == net.input_shape
    assert np.array_equal(np.unique(y), np.arange(net.classes))
    assert len(y_test) == len(x_test) == 100
    predicted = logits(net, x_test.astype(np.float32) / 255).argmax(axis=1)
    # 100 samples: three standard deviations of a binomial around the accuracy on the card.
    accuracy = found.card["accuracy"]["test"]
    assert abs(np.mean(predicted == y_test) - accuracy) <= 3 * np.sqrt(accuracy * (1 - accuracy) / 100)


@pytest.mark.parametrize(("name", "share"), [("mnist_mlp", 0.8), ("mnist_cnn", 0.8), ("rgb32_cnn", 0.9)])
def test_the_source_signal_resembles_its_input(name: str, share: float) -> None:
    """Fitted on the target class, it comes nearer to the input than the class's mean image, by a share of the squared
    distance; less so on rgb32, whose textured background tells nothing of the class.
    """
    found = builtin(name)
    net = mr.load(found.model)
    with np.load(found.calibration, allow_pickle=False) as data:
        x, y = data["x"].astype(np.float32) / 255, data["y"]
    inv = mr.fit(net, x, 2, labels=y, fit_on="target_class", dtype="float32")
    mine = x[y == 2][:20]
    res = inv.attribute(mine)
    error = np.sum((res.source - mine) ** 2)
    assert error < share * np.sum((x[y == 2].mean(axis=0) - mine) ** 2)
    assert np.all(np.isfinite(res.attribution))
