"""Average percentage change: how far the logit moves when the source signal takes the input's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.forward import logits
from mipin_ref.graph.network import Network
from mipin_ref.metrics.record import Record, Row
from mipin_ref.table import format_table

Floats = npt.NDArray[np.float64]

TOO_SMALL = 1e-6
"""Logits nearer to zero are left out: their percentage change means nothing."""


@dataclass(frozen=True)
class APC(Record):
    """apc, positive: fractions (0.101 is the paper's 10.10 %), means over classes of means over samples;
    median: of the absolute change, mean over classes of medians over samples, which no logit near zero can dominate;
    per_class: class -> (apc, positive, median, samples); left_out: samples whose |logit| is below 1e-6.
    """

    apc: float
    positive: float
    median: float
    per_class: Mapping[int, tuple[float, float, float, int]]
    left_out: int

    def rows(self) -> list[Row]:
        """One a class: class, samples, apc, positive, median."""
        return [
            {"class": target, "samples": samples, "apc": change, "positive": positive, "median": median}
            for target, (change, positive, median, samples) in self.per_class.items()
        ]

    def __str__(self) -> str:
        rows = [
            [str(target), str(count), f"{change:.2%}", f"{positive:.2%}", f"{median:.2%}"]
            for target, (change, positive, median, count) in self.per_class.items()
        ]
        rows.append(["mean", "", f"{self.apc:.2%}", f"{self.positive:.2%}", f"{self.median:.2%}"])
        table = format_table(["class", "samples", "APC", "positive APC", "median"], rows)
        return table + (f"\n{self.left_out} samples with |logit| < {TOO_SMALL:g} left out" if self.left_out else "")


def apc(net: Network, results: Mapping[int, Attribution]) -> APC:
    """APC (paper, Eq. 10) and positive APC (Eq. 11).

    results: class c -> the attribution, explained down to the network's input, of samples of class c for target c.
    Raises InvalidData where a result explains another class or an inner tensor, or a class has no sample left.

    >>> import mipin_ref as mr
    >>> folder = next(folder for folder in mr.golden.cases() if folder.parent.name == "golden_mlp")
    >>> case = mr.golden.read_case(folder)
    >>> net, x = mr.load(case.model), case.given("x")
    >>> record = mr.metrics.apc(net, {1: mr.fit(net, x, target=1).attribute(x)})
    >>> print(f"{record.apc:.2f} {record.positive:.2f}")
    0.78 0.43
    """
    if not isinstance(results, Mapping):
        raise InvalidData(f"APC needs attributions by class, not {shown(results)}")
    return summary({target: changes(net, target, res) for target, res in results.items()})


def changes(net: Network, target: int, res: Attribution) -> Floats:
    """[N] relative change of the logit of each sample, (Φ_c(X) - Φ_c(S)) / |Φ_c(X)|, NaN where |Φ_c(X)| < 1e-6.

    Raises InvalidData where the result explains another class or an inner tensor.
    """
    target = net.check_target(target)
    if not isinstance(res, Attribution):
        raise InvalidData(f"APC of class {target} needs an Attribution, not {shown(res)}")
    if not isinstance(res.target, int) or res.target != target or res.tensor != net.input:
        raise InvalidData(
            f"APC needs attributions of class {target} at the input {net.input!r}, "
            f"not of class {res.target} at {res.tensor!r}"
        )
    if len(net.inputs) > 1:
        raise InvalidData(
            f"APC feeds source signals to the network, which reads {len(net.inputs)} inputs of each sample: bind the "
            "others to a value, option 'given'"
        )
    relative = np.full(len(res), np.nan)
    kept = np.abs(res.output) >= TOO_SMALL
    if np.any(kept):
        original = res.output[kept].astype(np.float64)
        relative[kept] = (original - logits(net, res.source[kept])[:, target]) / np.abs(original)
    return relative


def summary(changed: Mapping[int, Floats]) -> APC:
    """APC from the `changes` of each class. Raises InvalidData where a class has no sample left."""
    per_class, left_out = {}, 0
    for target, all_of in changed.items():
        relative = all_of[~np.isnan(all_of)]
        left_out += len(all_of) - len(relative)
        if not len(relative):
            raise InvalidData(f"APC of class {target}: no sample has a logit above {TOO_SMALL:g}")
        per_class[target] = (
            float(np.mean(np.abs(relative))),
            float(np.mean(np.maximum(relative, 0.0))),
            float(np.median(np.abs(relative))),
            len(relative),
        )
    if not per_class:
        raise InvalidData("APC of no class at all")
    means = np.mean([row[:3] for row in per_class.values()], axis=0)
    return APC(float(means[0]), float(means[1]), float(means[2]), per_class, left_out)
