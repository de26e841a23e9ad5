"""The page that `mipin demo --html` writes, in headless Chromium: drawn on, and as this package explains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.chromium import assert_silent, look, running
from tests.export.page.visitor import bar, draw, made, pressed, visit, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_digit_is_drawn_on_the_page_of_the_demonstration(tmp_path: Path) -> None:
    """Its maps are off by what eight bits leave: correlations of .999; classes and logits are the network's."""
    page = tmp_path / "digits.html"
    assert main(["demo", "--html", str(page)]) == 0
    builtin = mr.data.builtin("mnist_mlp")
    with np.load(builtin.calibration) as stored:
        x = stored["x"][:1000].astype(np.float32) / 255
    inverses = mr.fit(mr.load(builtin.model), x, [1, 7])
    with running(tmp_path / "profile") as chromium:
        look(chromium, 1280, "light")
        visit(chromium, page)
        draw(chromium, (-60, -80), (60, -80), (-10, 90))
        wait_for(chromium, "Your drawing: taken for 7")
        assert pressed(chromium) == ["7"]
        for target in (7, 1):
            if target == 1:
                bar(chromium, "1").click()
                wait_for(chromium, "Shown is what speaks for 1.")
            one = made(chromium)
            assert one.target == target
            drawn = (one.input / 255).astype(np.float32).reshape(1, 1, 28, 28)
            res = inverses[target].attribute(drawn)
            np.testing.assert_allclose(one.outputs["logit"], res.output[0], rtol=1e-3)
            a, b = one.outputs["contribution"].ravel(), res.contribution.ravel()
            assert a @ b >= 0.999 * np.linalg.norm(a) * np.linalg.norm(b)
        assert_silent(chromium, page.as_uri(), unpacks=True)
