"""Training on boxed clutter: interrupted runs end as uninterrupted ones, and what is written is what was trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import mipin_ref as mr
import train
from mipin_ref.graph.forward import logits
from tests.tools.training.clutter_data import SOURCES, files
from training import clutter_models
from training.clutter import Scenes, Sources, compose, load_sources
from training.clutter_networks import RECIPES

NAMES = sorted(RECIPES)

# The exporter that keeps single nodes is the older one, and it says so.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("ROUND_SCENES", 32),
        ("BATCH", 16),
        ("PASSES", 2),
        ("WARM_STEPS", 2),
        ("EVALUATION_SCENES", 30),
        ("CALIBRATION_PER_CLASS", 2),
        ("TEST_SAMPLE_PER_CLASS", 1),
    ):
        monkeypatch.setattr(clutter_models, name, value)


def trained(name: str, rounds: int, checkpoint: Path | None) -> dict[str, NDArray[Any]]:
    torch.manual_seed(0)
    model = RECIPES[name].build()
    clutter_models.fit(model, SOURCES, rounds, 0, checkpoint)
    return {key: value.numpy() for key, value in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, checkpoint = trained(name, 2, None), tmp_path / "checkpoint.npz"

    def interrupted(sources: Sources, split: str, samples: int, seed: int) -> Scenes:
        if seed == clutter_models.FIRST_ROUND_SEED + 1:
            raise KeyboardInterrupt
        return compose(sources, split, samples, seed)

    with monkeypatch.context() as patched:
        patched.setattr(clutter_models, "compose", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(name, 2, checkpoint)
    resumed = trained(name, 2, checkpoint)
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value)
    with np.load(checkpoint, allow_pickle=False) as arrays:
        assert arrays["finished"] == 2


def test_the_learning_rate_rises_and_ends_at_zero() -> None:
    rates = [clutter_models.learning_rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(clutter_models.LEARNING_RATE / 2)
    assert rates[1] == max(rates)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_variation_permutes_channels_and_scales() -> None:
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    orders = set()
    for seed in range(40):
        seen = clutter_models.varied(x, torch.Generator().manual_seed(seed)).numpy()
        channels = [next(c for c in range(3) if np.array_equal(seen[:, k] * 255, x[:, c])) for k in range(3)]
        orders.add(tuple(channels))
    assert len(orders) == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_was_trained(name: str, tmp_path: Path) -> None:
    mnist, fashion = files(tmp_path)
    options = ["--mnist", mnist, "--fashion", fashion, "--only", name, "--rounds", 1, "--seed", 3]
    checkpoint, out = tmp_path / "checkpoint.npz", tmp_path / "out"
    train.main(["clutter", *map(str, options), "--checkpoint", str(checkpoint), "--out", str(out)])
    folder = out / name
    assert sorted(path.name for path in folder.iterdir()) == ["calibration.npz", "card.json", "model.onnx"]
    card = json.loads((folder / "card.json").read_text())
    content, file = ((folder / each).read_bytes() for each in ("model.onnx", "calibration.npz"))
    assert card["model_sha256"] == hashlib.sha256(content).hexdigest()
    assert card["calibration"]["sha256"] == hashlib.sha256(file).hexdigest()
    with np.load(folder / "calibration.npz", allow_pickle=False) as arrays:
        samples = dict(arrays)

    test = compose(load_sources(mnist, fashion, "test"), "test", 30, 3)
    np.testing.assert_array_equal(samples["x_test"], test.x[:15])
    np.testing.assert_array_equal(samples["box_test"], test.boxes[:15])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = test.x.astype(np.float32) / 255
    (probabilities,) = session.run(None, {"input": x})
    assert card["accuracy"]["test"] == pytest.approx((probabilities.argmax(axis=1) == test.y).mean())

    model = RECIPES[name].build()
    with np.load(checkpoint, allow_pickle=False) as arrays:
        model.load_state_dict({key: torch.from_numpy(np.array(arrays[f"model.{key}"])) for key in model.state_dict()})
    expected = model.eval()(torch.from_numpy(x)).detach().numpy()
    scale = np.abs(expected).max()
    # Folding batch norms into weights rounds each weight once more.
    np.testing.assert_allclose(logits(mr.load(folder / "model.onnx"), x), expected, rtol=0, atol=1e-5 * scale)
    norms = [node for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) == (13 if name == "clutter_resnet" else 0)


def test_missing_files_and_a_nameless_checkpoint_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["clutter", "--mnist", str(tmp_path / "none.npz"), "--fashion", str(tmp_path / "none.npz")]
    for more, message in (([], "no file"), (["--checkpoint", "checkpoint.npz"], "name it with --only")):
        with pytest.raises(SystemExit) as stopped:
            train.main([*options, *more])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
