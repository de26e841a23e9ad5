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
from training import clutter_models, schedule
from training.clutter import Scenes, Sources, compose, load_sources
from training.clutter_models import RECIPES
from training.right import right_of
from training.schedule import Schedule

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
        ("PAIRS_PER_CLASS", 2),
    ):
        for module in (clutter_models, schedule):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def trained(name: str, how: Schedule, checkpoint: Path | None) -> dict[str, NDArray[Any]]:
    torch.manual_seed(0)
    model = RECIPES[name].build()
    clutter_models.fit(model, SOURCES, how, 0, checkpoint, pairs=RECIPES[name].pairs)
    return {key: value.numpy() for key, value in model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Schedule(1, 1) if RECIPES[name].pairs else Schedule(2)
    whole, checkpoint = trained(name, how, None), tmp_path / "checkpoint.npz"

    def interrupted(sources: Sources, split: str, samples: int, seed: int, *, pairs: bool) -> Scenes:
        if seed == schedule.FIRST_ROUND_SEED + 1:
            raise KeyboardInterrupt
        return compose(sources, split, samples, seed, pairs=pairs)

    with monkeypatch.context() as patched:
        patched.setattr(clutter_models, "compose", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(name, how, checkpoint)
    resumed = trained(name, how, checkpoint)
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        np.testing.assert_array_equal(resumed[key], value)
    with np.load(checkpoint, allow_pickle=False) as arrays:
        assert arrays["finished"] == 2


def test_variation_permutes_channels_and_scales() -> None:
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    orders = set()
    for seed in range(40):
        seen = clutter_models.varied(x, torch.Generator().manual_seed(seed)).numpy()
        channels = [next(c for c in range(3) if np.array_equal(seen[:, k] * 255, x[:, c])) for k in range(3)]
        orders.add(tuple(channels))
    assert len(orders) == 6


def test_scenes_of_further_rounds_are_rolled_both_ways() -> None:
    x = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(2, 3, 8, 8)
    seen = [clutter_models.varied(x, torch.Generator().manual_seed(seed), 2).numpy() * 255 for seed in range(200)]
    rolled = {
        (down, right): np.roll(x.numpy(), (down, right), (2, 3)) for down in range(-2, 3) for right in range(-2, 3)
    }
    # A pixel's value over 255 is rounded once, and times 255 again.
    met = {by for one in seen for by, expected in rolled.items() if np.allclose(one, expected, rtol=1e-6, atol=0)}
    assert met == set(rolled)


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

    test = compose(load_sources(mnist, fashion, "test"), "test", 30, 3, pairs=RECIPES[name].pairs)
    np.testing.assert_array_equal(samples["x_test"], test.x[:15])
    np.testing.assert_array_equal(samples["box_test"], test.boxes[:15])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = test.x.astype(np.float32) / 255
    (probabilities,) = session.run(None, {"input": x})
    if RECIPES[name].pairs:
        named = [set(np.argsort(one)[-2:].tolist()) for one in probabilities]
        right = np.array([[c in best for c in y.tolist()] for best, y in zip(named, test.y, strict=True)])
        assert card["both_objects"] == pytest.approx(right.all(axis=1).mean())
    else:
        right = probabilities.argmax(axis=1) == test.y
    assert card["accuracy"]["test"] == pytest.approx(right.mean())

    model = RECIPES[name].build()
    with np.load(checkpoint, allow_pickle=False) as arrays:
        model.load_state_dict({key: torch.from_numpy(np.array(arrays[f"model.{key}"])) for key in model.state_dict()})
    expected = model.eval()(torch.from_numpy(x)).detach().numpy()
    scale = np.abs(expected).max()
    # Folding batch norms into weights rounds each weight once more.
    np.testing.assert_allclose(logits(mr.load(folder / "model.onnx"), x), expected, rtol=0, atol=1e-5 * scale)
    norms = [node for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) == (13 if name == "clutter_resnet" else 0)


def test_of_two_objects_either_may_be_named_first() -> None:
    scores = np.array([[0.1, 0.5, 0.4, 0.0], [0.9, 0.05, 0.03, 0.02]])
    assert right_of(scores, np.array([[2, 1], [0, 3]])).tolist() == [[True, True], [True, False]]
    assert right_of(scores, np.array([1, 1])).tolist() == [True, False]


def test_the_loss_of_two_objects_is_least_where_both_have_half() -> None:
    y = torch.tensor([[0, 2]])
    halves = torch.log(torch.tensor([[0.5, 1e-9, 0.5]]))
    assert float(clutter_models.loss_of(halves, y)) == pytest.approx(np.log(2), rel=1e-6)
    # By hand: -(log .2 + log .8) / 2, and one object alone as ever.
    uneven = torch.log(torch.tensor([[0.2, 1e-9, 0.8]]))
    assert float(clutter_models.loss_of(uneven, y)) == pytest.approx(-(np.log(0.2) + np.log(0.8)) / 2, rel=1e-6)
    assert float(clutter_models.loss_of(uneven, y[:, 1])) == pytest.approx(-np.log(0.8), rel=1e-6)


def test_missing_files_and_a_nameless_checkpoint_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["clutter", "--mnist", str(tmp_path / "none.npz"), "--fashion", str(tmp_path / "none.npz")]
    for more, message in (([], "no file"), (["--checkpoint", "checkpoint.npz"], "name it with --only")):
        with pytest.raises(SystemExit) as stopped:
            train.main([*options, *more])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
