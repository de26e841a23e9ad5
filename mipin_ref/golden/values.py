"""The golden values of one case in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mipin_ref.golden.material import Material
from mipin_ref.golden.regression import Inverted
from mipin_ref.layers import HostArray

Named = Mapping[str, HostArray]


@dataclass(frozen=True, eq=False)
class Golden:
    """The golden values of one case.

    s, a: by tensor; inverted: by fitted tensor; rows: [n] bool, the samples that the fit uses; ridges: λ by fitted
    tensor; named: what the stages compare, by its name in a candidate.
    """

    material: Material
    s: Named
    a: Named
    inverted: Mapping[str, Inverted]
    rows: HostArray
    ridges: Mapping[str, float]
    named: Named
