"""How well an explainer agrees with this package on some samples, and when that is not enough to write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.beside import like, others_of
from mipin_ref.errors import UnsupportedModel
from mipin_ref.export.asked import Asked
from mipin_ref.export.chosen import TARGET
from mipin_ref.export.explainer import Explainer
from mipin_ref.export.maps import map_size
from mipin_ref.export.pixels import Pixels
from mipin_ref.export.precision import FINER, SINGLE
from mipin_ref.graph.merged import others_read, samples_at_a_time
from mipin_ref.graph.run_explainer import RunExplainer
from mipin_ref.report.saliency import saliency

Floats = npt.NDArray[np.floating[Any]]

EXACT, CLOSE, HALF = 1e-4, 0.9999, 0.999
"""The largest error, as a share of the largest value, up to which an explainer is written; the least correlation in
single precision, which is what is asked where errors may be larger because masks flip; and with inverses in half, or
in eight bits."""
LIKE = 1e-4
"""The error, as a share of the largest value, within which an entry counts as equal."""


@dataclass(frozen=True)
class Agreement:
    """error: the largest difference as a share of the largest value; correlation; within: the share of entries that
    differ by at most LIKE of the largest value; the worst of all outputs and targets.
    """

    samples: int
    targets: int
    error: float
    correlation: float
    within: float

    def as_record(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"largest error {self.error:.1e} of the largest value, correlation {self.correlation:.6f}, "
            f"{self.within:.2%} of the entries within {LIKE:g}"
        )


def compared(found: Floats, expected: Floats) -> tuple[float, float, float]:
    """Largest error, correlation, and share of entries within LIKE, of arrays of one shape."""
    largest = float(np.max(np.abs(expected), initial=0.0))
    if not largest:
        error = float(np.max(np.abs(found), initial=0.0))
        return error, 1.0 if error == 0 else 0.0, float(np.mean(found == 0))
    off = np.abs(np.asarray(found, np.float64) - expected) / largest
    a, b = (np.asarray(one, np.float64).ravel() / largest for one in (found, expected))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(off.max()), float(a @ b / norms) if norms else 0.0, float(np.mean(off <= LIKE))


def expected_outputs(asked: Asked, result: Attribution) -> dict[str, Floats]:
    """What the explainer is to tell, by output, of one target."""
    expected = {
        "logit": result.output,
        "source": result.source,
        "attribution": result.attribution,
        "contribution": result.contribution,
    }
    size = map_size(asked)
    if size is not None:
        expected["map"] = saliency(result, size=size)
    return expected


@dataclass(frozen=True, eq=False)
class Checks:
    """What an explainer is to make of some samples. rows: its inputs by name; targets: the input that says it, of each
    target that is run; expected: the outputs by name, likewise, as this package has them; apart: how many samples each
    run has, None where one has them all.
    """

    samples: int
    rows: Mapping[str, Any]
    targets: Sequence[Mapping[str, Any]]
    expected: Sequence[Mapping[str, Floats]]
    apart: int | None

    @classmethod
    def of(cls, asked: Asked, pixels: Pixels | None, x: Floats, explainer: Explainer) -> Checks:
        """Of samples x [n, *input_shape], for at most MOST targets."""
        given: npt.NDArray[Any] = np.ascontiguousarray(x, asked.net.reads or asked.net.dtype)
        if pixels is not None:
            given = pixels.of_inputs(x)
            x = like(pixels.to_inputs(given), x)
        count = len(asked.inverses)
        some = asked.inverses if count <= MOST else [asked.inverses[i] for i in picked(count)]
        rows = {explainer.input: given} | {
            explainer.inputs[name]: others_of(x)[name].astype(one.dtype) for name, one in others_read(asked.net).items()
        }
        targets = [{TARGET: np.array(one.target, np.int64)} if count > 1 else {} for one in some]
        expected = [expected_outputs(asked, one.attribute(x, at=asked.tensor)) for one in some]
        return cls(len(x), rows, targets, expected, samples_at_a_time(asked.net))

    def agreement(self, model: bytes, *, optimised: bool) -> Agreement:
        """Run an explainer and compare."""
        run = RunExplainer(model, optimised=optimised)
        worst: list[tuple[float, float, float]] = []
        for target, expected in zip(self.targets, self.expected, strict=True):
            outputs = self._outputs(run, target)
            worst += [compared(outputs[name], value) for name, value in expected.items()]
        return Agreement(
            self.samples,
            len(self.targets),
            max(error for error, _, _ in worst),
            min(correlation for _, correlation, _ in worst),
            min(within for _, _, within in worst),
        )

    def _outputs(self, run: RunExplainer, target: Mapping[str, Any]) -> dict[str, Floats]:
        """What an explainer makes of all samples, in runs of as many as it takes; the last stands for missing ones."""
        parts, size = [], self.apart or self.samples
        for start in range(0, self.samples, size):
            picked = np.minimum(np.arange(start, start + size), self.samples - 1)
            parts.append(run({**{name: value[picked] for name, value in self.rows.items()}, **target}))
        return {name: np.concatenate([one[name] for one in parts])[: self.samples] for name in parts[0]}


MOST = 4
"""Targets that a check runs."""


def picked(count: int) -> list[int]:
    """Some targets of many, first and last among them."""
    return sorted({round(float(place)) for place in np.linspace(0, count - 1, MOST)})


def insist(exact: Agreement, stored: str) -> None:
    """Raises UnsupportedModel where an explainer without optimisation is too far from this package.

    stored: the precision of its weights.
    """
    single = stored == SINGLE
    fits = exact.error <= EXACT or exact.correlation >= CLOSE if single else exact.correlation >= HALF
    if not fits:
        raise UnsupportedModel(
            f"the exported explainer does not agree with this package ({exact}), so nothing was written; explain a "
            f"tensor nearer to the logits, option 'at'{FINER[stored]}"
        )
