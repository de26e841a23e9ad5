"""What an explainer weighs, before any of it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mipin_ref.errors import UnsupportedModel
from mipin_ref.export.asked import Asked
from mipin_ref.graph.emit import MAX_BYTES
from mipin_ref.layers import HostArray


def check_weight(asked: Asked, *, half: bool) -> None:
    """Raises UnsupportedModel where the weights of all targets do not fit into one file, with what they would weigh.

    half: whether those of the inverses are stored in half precision.
    """
    whole, most = asked.net.dtype.itemsize, MAX_BYTES
    itemsize, network = 2 if half else whole, whole * sum(layer.parameters for layer in asked.net.layers)
    if network + itemsize * _entries(asked, same=_identical) <= most:
        return
    # Inverses from files of their own hold equal weights in arrays of their own.
    weight = network + itemsize * _entries(asked, same=_equal)
    if weight <= most:
        return
    count = len(asked.inverses)
    fewer = "" if count == 1 else f"{count} targets: take fewer, option 'targets', or "
    raise UnsupportedModel(
        f"the explainer would weigh {weight:,} bytes, of which {most:,} fit into one file; {fewer}explain a tensor "
        "nearer to the logits, option 'at'" + ("" if half else ", or store inverses in half precision, option 'half'")
    )


def _entries(asked: Asked, *, same: Callable[[Sequence[HostArray]], bool]) -> int:
    total = 0
    for step in asked.steps:
        if not step.fitted:
            continue
        weights = [one.weights[step.tensor] for one in asked.inverses]
        for block in zip(*(one.blocks for one in weights), strict=True):
            total += block[0].size * (1 if same(block) else len(block))
    return total


def _identical(arrays: Sequence[HostArray]) -> bool:
    return all(one is arrays[0] for one in arrays)


def _equal(arrays: Sequence[HostArray]) -> bool:
    return all(one is arrays[0] or np.array_equal(one, arrays[0]) for one in arrays)
