"""What a fit tells about itself, one row a fitted tensor."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from mipin_ref.display import InNotebook, OneLine
from mipin_ref.errors import RidgeWarning, outside
from mipin_ref.solve.joint import Solution
from mipin_ref.table import format_table

OUTWEIGHED, ROUNDING = 1e-6, 1e-14
"""R² of a tensor between which the ridge outweighs the signal: it is about twice the squared correlation times the
signal's sum of squares over the ridge then. Below there may be no signal at all.
"""
CHANCE = 0.01
"""The same, times the rows: of so many some share is explained by chance."""

REAL = (int, float)


@dataclass(frozen=True)
class TensorReport(OneLine):
    """tensor: ONNX name; block: kind of inverse; samples, rows: calibration samples and least-squares rows (over all
    groups alike); unknowns: weights and intercepts; r2: 1 - Σ(X - X̂)² / Σ(X - mean)² before the mask, mean per
    feature (Dense) or channel (Conv); condition: of the worst group's system; rank: of the least determined group;
    solver: of every group; seconds: the tensor's pass and solve, shared by all targets of the fit. They alone are not
    the same when the same is fitted again: two reports are equal whatever they are. ridge: λ where it was picked on
    samples held out, None where the option states it.
    """

    tensor: str
    block: str
    samples: int
    rows: int
    unknowns: int
    r2: float
    condition: float
    rank: int
    solver: str
    seconds: float = field(compare=False)
    ridge: float | None = None

    def as_row(self) -> dict[str, Any]:
        """What is the same when the same is fitted again, as a plain dictionary, for JSON."""
        return {name: value for name, value in self.told().items() if name != "seconds"}

    def told(self) -> dict[str, Any]:
        """All that there is to tell."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Common:
    """From where down one inverse serves all targets (method, section 4).

    tensor: ONNX name, the highest of them; classes: of how many it is fitted on the mean signals; agreement: where it
    was looked for, the lower of the probes' median correlations of A ⊙ X with their own inverses; probes: the classes
    that these are, indices into the logits.
    """

    tensor: str
    classes: int
    agreement: float | None = None
    probes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.tensor, str):
            raise TypeError(f"the common tensor {self.tensor} is no name")
        object.__setattr__(self, "probes", tuple(self.probes))

    def __str__(self) -> str:
        told = (
            f"from {self.tensor} down one inverse for all targets, fitted on mean signals of {self.classes:,} classes"
        )
        if self.agreement is None:
            return told
        return f"{told}; it agrees with those of classes {', '.join(map(str, self.probes))} to {self.agreement:.5f}"


@dataclass(frozen=True)
class Report(OneLine, InNotebook):
    """The rows of `inv.report`, from the logits down; prints as a table. common: None where every tensor was fitted for
    the target alone; names: of tensors that are none of the file's, what a person is told of them.
    """

    tensors: tuple[TensorReport, ...]
    common: Common | None = None
    names: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __iter__(self) -> Any:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, tensor: str) -> TensorReport:
        return {row.tensor: row for row in self.tensors}[tensor]

    def as_rows(self) -> list[dict[str, Any]]:
        """Plain dictionaries, for JSON."""
        return [row.told() for row in self.tensors]

    @property
    def outweighed(self) -> tuple[TensorReport, ...]:
        """The tensors at which a ridge outweighs the signal, so that next to nothing comes back."""
        return tuple(row for row in self.tensors if ROUNDING < row.r2 <= min(OUTWEIGHED, CHANCE / max(row.rows, 1)))

    @property
    def told_outweighed(self) -> str | None:
        """A sentence on the first of these; None where there are none."""
        if not self.outweighed:
            return None
        first = self.outweighed[0]
        called = self.names.get(first.tensor, repr(first.tensor))
        return (
            f"the ridge outweighs what the logit differs by over the {first.samples:,} calibration samples: R² of "
            f"{called} is {first.r2:.1g}, so that next to nothing comes back and maps are no answer: give a smaller "
            "ridge, or calibration samples that differ more"
        )

    @property
    def told_common(self) -> str | None:
        """A sentence on what serves all targets; None where every tensor was fitted for the target alone."""
        if self.common is None:
            return None
        return str(replace(self.common, tensor=self.names.get(self.common.tensor, self.common.tensor)))

    @property
    def seconds(self) -> list[float]:
        """What each tensor took."""
        return [row.seconds for row in self.tensors]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Heading and rows of the table that it prints as."""
        names = [f.name for f in fields(TensorReport) if any(f.name in row.told() for row in self.tensors)]
        rows = [replace(row, tensor=self.names.get(row.tensor, row.tensor)) for row in self.tensors]
        return names, [[_cell(getattr(row, name)) for name in names] for row in rows]

    def __str__(self) -> str:
        below = [line for line in (self.told_common, self.told_outweighed) if line is not None]
        return "\n".join([format_table(*self.cells()), *below])

    def __repr__(self) -> str:
        return f"Report(of {len(self.tensors)} tensors, fitted in {sum(self.seconds):.3g} s)"


def warn_outweighed(reports: Iterable[Report]) -> str | None:
    """Warns with RidgeWarning of the first fit of which next to nothing comes back. Returns the sentence, None where
    there is no such fit.
    """
    told = next(filter(None, (one.told_outweighed for one in reports)), None)
    if told is not None:
        warnings.warn(told, RidgeWarning, stacklevel=outside())
    return told


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def timed_rows(rows: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> tuple[TensorReport, ...]:
    """Rows as `as_row` gives them, with the seconds that belong to them.

    Raises ValueError or TypeError where they are not of one length, or not rows.
    """
    made = tuple(TensorReport(**row, seconds=float(taken)) for row, taken in zip(rows, seconds, strict=True))
    for row in made:
        counts, numbers = (
            (row.samples, row.rows, row.unknowns, row.rank),
            (row.r2, row.condition, 0 if row.ridge is None else row.ridge),
        )
        if not all(isinstance(one, str) for one in (row.tensor, row.block, row.solver)):
            raise TypeError(f"the row of {row.tensor} does not name what it is of in words")
        if not all(type(one) is int and one >= 0 for one in counts) or not all(type(one) in REAL for one in numbers):
            raise TypeError(f"the row of {row.tensor} holds other than numbers")
    return made


def tensor_report(
    tensor: str,
    block: str,
    samples: int,
    unknowns: int,
    solutions: Sequence[Solution],
    seconds: float,
    ridge: float | None = None,
) -> TensorReport:
    error, spread = sum(s.squared_error for s in solutions), sum(s.spread for s in solutions)
    return TensorReport(
        tensor=tensor,
        block=block,
        samples=samples,
        rows=solutions[0].rows,
        unknowns=unknowns,
        r2=1.0 - error / spread if spread > 0 else 0.0,
        condition=max(s.condition for s in solutions),
        rank=min(s.rank for s in solutions),
        solver="+".join(sorted({s.solver for s in solutions})),
        seconds=seconds,
        ridge=ridge,
    )
