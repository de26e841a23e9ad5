"""An Explanation in a notebook: file, class and three pictures a row."""

from __future__ import annotations

import numpy as np

import mipin_ref as mr
from mipin_ref.report.heatmap import heatmap
from tests.report.test_notebook import Page


def test_an_explanation_is_rows_of_pictures() -> None:
    digits = mr.data.builtin("mnist_cnn")
    x = mr.data.open_data(digits.calibration)[:3]
    shown = mr.explain(digits.model, x, method="grad-cam", at=None, progress=False)
    page = Page(shown._repr_html_())
    assert len(page.rows) == 4
    assert all(name in row[0] for name, row in zip(shown.names, page.rows[1:], strict=True))
    assert len(page.pictures) == 9
    np.testing.assert_array_equal(page.pictures[1], heatmap(shown.maps[0]))
    np.testing.assert_array_equal(page.pictures[2], mr.overlay(x[0, 0], shown.maps[0]))
