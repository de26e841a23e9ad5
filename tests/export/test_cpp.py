"""The program in C++ that the page of exports shows, built against OpenVINO's package."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from tests.pages.page import COMMANDS, CPP, ROOT, TEXTS, blocks
from tests.pages.test_pages import run_page

PAGE = "mipin_ref/export/README.md"


@pytest.mark.slow
def test_what_the_page_shows_tells_what_this_package_tells(tmp_path: Path) -> None:
    shown = blocks(TEXTS[PAGE])
    (place,) = [number for number, block in enumerate(shown) if block.language == CPP]
    program, command = shown[place : place + 2]
    assert command.language in COMMANDS
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    folder = ROOT / "models_onnx" / "clutter_vgg"
    net = mr.load(folder / "model.onnx")
    with np.load(folder / "calibration.npz") as stored:
        x, pixels = stored["x"][:60], stored["x_test"][:1]
    inverses = mr.fit(net, x, [3, 7], ridge=1.0, dtype="float32", preprocess=mr.data.Preprocessing(255.0))
    given = pixels.astype(np.float32) / 255
    mr.export(inverses, scratch / "explainer.onnx", preprocess="unit", check=given)
    pixels.transpose(0, 2, 3, 1).tofile(scratch / "pixels.raw")

    done = run_page(PAGE, f"```{CPP}\n{program.text}```\n\n```\n{command.text}```\n", scratch)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"logit (\S+), map \[1,64,64\], brightest at (\d+)\n", done.stdout)
    assert found is not None, done.stdout
    res = inverses[3].attribute(given)
    assert abs(float(found[1]) - res.output[0]) <= 1e-5 * abs(res.output[0])
    assert int(found[2]) == mr.saliency(res, size="input").argmax()
