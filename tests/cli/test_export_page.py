"""`mipin export --html`: the page beside the explainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.cli import main

EXAMPLE = mr.data.builtin("mnist_mlp")


@pytest.fixture(scope="module")
def inverse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted inverse of the digit 3, at the first hidden layer's input."""
    path = tmp_path_factory.mktemp("fitted") / "three.mipin"
    x = np.load(EXAMPLE.calibration)["x"][:100].astype(np.float32) / 255
    mr.fit(EXAMPLE.model, x, 3).save(path)
    return path


def test_the_page_begins_with_the_samples_it_was_checked_on(
    inverse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "explainer.onnx", tmp_path / "page.html"
    given = ["export", str(EXAMPLE.model), "--inverse", str(inverse), "-o", str(out), "--html", str(page)]
    checked = ["--preprocess", "unit", "--check", str(EXAMPLE.calibration), "--key", "x_test"]
    assert main([*given, *checked]) == 0
    assert f"{page}: {page.stat().st_size:,} bytes" in capsys.readouterr().out
    text = page.read_text("utf-8")
    assert text.count('class="example"') == 12
    assert '"targets": [3]' in text
    assert '"target": null' in text


def test_a_page_needs_a_preprocessing_and_a_place(
    inverse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "explainer.onnx", tmp_path / "page.html"
    given = ["export", str(EXAMPLE.model), "--inverse", str(inverse), "-o", str(out), "--html"]
    assert main([*given, str(page)]) == 2
    assert "option 'preprocess' says it" in capsys.readouterr().err
    assert main([*given, str(out), "--preprocess", "unit"]) == 2
    assert "cannot both be written to" in capsys.readouterr().err
    assert main([*given, str(inverse), "--preprocess", "unit"]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
