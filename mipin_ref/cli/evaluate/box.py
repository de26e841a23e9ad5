"""`mipin evaluate box`: box accuracy of each method's maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mipin_ref.cli.evaluate.argument import AT, MAP, SIGNED, Value
from mipin_ref.cli.evaluate.measure import Measure, Row
from mipin_ref.cli.evaluate.study import Study
from mipin_ref.data import open_boxes
from mipin_ref.errors import InvalidData
from mipin_ref.metrics import box_accuracy
from mipin_ref.metrics.boxes import PERCENT, inside_of, is_small
from mipin_ref.table import format_table


class BoxMeasure(Measure):
    """Box accuracy of the positive part of the maps, or of signed ones, at the size of the input."""

    arguments = (
        Value(
            "boxes",
            str,
            "x0, y0, x1, y1 of each sample, ends excluded: .npz (key box, else boxes) or .npy in pixels of the "
            'network\'s input; or .json, {"file name": [x0, y0, x1, y1]}, in pixels of each image of the folder DATA',
            "FILE",
            required=True,
        ),
        Value("box_key", str, "array of an .npz", "NAME"),
        MAP,
        AT,
        SIGNED,
    )

    def __init__(self, study: Study) -> None:
        options, size = study.options, study.size
        boxes = open_boxes(
            options.boxes,
            options.data,
            key=options.box_key,
            samples=len(study.data),
            shape=study.net.input_shape,
            exif=options.exif,
        )
        # Boxes of samples that are not used are checked too: they tell of a wrong file as well.
        inside = (inside_of(f"{options.boxes}, sample {i}", box, size) for i, box in enumerate(boxes))
        shares = np.array([one.mean() if is_small(one) else np.nan for one in inside])[study.rows]
        self._study, self._size = study, size
        self._boxes = [boxes[i] for i in study.rows]
        small = int(np.sum(~np.isnan(shares)))
        if not small:
            raise InvalidData(f"{options.boxes}: no box covers less than {PERCENT} % of its image")
        study.held(len(study.rows), size)
        self.settings: Mapping[str, Any] = {
            "samples": len(study.rows),
            "left_out": len(study.rows) - small,
            "chance": float(np.nanmean(shares)),
            "class": study.named,
            "positive": not options.signed,
            "size": size,
        }
        self.title = (
            f"box accuracy (paper, 6.3) of {small} samples, {len(study.rows) - small} more left out, whose "
            f"box is {PERCENT} % of the image or more; the class as {study.named}; "
            f"{study.described(not options.signed)} at {size[0]}×{size[1]}; {self.settings['chance']:.4f} by chance, "
            "higher is better"
        )

    def row(self, name: str) -> Row | None:
        study = self._study
        positive = not study.options.signed
        parts = study.explained(
            name, study.samples(study.rows), study.targets, lambda res, _: study.maps(res, positive, self._size)
        )
        if parts is None:
            return None
        with study.failing(name):
            accuracy = box_accuracy(np.concatenate(parts), self._boxes)
            return {"mean": accuracy.mean, "flat": accuracy.flat, "scores": accuracy.scores}
        return None

    def table(self, rows: Mapping[str, Row]) -> str:
        cells = [[name, f"{row['mean']:.4f}", str(row["flat"])] for name, row in rows.items()]
        return format_table(["method", "box accuracy", "maps equal everywhere (score 0)"], cells)
