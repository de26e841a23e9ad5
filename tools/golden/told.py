"""What the golden cases under models_onnx/ hold, in numbers: how many they are, and how large their tolerances."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from measured.cells import Row, filled, heading

DTYPES = ("float64", "float32")
COLUMNS = {
    "stage": "{stage}",
    **{dtype: f"{{{dtype}_median:.0e}}, {{{dtype}_largest:.0e}}; {{{dtype}_left}} of {{tensors}}" for dtype in DTYPES},
}


def summary(models: Path) -> dict[str, Any]:
    """rows: one a stage, of all tensors that are compared by a tolerance: median and largest tolerance as a part of the
    tensor's largest value, and how many tensors are left out at a precision; values: cases, and bytes together.
    """
    folders = [path.parent for path in sorted(models.glob("*/golden/manifest.json"))]
    manifests = [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in folders]
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    by_stage: dict[str, list[dict[str, Any]]] = {}
    for manifest in manifests:
        for stage in manifest["stages"]:
            some = [one for one in stage["tensors"] if not one["exact"]]
            by_stage.setdefault(stage["name"], []).extend(some)
    rows = [{"stage": stage, "tensors": len(some), **_parts(some)} for stage, some in by_stage.items()]
    return {"rows": rows, "values": {"cases": len(folders), "bytes": size}}


def _parts(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for dtype in DTYPES:
        parts = [
            one["tolerance"][dtype] / one["largest"] if one["largest"] else 0.0
            for one in tensors
            if one["tolerance"][dtype] is not None
        ]
        told |= {f"{dtype}_median": median(parts), f"{dtype}_largest": max(parts)}
        told[f"{dtype}_left"] = len(tensors) - len(parts)
    return told


def printed(rows: list[Row]) -> str:
    """The table of tolerances in Markdown."""
    return "\n".join([*heading(COLUMNS), *(filled(COLUMNS, row) for row in rows)])
