"""Models of which inverses reach nothing but scores: those say of the classes what the classes say, so they are not
explained by them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, StandardScaler

from mipin_ref.cli import main

CLASSES, FEATURES = 3, 5


def rows() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Features, of which the second alone makes the class."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (150, FEATURES)).astype(np.float32)
    y = np.digitize(x[:, 1], [-0.5, 0.5])
    return x, y


def explained(folder: Path, classifier: Any, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], Any]:
    """What `mipin explain` prints of a classifier, and the attribution that it wrote."""
    x, y = rows()
    model = to_onnx(classifier.fit(x, y), x[:1], options={"zipmap": False})
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    np.save(folder / "x.npy", x[:20])
    assert main(["explain", str(folder / "net.onnx"), str(folder / "x.npy"), "-o", str(folder / "out")]) == 0
    with np.load(folder / "out" / "attribution.npz") as stored:
        return capsys.readouterr().out.splitlines(), stored["attribution"]


@pytest.mark.parametrize(
    "classifier",
    [
        SGDClassifier(loss="log_loss", random_state=0),
        CalibratedClassifierCV(LogisticRegression(), cv=2),
        QuadraticDiscriminantAnalysis(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_scores_are_not_explained_by_scores(
    classifier: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, attribution = explained(tmp_path, classifier, capsys)
    assert told[0].startswith("explained by kernel-shap, which needs the forward pass alone: nothing can be inverted")
    assert "holds no more than a score of each class" in told[0]
    assert attribution.shape[-1] == FEATURES
    strength = np.abs(attribution.reshape(20, FEATURES)).mean(axis=0)
    assert strength[1] > 2 * np.delete(strength, 1).max()


def test_features_behind_nodes_without_an_inverse_are_still_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights stand behind them, even where there are no more features than classes."""
    classifier = make_pipeline(StandardScaler(), Binarizer(), LogisticRegression())
    told, attribution = explained(tmp_path, classifier, capsys)
    assert "the nodes above it (1 ai.onnx.ml.Binarizer) have no inverse" in told[0]
    assert attribution.shape[-1] == FEATURES
