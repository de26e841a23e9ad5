"""The pictures that commands write: one heatmap an image, and pages of inputs beside source signals and maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import mipin_ref as mr
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.tokens import grid_of
from mipin_ref.layers import HostArray
from mipin_ref.report.picture import explanation_page, save_png

ROWS = 10


def image_size(net: mr.Network | ForwardOnly, tensor: str) -> tuple[int, int] | None:
    """(H, W) of a tensor, or of the picture that its tokens lie in; None where it is neither."""
    grid = grid_of(net, tensor) if isinstance(net, mr.Network) else None
    if grid is not None and grid.places.ndim == 2:
        return grid.places.shape[0], grid.places.shape[1]
    shape, axis = net.shapes[tensor], net.channel_axis(tensor)
    size = [length for number, length in enumerate(shape, 1) if number != axis]
    return (size[0], size[1]) if len(size) == 2 else None


def write_heatmaps(maps: HostArray, out: Path, numbers: Sequence[int] | None = None) -> list[Path]:
    """heatmap_#####.png of each of the maps [N, H, W]; numbers: those in the files' names, by default from 0."""
    paths = [out / f"heatmap_{number:05d}.png" for number in numbers or range(len(maps))]
    for one, path in zip(maps, paths, strict=True):
        save_png(mr.heatmap(one), path)
    return paths


def write_pages(
    net: mr.Network, results: Sequence[mr.Attribution], out: Path, titles: Sequence[str], first: int = 0
) -> list[Path]:
    """page_###.png of ten samples each: value, source signal where there is one, attribution, contribution.

    results: of one network, tensor and method, explained in turn, each of one class; titles: one a sample; first:
    number of the first page.
    """
    value, attribution, output = (
        np.concatenate([getattr(res.oriented, name) for res in results]) for name in ("value", "attribution", "output")
    )
    inner = results[0].tensor != net.input
    source = of_source = None
    if results[0].signal is not None:
        source = np.concatenate([res.source for res in results])
        # A source signal carries no other input that the network would read beside it.
        if not inner and len(net.inputs) == 1:
            of_source = np.concatenate([net.scoring()(r.source, 0)[:, r.target] for r in results])
    paths = []
    for number, start in enumerate(range(0, len(value), ROWS), first):
        rows = slice(start, start + ROWS)
        page = explanation_page(
            value[rows],
            None if source is None else source[rows],
            attribution[rows],
            output[rows],
            None if of_source is None else of_source[rows],
            titles[rows],
            channel_axis=results[0].channel_axis,
            multiplier=results[0].multiplier,
            name="value X" if inner else "input",
            heading=f"tensor {results[0].tensor}" if inner else "",
        )
        paths.append(out / f"page_{number:03d}.png")
        save_png(page, paths[-1])
    return paths
