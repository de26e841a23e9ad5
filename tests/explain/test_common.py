"""`explain` of many classes: a part of their inverses is shared where that is cheaper; families are read lazily."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.panel.many import FEW, NEAR, common_of_many
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

CLASSES = 12
RIDGE = 300.0


def deep(convolutions: int = NEAR + 1) -> tuple[bytes, np.ndarray]:
    """More convolutions than are near the logits, and a sample of each class at least."""
    rng = np.random.default_rng(3)
    ops: list[Op] = []
    name, channels = "input", 2
    for i in range(convolutions):
        ops.append(Conv((name,), f"conv{i}", rng.standard_normal((4, channels, 1 if i > 2 else 3, 1 if i > 2 else 3))))
        ops.append(Activation((f"conv{i}",), f"relu{i}", "Relu"))
        name, channels = f"relu{i}", 4
    ops.append(Reshape((name,), "flat", (64,)))
    ops.append(Dense(("flat",), "scores", rng.standard_normal((64, CLASSES)) / 8))
    return to_onnx(ops, (2, 10, 10)), rng.standard_normal((60, 2, 10, 10)).astype(np.float32)


def explained(model: bytes, x: np.ndarray, told: dict[str, Any] | None = None, **given: Any) -> mr.Explanation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mr.CalibrationWarning)
        return mr.explain(
            model,
            x,
            at="input",
            calibration=x,
            dtype="float64",
            progress=False,
            ridge=RIDGE,
            **{**given, **(told or {})},
        )


@pytest.mark.slow
def test_many_classes_down_to_the_input_share_what_is_far_from_the_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `fit(common="auto")` of these classes, and near each class's own inverse, fitted by itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, x = deep(3)
    net = mr.load(model)
    target = np.resize(np.arange(CLASSES), len(x))
    ex = explained(model, x, target=target)
    fitted = ex.told[-1]
    assert fitted.startswith(f"the inverses of {CLASSES} classes: fitted; from ")
    assert "it agrees with those of classes" in fitted
    family: Any = mr.fit(net, x, list(range(CLASSES)), common="auto", ridge=RIDGE)
    correlations = []
    for c in (0, 5, 11):
        rows = target == c
        same = family[c].attribute(x[rows]).contribution
        np.testing.assert_allclose(ex.result.contribution[rows], same, rtol=0, atol=1e-9 * np.abs(same).max())
        alone = mr.fit(net, x, c, ridge=RIDGE).attribute(x[rows]).contribution
        correlations += [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(alone, same, strict=True)]
    assert np.median(correlations) > 0.99
    # One file for all of them, from which the next run takes what it needs, and to which a class more is added.
    assert len(list((tmp_path / "mipin_ref").glob("*.mipin"))) == 1
    again = explained(model, x, target=target)
    assert again.told[-1].startswith(f"the inverses of {CLASSES} classes: kept from an earlier run; from ")
    assert np.array_equal(again.result.contribution, ex.result.contribution)
    fewer = explained(model, x, target=np.resize(np.arange(CLASSES - 1), len(x)))
    assert "kept" in fewer.told[-1]


@pytest.mark.slow
def test_a_user_says_whether_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, x = deep()
    target = np.resize(np.arange(CLASSES), len(x))
    each = explained(model, x, target=target, common=None)
    assert each.told[-1] == f"the inverses of {CLASSES} classes: fitted"
    named = explained(model, x, target=target % 2, common="relu3")
    assert "from relu3 down one inverse for all targets" in named.told[-1]
    with pytest.raises(mr.InvalidData, match="tensor 'nowhere' is not on the way"):
        explained(model, x, target=target, common="nowhere")


def test_few_classes_and_tensors_near_the_logits_are_fitted_each() -> None:
    net = mr.load(deep()[0])
    assert common_of_many(net, range(FEW), {}) is None
    assert common_of_many(net, range(FEW + 1), {}) == "auto"
    assert common_of_many(net, range(FEW + 1), {"common": None}) is None
    assert common_of_many(net, range(FEW + 1), {"at": "relu1"}) is None
    assert common_of_many(net, range(FEW + 1), {"at": "relu0"}) == "auto"


def test_a_file_of_many_classes_is_read_class_by_class(tmp_path: Path) -> None:
    """What is damaged of one class leaves the others, and no inverse is read that nobody asks for."""
    model, x = deep()
    net = mr.load(model)
    family: Any = mr.fit(net, x, "all", common="relu3", at="relu2", ridge=RIDGE)
    path = tmp_path / "all.mipin"
    family.save(path)
    stacked = np.stack([inv.weights["flat"].blocks[0] for inv in family.values()]).tobytes()
    whole = bytearray(path.read_bytes())
    whole[whole.index(stacked) + 5 * len(stacked) // CLASSES] ^= 1
    path.write_bytes(whole)
    ex = mr.explain(model, x[:4], target=3, at=None, inverse=path, progress=False)
    wanted = family[3].attribute(x[:4]).contribution
    assert np.array_equal(ex.result.contribution, wanted)
    assert ex.inverse is not None
    assert len(ex.inverse) == CLASSES
    with pytest.raises(mr.CorruptFile, match="another checksum"):
        mr.explain(model, x[:4], target=5, at=None, inverse=path, progress=False)
    with pytest.raises(mr.InvalidData, match="two of the inverses are of class 0"):
        mr.explain(model, x[:4], target=3, inverse=[path, path], progress=False)
