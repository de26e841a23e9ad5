"""`mipin evaluate randomization`: whether maps change as the network forgets, layer by layer from the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref.attribution import Attribution
from mipin_ref.cli.arguments import names
from mipin_ref.cli.evaluate.argument import AT, MAP, SEED, Switch, Value, default_of
from mipin_ref.cli.evaluate.measure import Measure, Row
from mipin_ref.cli.evaluate.study import Study
from mipin_ref.errors import InvalidData
from mipin_ref.graph.redraw import redrawable
from mipin_ref.metrics import RandomizationStep, randomization
from mipin_ref.progress import progress_bar
from mipin_ref.table import format_table

COLUMNS = 10
"""Depths side by side in a table."""


class RandomizationMeasure(Measure):
    """Each method anew on each redrawn network: its inverses or patterns are fitted there."""

    arguments = (
        Value("tensors", names, "outputs of the layers to compare at (default all)", "T[,T...]"),
        Switch("ssim", "rank correlations alone", default=default_of(randomization, "ssim")),
        SEED,
        MAP,
        AT,
    )
    needs_layers = True

    def __init__(self, study: Study) -> None:
        options, self._study = study.options, study
        _ = study.size
        order = redrawable(study.network)
        asked = None if options.tensors is None else {study.net.tensor(name) for name in options.tensors}
        for name in sorted((asked or set()).difference(order)):
            raise InvalidData(f"--tensors: {name!r} is not the output of a layer with weights to draw anew")
        self._tensors = [name for name in order if asked is None or name in asked]
        kinds = {layer.output: layer.kind for layer in study.network.layers}
        self._kinds = {name: kinds[name] for name in self._tensors}
        study.held(len(study.rows), study.net.input_shape, study.net.input_shape)
        self._x = np.asarray(study.data[study.rows])
        if not np.isfinite(self._x).all():
            raise InvalidData("the samples hold NaN or Inf")
        self.settings: Mapping[str, Any] = {
            "samples": len(study.rows),
            "class": study.named,
            "seed": options.seed,
            "tensors": self._tensors,
            "ssim": options.ssim,
            "positive": False,
        }
        self.title = (
            f"cascading randomisation: similarity of the maps of {len(study.rows)} samples, the class as "
            f"{study.named}, to those before layers were redrawn from the top, seed {options.seed}; "
            f"{study.described(False)}; near 0 where a method depends on what the layers have learnt"
        )

    def row(self, name: str) -> Row | None:
        study, steps = self._study, list[RandomizationStep]()
        classes = np.unique(study.targets).tolist()
        panel = study.panel
        # Fits show a bar of their own on the network as it is.
        with study.failing(name):
            panel.ready(name, classes)
        if name in panel.failures:
            return None

        def explain(net: mr.Network, x: Any, target: int) -> Attribution:
            nonlocal panel
            if net is not panel.net:
                panel = study.panel_of(net, name)
                panel.ready(name, classes)
            return panel.explain(name, x, target)

        with study.failing(name), progress_bar(True) as begin:
            advance = begin(f"{name}, redrawn layers", len(self._tensors))

            def keep(step: RandomizationStep) -> None:
                steps.append(step)
                advance(1)

            randomization(
                study.network,
                explain,
                self._x,
                study.targets,
                kind=study.kind(name),
                tensors=self._tensors,
                ssim=study.options.ssim,
                seed=study.options.seed,
                on_step=keep,
            )
        # Steps before a failure are kept.
        return {"steps": [vars(step) for step in steps]} if steps else None

    def table(self, rows: Mapping[str, Row]) -> str:
        measures = {"signed": "Spearman", "absolute": "Spearman of absolute values"}
        if self._study.options.ssim:
            measures["ssim"] = "SSIM of absolute values"
        parts = []
        for key, heading in measures.items():
            for start in range(0, len(self._tensors), COLUMNS):
                depths = range(start, min(start + COLUMNS, len(self._tensors)))
                cells = [[name, *(_cell(row["steps"], depth, key) for depth in depths)] for name, row in rows.items()]
                parts.append(format_table([heading, *(str(depth + 1) for depth in depths)], cells))
        legend = [f"{number}  {kind} {name}" for number, (name, kind) in enumerate(self._kinds.items(), 1)]
        return "\n\n".join([*parts, "\n".join(["redrawn down to", *legend])])


def _cell(steps: list[dict[str, Any]], depth: int, key: str) -> str:
    value = steps[depth][key] if depth < len(steps) else None
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"
