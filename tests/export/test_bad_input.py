"""What an export refuses, in a sentence, and that nothing is written then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.export import weight
from mipin_ref.layers.kind import BackWriter
from tests.golden.arrays import PATHS, read
from tests.layers.made_up import Negation, network

RNG = np.random.default_rng(0)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where nothing may be written."""
    yield tmp_path / "explainer.onnx"
    assert not list(tmp_path.iterdir())


def inverse(name: str = "golden_cnn", target: int = 1, **options: Any) -> mr.Inverse:
    x = np.asarray(read(name).arrays["x"])
    return mr.fit(mr.load(PATHS[name].parent / "model.onnx"), x, target, **{"ridge": 0.1} | options)


def test_inverses_of_different_models(path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="of different models or outputs; export each network by itself"):
        mr.export([inverse(), inverse("golden_conv_bias", 2)], path)


def test_inverses_of_different_tensors(path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="explain different tensors, 'input' and 'relu1'"):
        mr.export([inverse(), inverse(target=2, at="relu1")], path)


def test_inverses_of_different_options(path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="fitted with different options"):
        mr.export([inverse(), inverse(target=2, ridge=1.0)], path)


def test_inverses_of_different_preprocessing(path: Path) -> None:
    x = RNG.integers(0, 256, (12, 2, 8, 8), np.uint8)
    net = mr.load(PATHS["golden_cnn"].parent / "model.onnx")
    one, two = (
        mr.fit(net, x, target, ridge=0.1, preprocess=mr.data.Preprocessing(scale))
        for target, scale in ((0, 255.0), (1, 1.0))
    )
    with pytest.raises(mr.InvalidData, match="of different preprocessing"):
        mr.export([one, two], path)
    with pytest.raises(mr.InvalidData, match=r"another preprocessing .* than option 'preprocess' asks for"):
        mr.export(one, path, preprocess="inception")


def test_two_of_one_target(path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="two inverses are of one target"):
        mr.export([inverse(), inverse()], path)


@pytest.mark.parametrize("given", [None, [], {}, "three.mipin", [1], 3])
def test_what_is_no_inverse(given: Any, path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="export: needs an inverse, or several of one network"):
        mr.export(given, path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"at": "nowhere"}, "tensor 'nowhere' is not on the way"),
        ({"targets": [2]}, "there is no inverse of target 2"),
        ({"targets": []}, "option 'targets' names none"),
        ({"half": 1}, "half must be True or False"),
        ({"preprocess": "imagenet"}, "3 values of mean do not fit pixels of shape"),
        ({"class_names": ["a"]}, "names 1 classes; the network has 3"),
        ({"class_names": 3}, "list of class names"),
        ({"check": np.zeros((0, 2, 8, 8), np.float32)}, "no sample"),
        ({"check": np.zeros((2, 3, 8, 8), np.float32)}, "data have shape"),
    ],
)
def test_options(options: dict[str, Any], told: str, path: Path) -> None:
    with pytest.raises(mr.InvalidData, match=told):
        mr.export(inverse(), path, **options)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(mr.InvalidData, match="there is no folder"):
        mr.export(inverse(), tmp_path / "none" / "explainer.onnx")


class Stubborn(Negation):
    """A kind that says why it has no way back."""

    kind = "Stubborn"

    @property
    def no_way_back(self) -> str | None:
        return "nobody has written it"


def test_a_kind_without_a_way_back_is_refused_by_name(path: Path) -> None:
    odd = Stubborn(name="odd", inputs=("t",), output="u", in_shapes=((3, 4, 4),), out_shape=(3, 4, 4))
    fitted_ = mr.fit(network(odd), RNG.normal(size=(9, 3, 4, 4)).astype(np.float32), 1)
    with pytest.raises(mr.UnsupportedModel, match=r"Stubborn 'odd' \(nobody has written it\)") as told:
        mr.export(fitted_, path)
    assert told.value.nodes == ("Stubborn 'odd' (nobody has written it)",)


def test_more_weights_than_a_file_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before the first is copied."""
    monkeypatch.setattr(weight, "MAX_BYTES", 3000)
    with pytest.raises(mr.UnsupportedModel, match=r"would weigh [\d,]+ bytes, of which 3,000 .* 3 targets: take"):
        mr.export([inverse(target=target) for target in (0, 1, 2)], path)


class Wrong(Negation):
    """A kind whose way back, as written, has the wrong sign."""

    kind = "Wrong"

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return signal


def test_an_explainer_that_does_not_agree_is_not_written(path: Path) -> None:
    odd = Wrong(name="odd", inputs=("t",), output="u", in_shapes=((3, 4, 4),), out_shape=(3, 4, 4))
    turned = mr.fit(network(odd), RNG.normal(size=(9, 3, 4, 4)).astype(np.float32), 1)
    with pytest.raises(mr.UnsupportedModel, match=r"does not agree with this package .*, so nothing was written"):
        mr.export(turned, path)
