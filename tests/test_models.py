"""The embedded networks: what their cards say is true of the files beside them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.data import builtin, builtin_names
from mipin_ref.graph.forward import logits
from training import clutter

NAMES = ("mnist_cnn", "mnist_mlp", "rgb32_cnn")
CLUTTER = ("clutter_resnet", "clutter_se", "clutter_vgg")
PAIRS = ("pairs_resnet", "pairs_se", "pairs_vgg", "pairs_vit")


def test_all_three_are_there() -> None:
    assert set(builtin_names()) >= set(NAMES)


def test_the_clutter_networks_are_there() -> None:
    assert set(builtin_names()) >= {*CLUTTER, *PAIRS}


@pytest.mark.parametrize("name", NAMES)
def test_card_and_files_agree(name: str) -> None:
    found = builtin(name)
    net = mr.load(found.model)
    assert hashlib.sha256(found.model.read_bytes()).hexdigest() == found.card["model_sha256"] == net.sha256
    assert found.calibration.stat().st_size <= 410_000
    assert net.head == "softmax"
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


@pytest.mark.slow
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


@pytest.mark.parametrize("name", CLUTTER)
def test_card_and_files_of_a_clutter_network_agree(name: str) -> None:
    found = builtin(name)
    net = mr.load(found.model)
    card = found.card
    assert hashlib.sha256(found.model.read_bytes()).hexdigest() == card["model_sha256"] == net.sha256
    assert hashlib.sha256(found.calibration.read_bytes()).hexdigest() == card["calibration"]["sha256"]
    assert found.model.stat().st_size <= 1_000_000
    assert found.calibration.stat().st_size <= 710_000
    assert net.head == "softmax"
    assert len([layer for layer in net.layers if layer.kind == "Conv"]) >= 7
    assert card["class_names"] == clutter.CLASS_NAMES
    assert len(card["class_names"]) == net.classes
    with np.load(found.calibration, allow_pickle=False) as data:
        x, y, box, x_test, y_test, box_test = (data[k] for k in ("x", "y", "box", "x_test", "y_test", "box_test"))
    assert x.dtype == x_test.dtype == np.uint8
    assert x.shape[1:] == x_test.shape[1:] == net.input_shape == (3, 64, 64)
    assert np.array_equal(np.bincount(y), np.full(15, card["calibration"]["count_per_class"]))
    assert np.array_equal(np.bincount(y_test), np.full(15, card["calibration"]["test_count_per_class"]))
    x0, y0, x1, y1 = np.concatenate([box, box_test]).T
    assert np.all((x0 >= 0) & (x0 < x1) & (x1 <= 64) & (y0 >= 0) & (y0 < y1) & (y1 <= 64))
    assert np.max((x1 - x0) * (y1 - y0)) < 0.33 * 64 * 64
    assert min(card["accuracy"].values()) >= 0.95
    predicted = logits(net, x_test.astype(np.float32) / 255).argmax(axis=1)
    # 45 scenes at the accuracy on the card: more than 5 wrong have a probability below one in a hundred.
    assert np.sum(predicted != y_test) <= 5


@pytest.mark.parametrize("name", PAIRS)
def test_card_and_files_of_a_network_of_two_objects_agree(name: str) -> None:
    made = builtin(name)
    net = mr.load(made.model)
    card = made.card
    assert hashlib.sha256(made.model.read_bytes()).hexdigest() == card["model_sha256"] == net.sha256
    assert hashlib.sha256(made.calibration.read_bytes()).hexdigest() == card["calibration"]["sha256"]
    assert made.model.stat().st_size <= 2_000_000
    assert made.calibration.stat().st_size <= 300_000
    assert card["class_names"] == clutter.CLASS_NAMES
    # Its last map is fine enough to tell two objects of 20 to 28 pixels apart.
    res = mr.attribute(net, np.zeros((1, 3, 64, 64), np.float32), 0, "grad-cam")
    assert (res.value.shape[2:] if res.places is None else res.places.shape) == (8, 8)
    with np.load(made.calibration, allow_pickle=False) as data:
        x, y, box, x_test, y_test = (data[key] for key in ("x", "y", "box", "x_test", "y_test"))
    assert y.shape == (len(x), 2)
    assert box.shape == (len(x), 2, 4)
    assert np.array_equal(np.bincount(y[:, 0]), np.full(15, card["calibration"]["count_per_class"]))
    best = np.argsort(logits(net, x_test.astype(np.float32) / 255), axis=1)[:, -2:]
    right = np.mean([[c in two for c in pair] for two, pair in zip(best.tolist(), y_test.tolist(), strict=True)])
    # 30 objects: three standard deviations of a binomial around the accuracy on the card.
    accuracy = card["accuracy"]["test"]
    assert abs(right - accuracy) <= 3 * np.sqrt(accuracy * (1 - accuracy) / 30)
    assert card["both_objects"] <= accuracy


@pytest.mark.parametrize("name", CLUTTER)
def test_clutter_networks_are_fitted_down_to_the_pixels(name: str) -> None:
    found = builtin(name)
    net = mr.load(found.model)
    with np.load(found.calibration, allow_pickle=False) as data:
        x, x_test, y_test = (data[key] for key in ("x", "x_test", "y_test"))
    inv = mr.fit(net, x[:60].astype(np.float32) / 255, 3, dtype="float32")
    res = inv.attribute(x_test[y_test == 3].astype(np.float32) / 255)
    assert res.source.shape == (3, 3, 64, 64)
    assert np.isfinite(res.source).all()
    assert np.all(np.abs(res.attribution).max(axis=(1, 2, 3)) > 0)
    assert inv.report.tensors[-1].tensor == "input"
