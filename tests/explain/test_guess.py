"""The guess of a preprocessing: networks that see pixels at one scale only, and those that say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.data import PRESETS
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.chosen import choose, guess_of
from mipin_ref.explain.class_names import class_names_of
from mipin_ref.explain.guess import guess
from mipin_ref.explain.inputs import Inputs
from tests.explain.photographs import CLASSES, scenes, trained_on

IMAGES = 20


@pytest.fixture(params=list(PRESETS))
def preset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(preset: str) -> tuple[mr.Network, Inputs]:
    """A network that was trained under a preset, and images that it has not seen."""
    net = mr.load(trained_on(preset))
    return net, Inputs.of(net, scenes(IMAGES, seed=1)[0])


@pytest.mark.slow
def test_the_preset_that_a_network_was_trained_with(preset: str) -> None:
    """Where it is not clear which, nothing but bytes / 255 is taken, and it is said."""
    net, inputs = made(preset)
    table = guess(net, inputs.open, range(IMAGES), every=True)
    assert table is not None
    assert table.preset == preset, table.table(class_names_of(net))
    assert table.clear or preset == "unit"
    quick = guess(net, inputs.open, range(IMAGES))
    assert quick is not None
    assert quick.preset == preset


def test_the_packaged_networks_without_their_cards() -> None:
    for name in ("mnist_cnn", "mnist_mlp", "rgb32_cnn", "clutter_resnet", "clutter_vgg"):
        example = mr.data.builtin(name)
        net = mr.load(example.model)
        found = guess(net, Inputs.of(net, example.calibration, key="x_test", limit=IMAGES).open, range(IMAGES))
        assert found is not None
        assert (found.preset, found.clear) == ("unit", True), name


def test_the_table_has_a_row_a_preset() -> None:
    net, inputs = made("imagenet")
    found = guess(net, inputs.open, range(IMAGES), every=True)
    assert found is not None
    lines = found.table(class_names_of(net, CLASSES)).splitlines()
    assert next(line.split()[0] for line in lines[1:]) == "imagenet"
    assert {line.split()[0] for line in lines[1:]} == set(PRESETS)
    assert "mean top-1 probability" in lines[0]
    assert any(name in lines[1] for name in CLASSES)


def test_a_network_that_says_nothing_gets_unit_and_a_warning_word() -> None:
    net, _ = made("unit")
    grey = np.full((4, 24, 24, 3), 127, np.uint8)
    found = guess(net, Inputs.of(net, grey).open, range(4))
    assert found is not None
    assert (found.preset, found.clear) == ("unit", False)
    assert "may be wrong" in found.line()


def test_the_order_of_what_is_known(tmp_path: Path) -> None:
    net, inputs = made("inception")
    begin = lambda text, total: lambda n: None  # noqa: E731
    model = tmp_path / "net.onnx"
    assert "guessed: inception" in choose(net, inputs, None, None, model, Cache(None), begin).line
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "rescale_factor": 0.0039215686274}'
    )
    told = choose(net, inputs, None, None, model, Cache(None), begin)
    assert told.line.startswith("preprocessing imagenet")
    assert "preprocessor_config.json" in told.line
    assert choose(net, inputs, PRESETS["raw"], None, model, Cache(None), begin).line.endswith("as asked for")


def test_the_models_metadata_come_first() -> None:
    proto = onnx.load_from_string(trained_on("caffe"))
    onnx.helper.set_model_props(
        proto, {"Image.NominalPixelRange": "NominalRange_0_255", "Image.BitmapPixelFormat": "Bgr8"}
    )
    net = mr.load(proto)
    images, _ = scenes(4, seed=1)
    chosen = choose(net, Inputs.of(net, images), None, None, None, Cache(None), lambda text, total: lambda n: None)
    assert chosen.preprocessing is not None
    assert chosen.preprocessing.bgr
    assert chosen.preprocessing.scale == 1.0


def test_a_guess_is_kept(tmp_path: Path) -> None:
    net, inputs = made("raw")
    cache, calls = Cache(tmp_path / "cache"), list[int]()

    def begin(text: str, total: int):  # type: ignore[no-untyped-def]
        calls.append(total)
        return lambda n: None

    first, second = (guess_of(net, inputs, cache, begin) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.line() == second.line()
    assert len(calls) == 1
