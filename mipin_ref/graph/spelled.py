"""What a tensor is of another one that is normalised, where a file writes the normalisation out."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isclose, prod

from mipin_ref.graph.draft import Signal
from mipin_ref.layers import Divisor, HostArray


@dataclass(frozen=True, eq=False)
class Spelled:
    """What a tensor is of `of`, the tensor that is normalised.

    what: "itself", "centred" (without its mean), "square" or "absolute" of either, "sum" of either or of these over
    `over`, "mean²", "divisor" (as Norm has it), "inverse" of a divisor, "shifted mean" (an inverse times the mean,
    times -1, plus a constant), "unfinished" (an inverse times a tensor from which its mean is to be subtracted);
    centred: whether squares are of the tensor without its mean; over: axes of the file; factor: of a sum; rooted:
    whether a divisor's root is drawn; scale: that an inverse is taken times; shift: that is added; whole: whether axes
    that are summed over are still there, with length one; nodes: that computed it.
    """

    of: Signal
    what: str = "itself"
    over: frozenset[int] = frozenset()
    term: str = ""
    factor: float = 1.0
    centred: bool = False
    divisor: Divisor = field(default_factory=Divisor)
    rooted: bool = False
    scale: HostArray | None = None
    shift: HostArray | None = None
    whole: bool = True
    nodes: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        return prod(self.of.shape[axis] for axis in self.over)

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean itself."""
        return self.what == "sum" and self.term == "itself" and isclose(self.factor * self.count, 1.0, rel_tol=1e-5)

    def like(self, other: Spelled) -> bool:
        """Whether both are of one tensor."""
        return self.of.name == other.of.name
