"""What the golden cases hold in numbers, against their arrays and manifests, read another way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import make_golden
from golden.recipe import CASES, MODELS
from golden.told import DTYPES, summary


def test_tolerances_as_parts_of_what_the_arrays_hold() -> None:
    told = summary(MODELS)
    assert told["values"]["cases"] == len(CASES)
    parts: dict[tuple[str, str], list[float]] = {}
    size = 0
    for name in CASES:
        folder = MODELS / name / "golden"
        arrays = load_file(folder / "arrays.safetensors")
        size += sum(len(path.read_bytes()) for path in folder.iterdir())
        for stage in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stages"]:
            for tensor in stage["tensors"]:
                for dtype in () if tensor["exact"] else DTYPES:
                    bound, largest = tensor["tolerance"][dtype], np.abs(arrays[tensor["array"]]).max(initial=0)
                    # A tensor of zeros alone has no part.
                    part = np.nan if bound is None else bound / largest if largest else 0.0
                    parts.setdefault((stage["name"], dtype), []).append(part)
    assert told["values"]["bytes"] == size
    assert {row["stage"] for row in told["rows"]} == {stage for stage, _ in parts}
    for row in told["rows"]:
        for dtype in DTYPES:
            expected = parts[row["stage"], dtype]
            assert row["tensors"] == len(expected)
            assert row[f"{dtype}_left"] == np.isnan(expected).sum()
            # Weights are stored in float64, the largest value in the manifest is of the same.
            assert row[f"{dtype}_median"] == pytest.approx(np.nanmedian(expected), rel=1e-6)
            assert row[f"{dtype}_largest"] == pytest.approx(np.nanmax(expected), rel=1e-6)


def test_the_summary_is_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_golden.main(["--summary", "--json", str(tmp_path / "told.json")]) == 0
    printed = capsys.readouterr().out
    assert f"\n{len(CASES)} cases, " in printed
    assert printed.startswith("| stage | float64 | float32 |\n")
    assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8")) == summary(MODELS)
