"""The chart of `bench.py growth`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.sweep import Sweep


def chart(sweeps: Sequence[Sweep], path: Path) -> None:
    """Time above, memory below, a column a sweep; both axes logarithmic, with the fitted lines."""
    with matplotlib.rc_context({"svg.hashsalt": "growth", "font.size": 9}):
        figure = Figure(figsize=(3.4 * len(sweeps), 5.4), layout="constrained")
        panels = figure.subplots(2, len(sweeps), squeeze=False, sharex="col", sharey="row")
        for column, one in enumerate(sweeps):
            for row, (name, costs) in enumerate((("fit, seconds", one.seconds), ("memory, MB", one.memory))):
                panel, told = panels[row, column], np.array(costs) * (1e-6 if row else 1)
                panel.loglog(one.values, told, "o", color="C0")
                if len(one.values) > 1:
                    power, level = np.polyfit(np.log(one.values), np.log(told), 1)
                    line = np.exp(level) * np.array(one.values) ** power
                    panel.loglog(one.values, line, "-", color="C1", label=f"slope {power:.2f}")
                    panel.legend(frameon=False, loc="upper left")
                panel.set_xticks(one.values, [f"{value:,}" for value in one.values])
                panel.set_xticks([], minor=True)
                panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.yaxis.set_major_formatter("{x:g}")
                panel.yaxis.set_minor_formatter(NullFormatter())
                panel.grid(visible=True, which="major", alpha=0.3)
                if column == 0:
                    panel.set_ylabel(name)
                if row:
                    panel.set_xlabel(one.axis)
        figure.savefig(path, dpi=150)
