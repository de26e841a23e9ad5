"""The least-squares problem of adjoint convolutions by its numbers, and which form of its sums costs least."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Literal

from mipin_ref.solve.fourier import frequencies
from mipin_ref.solve.gram import accumulator_bytes
from mipin_ref.solve.taps import Axis, axes_of
from mipin_ref.window import Window

ELEMENT = 60
"""How many operations of a large product take as long as an element that is read, written and read again."""

PRODUCT, PROBLEM = 2e5, 4e7
"""As many for calling a small product, and for all the calls of a problem of correlations, whatever its size."""

STACKED_FEATURES = 64
"""Groups of up to so many regressors (depthwise convolutions) are summed and solved all at once."""

SCARCE: dict[str, int] = {"im2col": 4, "correlation": 20}
"""Rows a regressor below which rounding of products soon counts, by form: correlations round each frequency, and cost
less than twice as much in double precision, of which products are not the most.
"""

FEW_CHANNELS = 32
"""Signals beside whose transforms their products take little time, in either precision."""

Form = Literal["rows", "im2col", "correlation", "stacked"]


@dataclass(frozen=True)
class ConvPart:
    """One convolution whose signal [n, outputs, *locations] takes part."""

    window: Window
    locations: tuple[int, ...]
    outputs: int
    groups: int


@dataclass(frozen=True)
class ConvProblem:
    """Reconstruct x [n, inputs, *size] by the adjoints of `parts`, beside `own` regressors a channel shaped as x.

    kept: the locations, counted over `size`, that are rows of the fit; None for all.
    """

    parts: tuple[ConvPart, ...]
    size: tuple[int, ...]
    inputs: int
    samples: int
    own: int = 0
    intercept: bool = False
    kept: tuple[int, ...] | None = None

    @property
    def rows(self) -> int:
        """Rows of the fit."""
        return self.samples * (prod(self.size) if self.kept is None else len(self.kept))

    @property
    def groups(self) -> int:
        """Independent problems that the convolutions' groups leave; 1 where they disagree."""
        counts = {part.groups for part in self.parts}
        return counts.pop() if len(counts) == 1 else 1

    @property
    def features(self) -> int:
        """Shared regressors of one group."""
        return sum(part.outputs * part.window.taps for part in self.parts) // self.groups

    @property
    def width(self) -> int:
        """Columns of y = [x, v_1, .., v_r] in one group."""
        return (1 + self.own) * self.inputs // self.groups

    @property
    def classes(self) -> list[tuple[int, int]]:
        """Ranges of channels that have all their regressors in common: the refinement of all groupings."""
        key = [tuple(channel * part.groups // self.inputs for part in self.parts) for channel in range(self.inputs)]
        runs = [list(run) for _, run in groupby(range(self.inputs), key=key.__getitem__)]
        return [(run[0], run[-1] + 1) for run in runs]

    @property
    def correlates(self) -> bool:
        """Whether the regressors of all parts meet at lags: one stride, and groups that agree."""
        return len({part.window.strides for part in self.parts}) == len({part.groups for part in self.parts}) == 1

    def bytes_of(self, form: Form) -> int:
        """What the sums of all groups hold at their largest, one batch's products included."""
        plain = accumulator_bytes(self.features, self.width, self.rows)
        if form != "correlation":
            return self.groups * plain
        outputs = sum(part.outputs for part in self.parts) // self.groups
        # Beyond an edge every row of S that reaches there counts as so many channels more.
        lags = prod(len(axis.lags) + sum(max(map(len, e.rows)) ** 2 for e in axis.edges) for axis in self._axes)
        return self.groups * (8 * (lags * outputs**2 + self.features * self.width) + plain)

    @cached_property
    def _axes(self) -> list[Axis]:
        return axes_of([part.window for part in self.parts], [part.locations for part in self.parts], self.size)

    @cached_property
    def form(self) -> Form:
        """The form of the least cost; correlations where they hold at most twice what im2col's sums do."""
        if self.groups > 1 and self.features <= STACKED_FEATURES:
            return "stacked"
        if self.rows < self.features:
            return "rows"
        if not self.correlates or self.kept is not None:
            return "im2col"
        if self.bytes_of("correlation") > 2 * self.bytes_of("im2col"):
            return "im2col"  # paddings far beyond the kernel
        return "correlation" if self.cost("correlation") < self.cost("im2col") else "im2col"

    @property
    def exact(self) -> bool:
        """Whether products are in double precision where signals are in single."""
        if self.form not in SCARCE:
            return False
        if self.rows < SCARCE[self.form] * self.features:
            return True
        return self.form == "correlation" and sum(part.outputs for part in self.parts) <= FEW_CHANNELS * self.groups

    def cost(self, form: Form) -> float:
        """Roughly what a sample of one group takes, in operations at the speed of a large product."""
        outputs, locations = sum(part.outputs for part in self.parts) // self.groups, prod(self.size)
        if form == "im2col":
            written = locations * (self.features + self.width) * (0 if self._pointwise else 1)
            return locations * self.features * (self.features + 2 * self.width) + ELEMENT * written
        lengths = [axis.length for axis in self._axes]
        count, maps = frequencies(lengths), outputs + self.width
        transforms = 2 * maps * prod(lengths) * (sum(lengths) + ELEMENT)
        products = count * outputs * (4 * outputs + 8 * self.width + ELEMENT * maps / 16)
        calls = count * PRODUCT + prod(1 + len(axis.edges) for axis in self._axes) * PROBLEM
        return transforms + products + calls / min(self.samples, 256)

    @property
    def _pointwise(self) -> bool:
        return all(part.window.pointwise for part in self.parts)
