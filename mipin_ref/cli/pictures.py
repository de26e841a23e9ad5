"""The pictures that commands write: one heatmap an image, and pages of inputs beside source signals and maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mipin_ref as mr
from mipin_ref.graph.forward import logits
from mipin_ref.report.picture import explanation_page, save_png
from mipin_ref.report.saliency import saliency

ROWS = 10


def write_pictures(net: mr.Network, results: Sequence[mr.Attribution], out: Path, titles: Sequence[str]) -> list[Path]:
    """heatmap_#####.png (signed contribution) of every sample, and page_###.png of ten samples each.

    results: of one network and tensor, explained in turn; titles: one a sample.
    """
    paths = []
    value, source, attribution = (
        np.concatenate([getattr(res, name) for res in results]) for name in ("value", "source", "attribution")
    )
    original = np.concatenate([res.output for res in results])
    inner = results[0].tensor != net.input
    of_source = original if inner else np.concatenate([logits(net, r.source)[:, r.target] for r in results])
    maps = np.concatenate([saliency(res, positive=False) for res in results])
    for number, page in enumerate(mr.heatmap(maps)):
        paths.append(out / f"heatmap_{number:05d}.png")
        save_png(page, paths[-1])
    for number, start in enumerate(range(0, len(value), ROWS)):
        rows = slice(start, start + ROWS)
        picture = explanation_page(
            value[rows],
            source[rows],
            attribution[rows],
            original[rows],
            of_source[rows],
            titles[rows],
            channel_axis=results[0].channel_axis,
        )
        paths.append(out / f"page_{number:03d}.png")
        save_png(picture, paths[-1])
    return paths
