"""Records as rows: what pandas makes of them, against the record's own fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
import pytest

from tests.results import RECORDS, RESULTS

COLUMNS = {
    "APC": ["class", "samples", "apc", "positive", "median"],
    "BoxAccuracy": ["sample", "score"],
    "GridPointingGame": ["sample", "score"],
    "ClassSensitivity": ["sample", "distance"],
    "PixelCurve": ["sample", "fraction", "score", "auc"],
    "Randomization": ["tensor", "kind", "signed", "absolute", "ssim", "flat"],
    "RandomizationStep": ["tensor", "kind", "signed", "absolute", "ssim", "flat"],
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_a_frame(name: str) -> None:
    record = RECORDS[name]()
    frame = pandas.DataFrame(record)
    assert list(frame.columns) == COLUMNS[name]
    assert len(frame) == len(record) == len(list(record)) > 0
    assert all(kind.kind in "if" for column, kind in frame.dtypes.items() if column not in ("tensor", "kind", "ssim"))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_a_sequence_of_plain_rows(name: str) -> None:
    record = RECORDS[name]()
    assert isinstance(record, Sequence)
    assert record[0] == next(iter(record))
    assert record[-1] == list(record)[-1]
    assert record[:1] == [record[0]]
    assert bool(record)
    assert json.loads(json.dumps(list(record))) == list(record)


def test_the_means_come_back_from_the_rows() -> None:
    def frame(name: str) -> tuple[Any, Any]:
        record = RECORDS[name]()
        return record, pandas.DataFrame(record)

    apc, rows = frame("APC")
    assert rows.apc.mean() == pytest.approx(apc.apc, rel=1e-14)
    assert rows.positive.mean() == pytest.approx(apc.positive, rel=1e-14)
    for name, column in (("BoxAccuracy", "score"), ("GridPointingGame", "score"), ("ClassSensitivity", "distance")):
        record, rows = frame(name)
        assert rows[column].mean() == pytest.approx(record.mean, rel=1e-14), name
    curve, rows = frame("PixelCurve")
    np.testing.assert_allclose(rows.groupby("fraction").score.mean(), curve.curve, rtol=1e-14)
    assert rows.groupby("sample").auc.first().mean() == pytest.approx(curve.mean, rel=1e-14)
    steps, rows = frame("Randomization")
    assert rows.tensor.tolist() == [step.tensor for step in steps.steps]


def test_the_report_of_a_fit_is_a_frame() -> None:
    report = RESULTS["report"]()
    frame = pandas.DataFrame(report)
    assert frame.tensor.tolist() == [row.tensor for row in report]
    assert frame.r2.tolist() == [row.r2 for row in report]
    assert frame.seconds.tolist() == report.seconds
